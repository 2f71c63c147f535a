"""state.json: which versions a task has, which one serves, and how that came to be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError, model_validator

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, NotFound, StorageError
from loopai_runtime.models import Record, VersionStatus, utc_now

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

Action = Literal["add", "import", "recover", "activate", "rollback"]


class VersionState(Record):
    """What is known of a version from outside its folder.

    `sha256` is the digest of the artifact; empty in memory alone, for a folder that the file does not list.
    """

    status: VersionStatus
    sha256: str
    added_at: str


class Event(Record):
    """One change: `version` is what it was about, `replaced` the version that served before it."""

    at: str
    action: Action
    version: int
    replaced: int | None = None
    reason: str | None = None


class State(Record):
    """The state of a task's versions. Its methods change it in memory; the store writes it."""

    schema_version: Literal[1] = Field(1, alias="schema")
    active: int | None = None
    previous: int | None = None
    versions: dict[int, VersionState] = Field(default_factory=dict)
    history: list[Event] = Field(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        serving = [number for number, entry in self.versions.items() if entry.status is VersionStatus.ACTIVE]
        if serving != ([] if self.active is None else [self.active]):
            raise ValueError("`active` and the versions' statuses contradict each other")
        if self.previous is not None and self.previous not in self.versions:
            raise ValueError("`previous` is not one of the versions")
        return self

    def add(
        self, version: int, digest: str, status: VersionStatus, action: Action, reason: str | None = None
    ) -> None:
        """List a new version; with status ACTIVE it serves from now on."""
        stored_as = VersionStatus.VALIDATED if status is VersionStatus.ACTIVE else status
        now = utc_now()
        self.versions[version] = VersionState(status=stored_as, sha256=digest, added_at=now)
        self.history.append(Event(at=now, action=action, version=version, reason=reason))
        if status is VersionStatus.ACTIVE:
            self.activate(version, "activate", reason)

    def activate(self, version: int, action: Action, reason: str | None = None) -> None:
        """Let `version` serve; the one that served becomes the previous one, and is deprecated."""
        replaced = self.active
        if replaced is not None:
            self.versions[replaced].status = VersionStatus.DEPRECATED
            self.previous = replaced
        self.versions[version].status = VersionStatus.ACTIVE
        self.active = version
        self.history.append(Event(at=utc_now(), action=action, version=version, replaced=replaced, reason=reason))

    def served(self) -> list[int]:
        """The versions that serve or have served, the latest first."""
        latest = [event.version for event in reversed(self.history) if event.action in ("activate", "rollback")]
        return list(dict.fromkeys([*([self.active] if self.active else []), *latest]))

    def as_bytes(self) -> bytes:
        value = self.model_dump(mode="json", by_alias=True)
        return json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8") + b"\n"


def read_state(path: Path) -> State:
    """The state kept in `path`; an empty one where there is no file. Raises StorageError for a damaged one."""
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return State()
    try:
        return State.model_validate(jsonl.loads(raw))
    except (InputError, ValidationError) as exc:
        fault = exc.message if isinstance(exc, InputError) else exc.errors()[0]["msg"]
        raise StorageError(
            f"damaged: {fault}",
            where=str(path),
            hint="restore it, or move it away: every version is then a draft until you activate one",
        ) from None


def require_active(state: State, task_id: str) -> int:
    """The version that serves. Raises NotFound saying what there is instead."""
    if state.active is not None:
        return state.active
    if not state.versions:
        raise NotFound(f"{task_id} has no version yet", hint="loopai generate SPEC makes one")
    newest = max(state.versions)
    status = state.versions[newest].status.value
    raise NotFound(
        f"{task_id} has no active version",
        hint=f"v{newest} is {status}: loopai run {task_id}@{newest} tries it, "
        f"loopai activate {task_id}@{newest} lets it serve",
    )

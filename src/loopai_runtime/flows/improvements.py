"""What was tried to improve a task, and what came of it: one file a task, replaced whole at every step.

Killed at any moment, the next run finds how far the last one was: whether its version was stored tells its end.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime import at_rest, jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import GateMissed, InputError, StorageError
from loopai_runtime.files import make_dir, only_one
from loopai_runtime.models import VersionStatus, new_id, utc_now

if TYPE_CHECKING:
    from loopai_runtime.layout import Layout

State = Literal["idle", "waiting", "running", "made", "missed", "refused", "failed", "rolled_back", "interrupted"]
"""`idle`: nothing is to be done; `waiting`: a person, or a rollout, has the next word; `made`: a version that may
be rolled out; `missed`: it is kept as a draft, below its targets; `refused`: by the regression gate, and not kept;
`failed`: none was written; `rolled_back`: made, and then no better on real traffic."""

FAILED: frozenset[State] = frozenset({"missed", "refused", "failed", "rolled_back"})
MOST_KEPT = 50


@dataclass(slots=True)
class Improvement:
    """One attempt. What `improve -o json` prints; inputs in it make it fit for this machine alone."""

    task_id: str
    base: int
    """The version that was to be improved."""
    spec_digest: str = ""
    id: str = field(default_factory=new_id)
    state: State = "running"
    reason: str = ""
    started_at: str = field(default_factory=utc_now)
    ended_at: str | None = None
    dry_run: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)
    patterns: list[dict[str, Any]] = field(default_factory=list)
    hypothesis: str = ""
    labels: int = 0
    """Answers of the oracle that were added to the task's labels."""
    accuracy: dict[str, Any] | None = None
    learner: str | None = None
    regression: dict[str, Any] | None = None
    version: int | None = None
    artifact_id: str | None = None
    usd: float = 0.0
    ticket_id: str | None = None

    @property
    def flips(self) -> list[dict[str, Any]]:
        return self.regression["flips"] if self.regression else []

    @property
    def was_a_failure(self) -> bool:
        return self.state in FAILED

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def require(self) -> None:
        """Raises GateMissed where nothing better came of it, or a person has to say how to go on."""
        if self.was_a_failure or (self.state == "waiting" and self.ticket_id):
            hint = f"loopai tickets show {self.ticket_id[:8]}" if self.ticket_id else None
            raise GateMissed(f"{self.task_id} is not improved: {self.reason}", hint=hint)


class Improvements:
    """The attempts at one task. `note` may be called by anybody, the rest under the lock of its improving."""

    def __init__(self, layout: Layout, task_id: str) -> None:
        self._layout = layout
        self._task_id = task_id
        self._path = layout.improvements(task_id)

    def all(self) -> list[Improvement]:
        """The oldest first. Raises StorageError."""
        try:
            found = jsonl.loads(at_rest.read(self._layout, self._path))
            names = {each.name for each in fields(Improvement)}
            return [Improvement(**{k: v for k, v in one.items() if k in names}) for one in found["improvements"]]
        except FileNotFoundError:
            return []
        except (InputError, KeyError, TypeError, AttributeError):
            hint = "move it away; the loop then begins anew"
            raise StorageError("is damaged", where=str(self._path), hint=hint) from None

    def save(self, improvement: Improvement) -> None:
        """Keep how far it is, in place of what was kept of it."""
        make_dir(self._path.parent)
        with only_one(self._path.parent):
            kept = [one for one in self.all() if one.id != improvement.id] + [improvement]
            self._write(sorted(kept, key=lambda one: one.started_at)[-MOST_KEPT:])

    def mend(self) -> None:
        """End what a killed process left running, as it would have ended."""
        for one in self.all():
            if one.state == "running":
                _end(one, ArtifactStore(self._layout))
                self.save(one)

    def note(self, version: int, state: Literal["rolled_back"], reason: str) -> bool:
        """What became of a version that an improvement made; False where none did."""
        for one in reversed(self.all()):
            if one.version == version and one.state == "made":
                one.state, one.reason = state, reason
                self.save(one)
                return True
        return False

    def pending(self) -> Improvement | None:
        """The last one, where its version waits to be tried or to serve."""
        last = next(reversed(self.all()), None)
        if last is None or last.state != "made" or last.version is None:
            return None
        state = ArtifactStore(self._layout).state(self._task_id)
        there = last.version in state.versions and last.version not in state.served()
        return last if there else None

    def failed_in_a_row(self, spec_digest: str, since: str) -> list[Improvement]:
        """The attempts that came to nothing since the last that did not, since a time, under one specification."""
        found: list[Improvement] = []
        for one in reversed(self.all()):
            if one.state in ("interrupted", "running"):
                continue
            if one.spec_digest != spec_digest or one.started_at <= since or not one.was_a_failure:
                break
            found.append(one)
        return found[::-1]

    def today(self) -> list[Improvement]:
        """Those that began on this UTC day."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        return [one for one in self.all() if one.started_at[:10] == day]

    def _write(self, kept: list[Improvement]) -> None:
        body = {"schema": 1, "task_id": self._task_id, "improvements": [one.as_dict() for one in kept]}
        at_rest.replace(self._layout, self._path, jsonl.compact(body))


def _end(one: Improvement, store: ArtifactStore) -> None:
    one.ended_at = utc_now()
    for listed in store.versions(one.task_id):
        if listed.stored is not None and listed.stored.artifact.id == one.artifact_id:
            is_draft = listed.status is VersionStatus.DRAFT
            one.state, one.version = "missed" if is_draft else "made", listed.version
            one.reason = "it misses its targets: kept as a draft" if is_draft else f"v{listed.version} was made"
            return
    one.state, one.reason = "interrupted", "its process ended before it did"

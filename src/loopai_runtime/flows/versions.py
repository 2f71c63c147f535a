"""The versions of a task as people handle them: list, compare, let serve, take in, verify."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime import at_rest, jsonl, signing
from loopai_runtime.artifacts import archive, references
from loopai_runtime.artifacts.bundle import PROGRAM, SIGNATURE
from loopai_runtime.errors import LoopaiError, NotFound, PolicyRefused, TamperedArtifact, UsageError
from loopai_runtime.flows.execute import Executor, Request
from loopai_runtime.flows.measure import open_pool
from loopai_runtime.flows.pii import Leak, leaks
from loopai_runtime.models import VersionStatus
from loopai_runtime.sandbox import SyncPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.artifacts.bundle import Bundle
    from loopai_runtime.artifacts.store import ArtifactStore, Listed, Stored
    from loopai_runtime.config import Config
    from loopai_runtime.flows.execute import Result
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact

# --- what there is ------------------------------------------------------------------------------------------


def task_rows(store: ArtifactStore) -> list[dict[str, Any]]:
    """One row a task: its active version, and how good that is. A damaged one says so in `fault`."""
    return [_task_row(store, task_id) for task_id in store.layout.tasks()]


def _task_row(store: ArtifactStore, task_id: str) -> dict[str, Any]:
    row: dict[str, Any] = {"task_id": task_id, "active": None, "versions": 0}
    row |= dict.fromkeys(("strategy", "confidence_score", "created_at", "description"))
    try:
        state = store.state(task_id)
        row |= {"active": state.active, "versions": len(state.versions)}
        if state.active is not None:
            artifact = store.read(task_id).artifact
            row["strategy"] = artifact.synthesis_strategy.value
            row["confidence_score"] = artifact.confidence_score
            row["created_at"] = artifact.created_at
            row["description"] = artifact.description
    except LoopaiError as exc:
        row["fault"] = str(exc)
    return row


def version_rows(store: ArtifactStore, task_id: str) -> list[dict[str, Any]]:
    """One row a version, the oldest first. Raises NotFound."""
    store.layout.require_task(task_id)
    return [_version_row(task_id, listed) for listed in store.versions(task_id)]


def _version_row(task_id: str, listed: Listed) -> dict[str, Any]:
    artifact = listed.stored.artifact if listed.stored else None
    row = {
        "task_id": task_id,
        "version": listed.version,
        "status": listed.status.value,
        "strategy": artifact.synthesis_strategy.value if artifact else None,
        "confidence_score": artifact.confidence_score if artifact else None,
        "created_at": artifact.created_at if artifact else None,
        "sha256": listed.digest,
        "bytes": len(listed.stored.code.encode()) if listed.stored else None,
    }
    return row | ({"fault": str(listed.damage)} if listed.damage else {})


# --- which one serves ---------------------------------------------------------------------------------------


def has_served(layout: Layout, task_id: str) -> bool:
    """Whether executions of the task have been recorded, so that a change of its version is felt."""
    place = layout.executions(task_id)
    return place.is_dir() and any(place.iterdir())


def activate(
    store: ArtifactStore, reference: str, reason: str | None, lock_timeout_s: float = 0.0
) -> tuple[str, int]:
    """Let a version serve; returns its task and number.

    Raises UsageError where the task has served and no reason is given, NotFound, TamperedArtifact, Busy.
    """
    task_id, version = store.resolve(reference)
    with store.layout.lock(task_id, lock_timeout_s):
        if version != store.active_version(task_id) and not reason and has_served(store.layout, task_id):
            raise UsageError(
                f"{task_id} has served traffic, so a change of its version wants a reason",
                hint=f"loopai activate {reference} --reason '…'",
            )
        store.activate(task_id, version, reason=reason or None)
    return task_id, version


def rollback(store: ArtifactStore, task_id: str, reason: str | None, lock_timeout_s: float = 0.0) -> int:
    """Let the previous version serve again; returns its number. Raises NotFound, TamperedArtifact, Busy."""
    store.layout.require_task(task_id)
    with store.layout.lock(task_id, lock_timeout_s):
        return store.rollback(task_id, reason=reason or None)


# --- in, and checked ----------------------------------------------------------------------------------------


def meets_targets(artifact: ProgramArtifact) -> bool:
    """Whether the metadata says that the version met its own targets for accuracy and latency."""
    accuracy, p99 = (artifact.accuracy or {}).get("value"), artifact.latency_ms.get("p99")
    if artifact.confidence_kind == "all_correct":
        accuracy = artifact.confidence_score
    if not isinstance(accuracy, int | float) or p99 is None:
        return False
    return accuracy >= artifact.accuracy_target and p99 <= artifact.latency_target_ms


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made: the version, and whether it was new here."""

    stored: Stored
    new: bool


def import_bundle(
    store: ArtifactStore, path: Path, config: Config, task_id: str | None = None, lock_timeout_s: float = 0.0
) -> Imported:
    """Verify a bundle and store it; a version that met its targets serves at once where none does.

    Raises NotFound, TamperedArtifact, PolicyRefused, Busy, StorageError.
    """
    foreign = archive.read(path)
    check_policy(foreign, config)
    task_id = task_id or foreign.artifact.task_id
    with store.layout.lock(task_id, lock_timeout_s):
        status = VersionStatus.VALIDATED if meets_targets(foreign.artifact) else VersionStatus.DRAFT
        if status is VersionStatus.VALIDATED and store.active_version(task_id) is None:
            status = VersionStatus.ACTIVE
        return Imported(*store.import_bundle(foreign, status, task_id))


def check_policy(bundle: Bundle, config: Config) -> None:
    """Raises PolicyRefused if the sandbox would not let the program in."""
    with SyncPool(workers=0, require=config.sandbox.require) as pool:
        pool.check(bundle.code)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an artifact is what it says; `fault` names the file and the digest where it is not."""

    name: str
    sha256: str | None
    fault: str | None
    signed_by: str | None = None
    """The key of the platform that signed it."""
    is_pinned: bool = False
    """Whether that is the key which is pinned here."""

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.fault is None, "sha256": self.sha256, "fault": self.fault}


def verify(store: ArtifactStore, target: str, config: Config) -> list[Verdict]:
    """Check a bundle (a path), one version (TASK@V), or all versions of a task (TASK).

    A platform's signature must be one by the pinned key, where a key is pinned. Raises UsageError, NotFound,
    StorageError.
    """
    pinned = signing.pinned(config, store.layout)
    return [_verdict(name, read, config, pinned) for name, read in _meant(store, target)]


def personal_data(store: ArtifactStore, target: str) -> list[Leak]:
    """The personal data in the programs and metadata of what `verify` checks.

    Raises UsageError, NotFound, StorageError, TamperedArtifact.
    """
    return [leak for name, read in _meant(store, target) for leak in leaks(name, read())]


def _meant(store: ArtifactStore, target: str) -> list[tuple[str, Callable[[], Bundle]]]:
    if "/" in target or "." in target:  # no reference has either
        return [(target, partial(archive.read, Path(target)))]
    if "@" in target:
        task_id, version = store.resolve(target)
        numbers = [version]
    else:
        task_id = store.layout.require_task(references.parse(target).task_id)
        numbers = sorted(store.state(task_id).versions)
        if not numbers:
            raise NotFound(f"{task_id} has no version yet", hint="loopai generate SPEC makes one")
    return [(ref, partial(_stored, store, ref)) for ref in (f"{task_id}@v{n}" for n in numbers)]


def _stored(store: ArtifactStore, reference: str) -> Bundle:
    return store.read(reference).bundle


def _verdict(name: str, read: Callable[[], Bundle], config: Config, pinned: str | None) -> Verdict:
    try:
        bundle = read()
    except TamperedArtifact as exc:
        return Verdict(name, None, str(exc))
    key = None
    try:
        if SIGNATURE in bundle.files:
            key = signing.check(bundle.files[SIGNATURE], bundle.digest, name, pinned)
        check_policy(bundle, config)
    except TamperedArtifact as exc:
        return Verdict(name, bundle.digest, str(exc))
    except PolicyRefused as exc:
        return Verdict(name, bundle.digest, f"{PROGRAM} is {exc}", key)
    return Verdict(name, bundle.digest, None, key, key is not None and pinned is not None)


# --- side by side -------------------------------------------------------------------------------------------

Effect = Literal["fixed", "broken", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """A stored example that the two versions answer differently; an error stands in the place of an answer."""

    row: int
    input: Any
    expected: Any
    old: Any
    new: Any
    effect: Effect
    errors: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        answers = {"old": self.old, "new": self.new}
        row = {"row": self.row, "effect": self.effect, "input": self.input, "expected": self.expected, **answers}
        return row | self.errors


@dataclass(frozen=True, slots=True)
class Difference:
    """Two versions: how the code differs (unified), and what that does to the stored examples."""

    old: Stored
    new: Stored
    code: list[str]
    examples: int
    changes: list[Change]

    def count(self, effect: Effect) -> int:
        return sum(change.effect == effect for change in self.changes)

    def as_dict(self) -> dict[str, Any]:
        counts = {effect: self.count(effect) for effect in ("fixed", "broken", "changed")}
        return {
            "task_id": self.old.artifact.task_id,
            "old": self.old.artifact.version,
            "new": self.new.artifact.version,
            "examples": self.examples,
            **counts,
            "changes": [change.as_dict() for change in self.changes],
            "code": "".join(self.code),
        }


def diff(
    store: ArtifactStore,
    first: str,
    second: str | None,
    config: Config,
    advance: Callable[[int, int], None] | None = None,
) -> Difference:
    """Compare two versions of a task; see `pair` for which ones. `advance(done, of)` hears how far it is.

    Raises UsageError, NotFound, TamperedArtifact, StorageError.
    """
    old, new = (store.read(reference) for reference in pair(store, first, second))
    rows = _examples(store.layout, old.artifact.task_id)
    answers: list[list[Result]] = []
    with open_pool(config) as pool:
        for version in (old, new):
            executor = Executor(pool, version, config)
            results = []
            for result in executor.run_all(Request(row["input"]) for row in rows):
                results.append(result)
                if advance is not None and len(results) % 50 == 0:
                    advance(len(answers) * len(rows) + len(results), 2 * len(rows))
            answers.append(results)
    changes = [
        change
        for number, (row, was, now) in enumerate(zip(rows, *answers, strict=True), 1)
        if (change := _change(number, row, was, now))
    ]
    return Difference(old, new, _code(old, new), len(rows), changes)


def pair(store: ArtifactStore, first: str, second: str | None) -> tuple[str, str]:
    """References to the old and the new version that are meant.

    `TASK@1 TASK@2` (or `TASK@1 2`) says both; `TASK@2` is compared with the active version; `TASK` means the
    active against the newest where that is newer, else the previous against the active one.
    Raises UsageError, NotFound.
    """
    ref = references.parse(first)
    if second is not None:
        selector = second.rpartition("@")[2]
        if "@" in second and not second.startswith("@") and references.parse(second).task_id != ref.task_id:
            raise UsageError(f"{first} and {second} are versions of different tasks")
        return first, f"{ref.task_id}@{selector}"
    if "@" in first:
        return f"{ref.task_id}@active", first
    _, active = store.resolve(first)
    newest = max(store.state(ref.task_id).versions)
    if newest > active:
        return f"{ref.task_id}@active", f"{ref.task_id}@{newest}"
    return f"{ref.task_id}@previous", f"{ref.task_id}@active"


def _examples(layout: Layout, task_id: str) -> list[dict[str, Any]]:
    try:
        with at_rest.opened(layout, layout.examples(task_id)) as file:
            return [jsonl.loads(line.raw, f"examples.jsonl line {line.number}") for line in jsonl.lines(file)]
    except FileNotFoundError:
        return []


def _change(number: int, row: dict[str, Any], was: Result, now: Result) -> Change | None:
    old, new = _answer(was), _answer(now)
    if jsonl.equal(old, new):
        return None
    expected = row["output"]
    right = [result.ok and jsonl.equal(result.line()["output"], expected) for result in (was, now)]
    effect: Effect = "broken" if right[0] else "fixed" if right[1] else "changed"
    errors = {f"{name}_error": str(result.error) for name, result in (("old", was), ("new", now)) if result.error}
    return Change(number, row["input"], expected, old[1], new[1], effect, errors)


def _answer(result: Result) -> list[Any]:
    """What tells two answers apart: an error, an abstention and the output null are three things."""
    return [result.ok, result.output, result.abstained]


def _code(old: Stored, new: Stored) -> list[str]:
    before, after = (stored.code.splitlines(keepends=True) for stored in (old, new))
    names = [f"{stored.artifact.task_id}@v{stored.artifact.version}/program.py" for stored in (old, new)]
    lines = difflib.unified_diff(before, after, fromfile=names[0], tofile=names[1])
    return [line if line.endswith("\n") else f"{line}\n" for line in lines]

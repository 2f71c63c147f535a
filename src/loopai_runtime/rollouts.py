"""Rollouts at rest: where the one of each task stands and what it has seen, in `rollouts/TASK.json`.

The file is replaced as a whole, so a process that is killed leaves the last state. Whoever changes one reads it,
changes it and writes it back within `change`, which lets one process at a time.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from loopai_runtime import jsonl
from loopai_runtime.errors import LoopaiError, NotFound, StorageError
from loopai_runtime.files import make_dir, only_one, replace_file
from loopai_runtime.models import utc_now
from loopai_runtime.rollout import Evidence, Failures, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopai_runtime.layout import Layout

Phase = Literal["running", "watching", "promoted", "rolled_back", "aborted"]
"""`watching`: the candidate serves in the incumbent's place, which still answers in its shadow."""
UNDER_WAY: frozenset[Phase] = frozenset({"running", "watching"})
_SCHEMA = 1
_NO_FAILURES = Failures()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server has seen of a rollout since it told last, in `seconds` of serving both versions."""

    seconds: float = 0.0
    shadowed: int = 0
    differed: int = 0
    dropped: int = 0
    errors: Failures = _NO_FAILURES
    over_latency: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a rollout; `event` as announced, without its `rollout.`."""

    at: str
    event: str
    stage: int
    e_value: float
    reason: str
    by: str
    """`evidence`, or who asked: `cli`, `http`, `platform`, …"""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A candidate beside the version that serves, the incumbent."""

    rollout_id: str
    task_id: str
    candidate: int
    incumbent: int
    started_at: str
    updated_at: str
    stage_started_at: str
    state: Phase = "running"
    stage: int = 0
    """Percent of the requests that the candidate serves; 0: it answers in shadow alone."""
    stages: tuple[int, ...] = (10, 50, 100)
    dwell_s: float = 0.0
    """Seconds of this stage in which a server was there to try the candidate, whatever a clock says."""
    delta: float = 0.02
    alpha: float = 0.05
    min_labels: int = 20
    min_dwell_s: float = 3600.0
    max_labels: int = 1000
    watch_s: float = 86_400.0
    shadowed: int = 0
    differed: int = 0
    dropped: int = 0
    """Requests that were not put to the other version as well, since there were too many."""
    labelled: tuple[Literal[-1, 0, 1], ...] = ()
    """Candidate minus incumbent where they differed, as the oracle says, in order."""
    errors: Failures = _NO_FAILURES
    over_latency: int = 0
    e_value: float = 1.0
    reason: str = ""
    ended_at: str | None = None
    history: tuple[Change, ...] = ()

    @property
    def is_under_way(self) -> bool:
        return self.state in UNDER_WAY

    @property
    def share(self) -> float:
        """Of the requests, that the candidate serves; in [0, 1]."""
        return self.stage / 100 if self.is_under_way else float(self.state == "promoted")

    def evidence(self) -> Evidence:
        """What `rollout.decide` looks at; time is what the stage has really lasted."""
        return Evidence(self.dwell_s, self.shadowed, self.differed, self.labelled, self.errors, self.over_latency)

    def decision_state(self) -> State:
        limits = (self.delta, self.alpha, self.min_labels, self.min_dwell_s, self.max_labels)
        return State(self.stage, 0.0, *limits)

    def changed(self, event: str, reason: str, by: str, **changes: Any) -> Self:
        """The same after something that its history tells of."""
        now = utc_now()
        after = replace(self, updated_at=now, reason=reason, **changes)
        line = Change(now, event, after.stage, after.e_value, reason, by)
        return replace(after, history=(*self.history, line))

    def as_dict(self) -> dict[str, Any]:
        return {"schema": _SCHEMA, **asdict(self), "share": self.share}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Self:
        """Raises TypeError, ValueError, KeyError where it is none."""
        if found["schema"] != _SCHEMA:
            raise ValueError(f"schema {found['schema']}")
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in found.items() if name in known}
        values["errors"] = Failures(**values["errors"])
        values["history"] = tuple(Change(**each) for each in values["history"])
        return cls(**values | {name: tuple(values[name]) for name in ("stages", "labelled")})


def load(layout: Layout, task_id: str) -> Rollout | None:
    """The task's rollout, the one under way or the last. Raises StorageError where its file is damaged."""
    path = layout.rollout(task_id)
    try:
        return Rollout.from_dict(jsonl.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, LoopaiError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise StorageError(f"it is no rollout's state: {error}", where=str(path)) from error


def require(layout: Layout, task_id: str) -> Rollout:
    """The same. Raises NotFound where there is none."""
    found = load(layout, task_id)
    if found is None:
        raise NotFound(f"there is no rollout of {task_id}", hint=f"loopai rollout start {task_id}@VERSION")
    return found


def all_of(layout: Layout, damaged: Callable[[str, StorageError], None] | None = None) -> list[Rollout]:
    """The rollout of each task that has one. Where a file is damaged `damaged` hears of it, with the task's id.

    Raises StorageError where nobody is there to hear it.
    """
    every = []
    for name in sorted(path.stem for path in layout.rollouts.glob("*.json")):
        try:
            found = load(layout, name)
        except StorageError as error:
            if damaged is None:
                raise
            damaged(name, error)
        else:
            every += [found] if found is not None else []
    return every


@contextmanager
def only_change(layout: Layout, task_id: str) -> Iterator[Callable[[Rollout], None]]:
    """Within it no other process changes a rollout; yields what keeps the task's. Raises StorageError."""
    place = make_dir(layout.rollouts)
    with only_one(place):
        yield lambda rollout: replace_file(layout.rollout(task_id), jsonl.encode(rollout.as_dict()))

"""Answers that would change under another version: one by one, grouped, and counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.errors import GateMissed
from loopai_runtime.sketch import Sketch

if TYPE_CHECKING:
    from datetime import datetime

    from loopai_runtime.flows.execute import Result

Kind = Literal["answer", "abstained", "error"]
Verdict = Literal["fixed", "broken", "both_wrong", "both_right"]
VERDICTS: tuple[Verdict, ...] = ("broken", "fixed", "both_wrong", "both_right")

EXAMPLES = 3
"""Of a group, those that an oracle judged first."""
MOST_GROUPS = 1000
"""Free text has a group for each answer; the later ones go together, by the kind of the change."""
_LONGEST = 2000  # bytes of an output by which a group is named and shown
_EXAMPLES_BYTES = 32 << 20  # of all groups together


class Answer(NamedTuple):
    """What became of an input: `output` of an answer, the error's type of a failure, None of one withheld."""

    kind: Kind
    output: Any
    token: bytes
    """The same for the same answer."""

    @classmethod
    def given(cls, output: Any) -> Answer:
        return cls("answer", output, jsonl.canonical(output))

    @classmethod
    def withheld(cls) -> Answer:
        return cls("abstained", None, b"")

    @classmethod
    def failed(cls, type_: str) -> Answer:
        return cls("error", type_, b"")

    def as_dict(self) -> dict[str, Any]:
        """`{"output": …}`, `{"abstained": true}` or `{"error": type}`."""
        if self.kind == "answer":
            return {"output": self.output}
        return {"abstained": True} if self.kind == "abstained" else {"error": self.output}


class Change(NamedTuple):
    """An execution as it was and as it would be; with the oracle's answer where it gave one."""

    execution_id: str
    timestamp: str
    input: Any
    old: Answer
    new: Answer
    checked: bool = False
    right: Any = None
    verdict: Verdict | None = None

    @property
    def is_same(self) -> bool:
        """Whether nobody would see a difference; two errors are the same, whatever their types."""
        return self.old.kind == self.new.kind and self.old.token == self.new.token

    @property
    def size(self) -> int:
        """Bytes of its input and its answers."""
        return len(jsonl.compact(self.input)) + len(self.old.token) + len(self.new.token)

    def as_dict(self) -> dict[str, Any]:
        line = {"execution_id": self.execution_id, "timestamp": self.timestamp, "input": self.input}
        line |= {"old": self.old.as_dict(), "new": self.new.as_dict()}
        return line | ({"right": self.right, "verdict": self.verdict} if self.checked else {})


@dataclass(slots=True)
class Group:
    """The executions with the same two answers; `old` and `new` are None in one that gathers the rest."""

    old: Answer | None
    new: Answer | None
    kinds: tuple[Kind, Kind]
    count: int = 0
    verdicts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    examples: list[Change] = field(default_factory=list)

    def add(self, change: Change, room: int) -> int:
        """Count an execution, and keep it as an example if it is worth it and fits; the bytes that this took."""
        self.count += 1
        if change.verdict is not None:
            self.verdicts[change.verdict] += 1
        unchecked = [one for one in self.examples if not one.checked]
        full = len(self.examples) >= EXAMPLES
        if (full and not (change.checked and unchecked)) or (size := change.size) > room:
            return 0
        if full:
            self.examples.remove(unchecked[-1])
            size -= unchecked[-1].size
        self.examples.append(change)
        return size

    @property
    def checked(self) -> int:
        return sum(self.verdicts.values())

    def as_dict(self) -> dict[str, Any]:
        """`old, new` (null where a group gathers the rest), `kinds, count, checked`, verdicts and `examples`."""
        return {
            "old": self.old.as_dict() if self.old else None,
            "new": self.new.as_dict() if self.new else None,
            "kinds": list(self.kinds),
            "count": self.count,
            "checked": self.checked,
            **{str(verdict): count for verdict, count in self.verdicts.items()},
            "examples": [one.as_dict() for one in sorted(self.examples, key=lambda one: not one.checked)],
        }


class Replayed:
    """What a version would have answered to logged traffic, against what was answered."""

    def __init__(self, task_id: str, version: int, since: datetime) -> None:
        self.task_id = task_id
        self.version = version
        self.since = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.executions = self.executed = self.without_input = 0
        self.changed = self.checked = 0
        self.verdicts: dict[Verdict, int] = dict.fromkeys(VERDICTS, 0)
        """Of answers that would change and that an oracle judged."""
        self._groups: dict[bytes, Group] = {}
        self._room = _EXAMPLES_BYTES
        self._was, self._is = Sketch(), Sketch()

    def add(self, change: Change) -> bool:
        """Count an execution; whether its answer would change."""
        self.executions += 1
        self.checked += change.checked
        if change.is_same:
            return False
        self.changed += 1
        if change.verdict is not None:
            self.verdicts[change.verdict] += 1
        self._room -= self._group(change).add(change, self._room)
        return True

    def ran(self, record: dict[str, Any], result: Result) -> None:
        """Note that an input was run: how long it took then and now, where it ran alone both times."""
        self.executed += 1
        took = record.get("latency_ms")
        if result.record is not None and isinstance(took, int | float) and record.get("source") != "oracle":
            self._was.add([took])
            self._is.add([result.latency_ms])

    @property
    def groups(self) -> list[Group]:
        """Those that an oracle judged come first, the ones that break most among them; then the largest."""
        return sorted(
            self._groups.values(),
            key=lambda group: (not group.checked, -group.verdicts["broken"], -group.checked, -group.count),
        )

    def latency_ms(self) -> dict[str, dict[str, float | None]]:
        """`{"logged" | "replayed": {"p50", "p95", "p99"}}` of the inputs that were run; None of none."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        sides = {"logged": self._was, "replayed": self._is}
        return {
            side: {name: _rounded(sketch, share) for name, share in shares.items()}
            for side, sketch in sides.items()
        }

    def as_dict(self) -> dict[str, Any]:
        return self.summary() | {"groups": [group.as_dict() for group in self.groups]}

    def summary(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "version": self.version,
            "since": self.since,
            "executions": self.executions,
            "executed": self.executed,
            "without_input": self.without_input,
            "changed": self.changed,
            "checked": self.checked,
            **{str(verdict): count for verdict, count in self.verdicts.items()},
            "latency_ms": self.latency_ms(),
        }

    def require(self, broken_below: int) -> None:
        """Raises GateMissed where so many right answers would break, and where no oracle judged any execution."""
        if not self.checked:
            raise GateMissed(
                f"no oracle has judged any of the {self.executions:,} executions: nothing says who is right",
                hint=f"loopai validate {self.task_id}",
            )
        if self.verdicts["broken"] >= broken_below:
            raise GateMissed(
                f"v{self.version} breaks {self.verdicts['broken']:,} of {self.checked:,} that were judged"
            )

    def _group(self, change: Change) -> Group:
        old, new = change.old, change.new
        kinds: tuple[Kind, Kind] = (old.kind, new.kind)
        short = max(len(old.token), len(new.token)) <= _LONGEST
        name = blake2b(repr((kinds, old.token, new.token)).encode(), digest_size=16).digest()
        if name in self._groups:
            return self._groups[name]
        if short and len(self._groups) < MOST_GROUPS:
            return self._groups.setdefault(name, Group(old, new, kinds))
        return self._groups.setdefault(repr(kinds).encode(), Group(None, None, kinds))


def _rounded(sketch: Sketch, share: float) -> float | None:
    value = sketch.quantile(share)
    return None if value is None else round(value, 4)

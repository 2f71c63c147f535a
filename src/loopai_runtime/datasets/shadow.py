"""What a rollout saw: `datasets/TASK/shadow/DATE.jsonl`, appended by the server, read by whoever decides or shows.

A line counts the pairs of a moment; another holds each pair in which the versions part:

    {"rollout_id", "timestamp", "shadowed", "differed", "over_latency", "failed": {"incumbent", "candidate"}, "dropped"}
    {"rollout_id", "timestamp", "execution_id", "input", "served", "incumbent": {…}, "candidate": {…}}

`failed` and `over_latency` count where that befell one version alone; `dropped` are requests that were answered and
not shadowed, for lack of time. Shadow runs are no executions and never count as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError
from loopai_runtime.layout import make_dir, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

Arm = Literal["incumbent", "candidate"]


@dataclass(slots=True)
class Counts:
    """Of pairs: requests that both versions answered."""

    shadowed: int = 0
    differed: int = 0
    over_latency: int = 0
    incumbent_failed: int = 0
    candidate_failed: int = 0
    dropped: int = 0

    def add(self, other: Counts) -> None:
        self.shadowed += other.shadowed
        self.differed += other.differed
        self.over_latency += other.over_latency
        self.incumbent_failed += other.incumbent_failed
        self.candidate_failed += other.candidate_failed
        self.dropped += other.dropped

    def line(self, rollout_id: str, timestamp: str) -> dict[str, Any]:
        return {
            "rollout_id": rollout_id,
            "timestamp": timestamp,
            "shadowed": self.shadowed,
            "differed": self.differed,
            "over_latency": self.over_latency,
            "failed": {"incumbent": self.incumbent_failed, "candidate": self.candidate_failed},
            "dropped": self.dropped,
        }


class Pair(NamedTuple):
    """A request on which the versions part. A side is `{output, status, latency_ms, confidence?, abstained?}`."""

    execution_id: str
    timestamp: str
    input: Any
    served: Arm
    incumbent: dict[str, Any]
    candidate: dict[str, Any]

    def line(self, rollout_id: str) -> dict[str, Any]:
        return {"rollout_id": rollout_id, **self._asdict()}


def append(layout: Layout, task_id: str, day: str, lines: Sequence[dict[str, Any]]) -> None:
    """Append lines to a day's file in one write. Raises StorageError."""
    path = layout.shadow(task_id, day)
    make_dir(path.parent)
    jsonl.append(path, [jsonl.compact(line) for line in lines])


class Reader:
    """What one rollout saw so far; each `read` goes on where the last one ended."""

    def __init__(self, layout: Layout, task_id: str, rollout_id: str) -> None:
        self.counts = Counts()
        self.pairs: list[Pair] = []
        self._place = layout.shadow(task_id)
        self._rollout_id = rollout_id
        self._mark = rollout_id.encode()
        self._read_to: dict[str, int] = {}

    def read(self) -> None:
        """Take in what was appended meanwhile. Raises StorageError. Lines that are torn or foreign say nothing."""
        with storage_errors(self._place):
            try:
                days = sorted(self._place.glob("????-??-??.jsonl"))
            except FileNotFoundError:
                return
        for path in days:
            self._go_on(path)

    def _go_on(self, path: Path) -> None:
        start = self._read_to.get(path.name, 0)
        try:
            with storage_errors(path), path.open("rb") as file:
                file.seek(start)
                content = file.read()
        except FileNotFoundError:  # retention took it
            return
        whole = content.rfind(b"\n") + 1
        self._read_to[path.name] = start + whole
        for raw in content[:whole].split(b"\n"):
            if self._mark in raw:
                self._take(raw)

    def _take(self, raw: bytes) -> None:
        try:
            line = jsonl.loads(raw)
            if line["rollout_id"] != self._rollout_id:
                return
            if "shadowed" in line:
                failed = line["failed"]
                numbers = (line["shadowed"], line["differed"], line["over_latency"])
                self.counts.add(Counts(*numbers, failed["incumbent"], failed["candidate"], line["dropped"]))
            else:
                self.pairs.append(Pair(**{name: line[name] for name in Pair._fields}))
        except (InputError, KeyError, TypeError):
            return

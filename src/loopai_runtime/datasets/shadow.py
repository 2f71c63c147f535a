"""Where two versions part: `datasets/TASK/shadow/DATE.jsonl`, a line for each request answered differently.

    {"rollout_id", "timestamp", "execution_id", "input", "served", "incumbent": {…}, "candidate": {…}}

`served` is whose answer left. Shadow runs are no executions and never count as such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import InputError
from loopai_runtime.files import make_dir, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

Arm = Literal["incumbent", "candidate"]


class Pair(NamedTuple):
    """A request on which the versions part. A side is `{output, status, latency_ms, cpu_ms,
    confidence?, abstained?}`."""

    execution_id: str
    timestamp: str
    input: Any
    served: Arm
    incumbent: dict[str, Any]
    candidate: dict[str, Any]


def append(layout: Layout, task_id: str, rollout_id: str, pairs: Sequence[Pair]) -> None:
    """One write for each day that they touch. Raises StorageError."""
    days: dict[str, list[bytes]] = {}
    for pair in pairs:
        line = jsonl.compact({"rollout_id": rollout_id, **pair._asdict()})
        days.setdefault(pair.timestamp[:10], []).append(line)
    for day, lines in days.items():
        path = layout.shadow(task_id, day)
        make_dir(path.parent)
        at_rest.append(layout, path, lines)


class Reader:
    """The pairs of one rollout, in order; each `read` goes on where the last one ended."""

    def __init__(self, layout: Layout, task_id: str, rollout_id: str) -> None:
        self.pairs: list[Pair] = []
        self._layout = layout
        self._place = layout.shadow(task_id)
        self._rollout_id = rollout_id
        self._read_to: dict[str, int] = {}

    def read(self) -> None:
        """Take in what was appended meanwhile. Torn and foreign lines say nothing. Raises StorageError."""
        with storage_errors(self._place):
            days = at_rest.found(self._place, "????-??-??.jsonl")
        for path in days:
            self._go_on(path)

    def _go_on(self, path: Path) -> None:
        start = self._read_to.get(path.name, 0)
        try:
            with at_rest.opened(self._layout, path) as file:
                file.seek(start)
                content = file.read()
        except FileNotFoundError:  # retention took it
            return
        whole = content.rfind(b"\n") + 1
        self._read_to[path.name] = start + whole
        for raw in content[:whole].split(b"\n"):
            if self._rollout_id.encode() in raw:
                self._take(raw)

    def _take(self, raw: bytes) -> None:
        try:
            line = jsonl.loads(raw)
            if line["rollout_id"] == self._rollout_id:
                self.pairs.append(Pair(**{name: line[name] for name in Pair._fields}))
        except (InputError, KeyError, TypeError):
            return

"""The execution log: one JSON object a line, a file a UTC day, appended by any number of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.layout import make_dir

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ExecutionRecord

# Fields of the record that are left out of its line when they say nothing.
_OPTIONAL = ("confidence", "abstained", "error", "pi", "rollout_id", "arm")


def record_line(record: ExecutionRecord) -> dict[str, Any]:
    """The record as its line in the log: the contract's names and order, absent fields left out."""
    line = record.model_dump(mode="json", by_alias=True)
    for name in _OPTIONAL:
        if line[name] is None:
            del line[name]
    if "error" in line:
        line["error"] = {key: value for key, value in line["error"].items() if value is not None}
    return line


class ExecutionLog:
    """Appends records below one data directory. Raises StorageError when they cannot be kept."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def append(self, records: Iterable[ExecutionRecord]) -> None:
        """Append a batch: one write for each task and day it touches, each record in its own day."""
        batches: dict[tuple[str, str], list[bytes]] = {}
        for record in records:
            place = (record.task_id, record.timestamp[:10])
            batches.setdefault(place, []).append(jsonl.compact(record_line(record)))
        for (task_id, day), lines in batches.items():
            make_dir(self._layout.executions(task_id))
            jsonl.append(self._layout.executions(task_id, day), lines)

"""Executions as they were logged, read back one by one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from loopai_runtime.datasets import raw, tally
from loopai_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from loopai_runtime.layout import Layout


def records(layout: Layout, task_id: str, days: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """The records of `days` (None: of all), the earliest day first. A torn or damaged line is passed over.

    Raises StorageError where a file cannot be read.
    """
    for day, parts in raw.days(layout, task_id).items():
        if days is not None and day not in days:
            continue
        for part in parts:
            with part.open() as file:
                for lines, _ in raw.blocks(file):
                    yield from filter(None, map(_record, lines))


def at_of(record: dict[str, Any]) -> float:
    """When an execution happened, in seconds since 1970."""
    return datetime.fromisoformat(record["timestamp"]).timestamp()


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = tally.read(line)
        datetime.fromisoformat(record["timestamp"])
        return record if "execution_id" in record and "status" in record else None
    except (InputError, ValueError, KeyError, TypeError):
        return None

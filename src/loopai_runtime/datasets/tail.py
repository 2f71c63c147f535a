"""The latest executions of tasks, and those that are appended while somebody looks."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loopai_runtime.datasets import raw, tally
from loopai_runtime.errors import InputError
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

_LOOK_EVERY_S = 0.2
_BLOCK_BYTES = 1 << 16

Record = dict[str, Any]


def latest(layout: Layout, tasks: Sequence[str], n: int, wanted: Callable[[Record], bool]) -> list[Record]:
    """The last `n` executions that are wanted, in the order of their time. Raises StorageError."""
    found: list[Record] = []
    for task_id in tasks:
        here = 0
        for line in _backwards(layout, task_id) if n else ():
            record = record_of(line)
            if record is not None and wanted(record):
                found.append(record)
                here += 1
                if here == n:
                    break
    return sorted(found, key=lambda record: str(record.get("timestamp")))[-n:]


def _backwards(layout: Layout, task_id: str) -> Iterator[bytes]:
    """Lines of a task's log, the last one first."""
    for parts in reversed(raw.days(layout, task_id).values()):
        for part in reversed(parts):
            with suppress(FileNotFoundError), part.open() as file:
                if part.kind in ("gzip", "encrypted"):  # can be read forwards alone
                    yield from reversed([line for lines, _ in raw.blocks(file) for line in lines])
                    continue
                start, rest = file.seek(0, 2), b""
                while start:
                    end, start = start, max(0, start - _BLOCK_BYTES)
                    file.seek(start)
                    rest, *lines = (file.read(end - start) + rest).split(b"\n")
                    yield from reversed(lines)
                yield rest


def record_of(line: bytes) -> Record | None:
    """The execution that a line is; None of a blank, torn or foreign one."""
    try:
        record = tally.read(line)
    except InputError:
        return None
    return record if isinstance(record, dict) else None


class Follower:
    """What is appended to the live logs of tasks after this was made."""

    def __init__(self, layout: Layout, tasks: Callable[[], Sequence[str]]) -> None:
        self._layout = layout
        self._tasks = tasks
        self._reached: dict[Path, tuple[int, int]] = {}  # inode, and how far the file was read
        for part in self._parts():
            with suppress(FileNotFoundError):
                self._reached[part.path] = (part.path.stat().st_ino, part.size())

    def follow(self, look_every_s: float = _LOOK_EVERY_S) -> Iterator[Record]:
        """For ever: each execution as it comes. Raises StorageError."""
        while True:
            yield from self.look()
            time.sleep(look_every_s)

    def look(self) -> Iterator[Record]:
        """The executions that came since the last look."""
        for part in self._parts():
            with suppress(FileNotFoundError), part.open() as file:
                inode, size = part.path.stat().st_ino, part.size()
                known, reached = self._reached.get(part.path, (inode, 0))
                if known != inode or size < reached:
                    reached = 0
                if size == reached:
                    continue
                file.seek(reached)
                for lines, taken in raw.blocks(file):
                    reached += taken
                    if taken:
                        yield from filter(None, map(record_of, lines))
                self._reached[part.path] = (inode, reached)

    def _parts(self) -> list[raw.Part]:
        """The files that may grow of today, and of the day before, to which a late record may come."""
        days = sorted({raw.closed_before(), utc_now()[:10]})
        found = [raw.days(self._layout, task_id) for task_id in self._tasks()]
        parts = [part for day in days for parts in found for part in parts.get(day, [])]
        return [part for part in parts if part.kind in ("live", "encrypted")]

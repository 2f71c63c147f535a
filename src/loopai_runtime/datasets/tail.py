"""The latest executions of tasks, and those that are appended while somebody looks."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loopai_runtime.datasets import raw, tally
from loopai_runtime.errors import InputError
from loopai_runtime.layout import storage_errors
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
                if part.kind == "gzip":  # can be read forwards alone
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
        for path in self._files():
            with suppress(FileNotFoundError):
                found = path.stat()
                self._reached[path] = (found.st_ino, found.st_size)

    def follow(self, look_every_s: float = _LOOK_EVERY_S) -> Iterator[Record]:
        """For ever: each execution as it comes. Raises StorageError."""
        while True:
            yield from self.look()
            time.sleep(look_every_s)

    def look(self) -> Iterator[Record]:
        """The executions that came since the last look."""
        for path in self._files():
            with suppress(FileNotFoundError), storage_errors(path), path.open("rb") as file:
                found = os.fstat(file.fileno())
                inode, reached = self._reached.get(path, (found.st_ino, 0))
                if inode != found.st_ino or found.st_size < reached:
                    reached = 0
                file.seek(reached)
                for lines, size in raw.blocks(file):
                    reached += size
                    if size:
                        yield from filter(None, map(record_of, lines))
                self._reached[path] = (found.st_ino, reached)

    def _files(self) -> list[Path]:
        """The files of today and of the day before, to which a late record may come."""
        days = sorted({raw.closed_before(), utc_now()[:10]})
        return [self._layout.executions(task_id, day) for day in days for task_id in self._tasks()]

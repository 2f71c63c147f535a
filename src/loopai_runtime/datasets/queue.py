"""queue.jsonl: inputs that wait for a person's answer, appended by whoever met them, taken out once answered.

    {"input", "output", "confidence", "version", "execution_id", "timestamp", "source"}

`source` is why it waits: abstained, oracle (a person is the task's oracle), synthetic (made up). `output` is
what a program or a model would say.
"""

from __future__ import annotations

import io
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import InputError, StorageError
from loopai_runtime.files import make_dir, only_one, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

LINGER_S = 0.4
"""A server looks four times a second whether the file it appends to is still the one of that name."""


def append(layout: Layout, task_id: str, waiting: Sequence[dict[str, Any]]) -> None:
    """Let inputs wait for a person. Raises StorageError."""
    path = layout.queue(task_id)
    make_dir(path.parent)
    at_rest.append(layout, path, [jsonl.compact(one) for one in waiting])


def read(layout: Layout, task_id: str) -> list[dict[str, Any]]:
    """What waits, in the order in which it came. Raises StorageError for a damaged file."""
    files = at_rest.files(layout, layout.queue(task_id))
    return [_item(line, str(path)) for path, file in files for line in jsonl.kept_lines(file)]


def _item(line: jsonl.Line, path: str) -> dict[str, Any]:
    try:
        item = jsonl.loads(line.raw)
    except InputError as exc:
        raise StorageError(f"is damaged: {exc}", where=f"{path}:{line.number}") from None
    if not isinstance(item, dict) or "input" not in item:
        raise StorageError("is damaged: not an object with an input", where=f"{path}:{line.number}")
    return item


def require_key(layout: Layout) -> None:
    """Raises StorageError where inputs could not join an encrypted queue, as the key is another one."""
    for task_id in layout.tasks() if layout.sealing is not None else ():
        path = at_rest.encrypted(layout.queue(task_id))
        with suppress(FileNotFoundError), at_rest.opened(layout, path):
            pass


def take_out(layout: Layout, task_id: str, is_done: Callable[[dict[str, Any]], bool]) -> int:
    """Remove what is done; answers how many are left. Raises StorageError.

    The file is replaced, not changed, and what others still append to the old one for a moment is carried over.
    """
    path = layout.queue(task_id)
    left = 0
    with suppress(FileNotFoundError), only_one(path.parent):
        with suppress(FileNotFoundError):
            left += _take_out(path, is_done)
        with suppress(FileNotFoundError):
            left += _take_out_encrypted(layout, at_rest.encrypted(path), is_done)
    return left


def _take_out_encrypted(layout: Layout, path: Path, is_done: Callable[[dict[str, Any]], bool]) -> int:
    kept: list[bytes] = []

    def waiting(text: bytes) -> bytes:
        lines = jsonl.lines(io.BytesIO(text))
        kept[:] = [line.raw + b"\n" for line in lines if not is_done(_item(line, str(path)))]
        return b"".join(kept)

    at_rest.rewrite(layout, path, waiting)
    return len(kept)


def _take_out(path: Path, is_done: Callable[[dict[str, Any]], bool]) -> int:
    with storage_errors(path), path.open("rb") as old:
        kept, gone = [], 0
        for line in jsonl.lines(old):
            if is_done(_item(line, str(path))):
                gone += 1
            else:
                kept.append(line.raw)
        if not gone:
            return len(kept)
        read_to = old.tell()
        replace_file(path, b"".join(raw + b"\n" for raw in kept))
        late = _appended_late(old.fileno(), read_to)
        jsonl.append(path, late)
    return len(kept) + len(late)


def _appended_late(descriptor: int, start: int) -> list[bytes]:
    """The lines that came into the old file after it was read, once nobody knows it any more."""
    time.sleep(LINGER_S)
    size = os.fstat(descriptor).st_size
    return [line for line in os.pread(descriptor, size - start, start).split(b"\n") if line.strip()]

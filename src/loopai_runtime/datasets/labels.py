"""labels.jsonl: right answers that came in after the specification, one JSON object a line, only ever appended.

    {"input", "output", "source": person | oracle | synthetic | reviewed, "timestamp", "execution_id"?, "oracle"?}

`reviewed` is a synthetic row that a person confirmed. Of several labels of one input a person's wins over an
oracle's or a synthetic one, and among those of one rank the newest.
"""

from __future__ import annotations

import fcntl
import heapq
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import InputError, StorageError
from loopai_runtime.files import make_dir, storage_errors
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

Source = Literal["person", "oracle", "synthetic", "reviewed"]
BY_PERSONS: frozenset[str] = frozenset({"person", "reviewed"})
_RANK = {"person": 2, "reviewed": 2, "oracle": 1, "synthetic": 0}


class Label(NamedTuple):
    """An input and its right output, by whom and when; `execution_id` where it came up in an execution."""

    input: Any
    output: Any
    source: str
    timestamp: str
    execution_id: str | None = None
    oracle: str | None = None

    def line(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if value is not None or name == "output"}


def label(
    value: Any, output: Any, source: Source, *, execution_id: str | None = None, oracle: str | None = None
) -> Label:
    """A label given now."""
    return Label(value, output, source, utc_now(), execution_id, oracle)


def append(layout: Layout, task_id: str, labels: Sequence[Label]) -> None:
    """Keep labels, in one write. Raises StorageError."""
    path = layout.labels(task_id)
    make_dir(path.parent)
    at_rest.append(layout, path, [jsonl.compact(one.line()) for one in labels])


def read(layout: Layout, task_id: str) -> Iterator[Label]:
    """Every label in the order in which they were given. Raises StorageError for a damaged file."""
    path = layout.labels(task_id)
    # Where encryption was switched on or off, each of the two files has its part of the time.
    both = [_read(layout, each) for each in (path, at_rest.encrypted(path))]
    return heapq.merge(*both, key=lambda one: one.timestamp)


def _read(layout: Layout, path: Path) -> Iterator[Label]:
    try:
        with at_rest.opened(layout, path) as file:
            for line in jsonl.kept_lines(file):
                yield _label(jsonl.loads(line.raw, f"line {line.number}"))
    except FileNotFoundError:
        return
    except (InputError, KeyError, TypeError) as exc:
        hint = "each line is an object with input, output, source and timestamp"
        raise StorageError(f"is damaged: {exc}", where=str(path), hint=hint) from None


def _label(row: dict[str, Any]) -> Label:
    value, output, source = row["input"], row["output"], row.get("source", "person")
    return Label(value, output, source, row.get("timestamp", ""), row.get("execution_id"), row.get("oracle"))


def known(layout: Layout, task_id: str, sources: frozenset[str] | None = None) -> dict[bytes, Label]:
    """The label that counts for each input, by the input's canonical JSON. Raises StorageError."""
    return best(one for one in read(layout, task_id) if sources is None or one.source in sources)


def best(given: Iterable[Label]) -> dict[bytes, Label]:
    """The label that counts for each input, of labels in the order in which they were given."""
    found: dict[bytes, Label] = {}
    for one in given:
        key = jsonl.canonical(one.input)
        if key not in found or _RANK.get(one.source, 0) >= _RANK.get(found[key].source, 0):
            found[key] = one
    return found


def take_back(layout: Layout, task_id: str, taken: Label) -> bool:
    """Remove the last line that is `taken`; False where there is none. Raises StorageError."""
    path = layout.labels(task_id)
    line = jsonl.compact(taken.line()) + b"\n"
    with suppress(FileNotFoundError):
        if _taken_out(layout, at_rest.encrypted(path), line):
            return True
    with suppress(FileNotFoundError):
        return _taken_back(path, line)
    return False


def _taken_out(layout: Layout, path: Path, line: bytes) -> bool:
    found: list[int] = []

    def without(text: bytes) -> bytes:
        if (at := _last(text, line)) < 0:
            return text
        found.append(at)
        return text[:at] + text[at + len(line) :]

    at_rest.rewrite(layout, path, without)
    return bool(found)


def _last(content: bytes, line: bytes) -> int:
    """Where the last line that is `line` begins; -1 where there is none."""
    at = content.rfind(line)
    return -1 if at > 0 and content[at - 1 : at] != b"\n" else at  # the end of a longer line


def _taken_back(path: Path, line: bytes) -> bool:
    """The plain file only ever grows under those who append to it, so the line is cut off where it is the last
    one, and else overwritten by spaces, which readers skip."""
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            at = _last(os.pread(descriptor, size, 0), line)
            if at < 0:
                return False
            if at + len(line) == size:
                os.ftruncate(descriptor, at)
            else:
                os.pwrite(descriptor, b" " * (len(line) - 1), at)
            os.fsync(descriptor)
            return True
        finally:
            os.close(descriptor)

"""Validations: what an oracle said of sampled executions; a file for each day of the executions, only appended."""

from __future__ import annotations

import gzip
import re
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from loopai_runtime import at_rest, jsonl
from loopai_runtime.datasets import raw
from loopai_runtime.errors import InputError
from loopai_runtime.files import make_dir, storage_errors
from loopai_runtime.models import ValidationRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

_DAY = re.compile(r"(?:sampled-)?(\d{4}-\d{2}-\d{2})\.jsonl(\.gz|\.enc)?")
_ORDER = (
    ".gz .jsonl .enc"  # what is packed is older; as in `at_rest.files`, plain lines come before encrypted ones
)
_SAMPLED = re.compile(rb'"sampled":\s*true')


class Judged(NamedTuple):
    """A validation, and the day of the execution that it is of."""

    day: str
    record: ValidationRecord


def append(layout: Layout, task_id: str, day: str, records: Sequence[ValidationRecord]) -> None:
    """Keep the validations of executions of `day`, in one write. Raises StorageError."""
    path = layout.validations(task_id, day)
    make_dir(path.parent)
    at_rest.append(layout, path, [jsonl.compact(record.line()) for record in records])


def read(layout: Layout, task_id: str, days: Collection[str] | None = None) -> Iterator[Judged]:
    """The validations of all days, or of some, oldest day first; a line that is none is passed over.

    Each execution counts once: the first validation of it. Raises StorageError.
    """
    seen: set[str] = set()
    for day, paths in sorted(_by_day(layout.validations(task_id)).items()):
        if days is not None and day not in days:
            continue
        for line in _lines(layout, paths):
            record = _record(line)
            if record is not None and record.execution_id not in seen:
                seen.add(record.execution_id)
                yield Judged(day, record)


def _record(line: bytes) -> ValidationRecord | None:
    try:
        return ValidationRecord.model_validate(jsonl.loads(line))
    except (InputError, ValueError):
        return None


def days(layout: Layout, task_id: str) -> list[str]:
    """The days that have executions, newest first. Raises StorageError."""
    return sorted(raw.days(layout, task_id), reverse=True)


def sampled(layout: Layout, task_id: str, day: str) -> list[dict[str, Any]]:
    """The executions of a day that were chosen for validation, newest first; lines that are none are passed over.

    Raises StorageError.
    """
    found = []
    for line in raw.lines(layout, task_id, [day]):
        if _SAMPLED.search(line) is None:  # most lines: not worth parsing
            continue
        try:
            record = jsonl.loads(line)
        except InputError:
            continue
        if isinstance(record, dict) and record.get("sampled") is True and "execution_id" in record:
            found.append(record)
    return found[::-1]


def _by_day(folder: Path) -> dict[str, list[Path]]:
    """The files of each day, gzipped or not; a day may have both, where records came late."""
    found: dict[str, list[Path]] = {}
    try:
        with storage_errors(folder):
            entries = sorted(folder.iterdir(), key=lambda path: _ORDER.find(path.suffix))
    except FileNotFoundError:
        return {}
    for path in entries:
        if match := _DAY.fullmatch(path.name):
            found.setdefault(match[1], []).append(path)
    return found


def _lines(layout: Layout, paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        # It may be gzipped or removed by retention meanwhile.
        with suppress(FileNotFoundError), _opened(layout, path) as file:
            for line in jsonl.lines(file):
                yield line.raw


@contextmanager
def _opened(layout: Layout, path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with storage_errors(path), gzip.open(path) as file:
            yield cast("IO[bytes]", file)
    else:
        with at_rest.opened(layout, path) as plain:
            yield plain

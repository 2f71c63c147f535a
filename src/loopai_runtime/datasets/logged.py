"""Executions as they were logged, read back in the order of their files."""

from __future__ import annotations

import gzip
import re
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, cast

from loopai_runtime import jsonl
from loopai_runtime.layout import storage_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from loopai_runtime.layout import Layout

_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.[0-9]{2,})?\.jsonl(?:\.gz)?", re.ASCII)


def records(layout: Layout, task_id: str, days: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """The records of `days` (all there are: None), gzipped or not. A torn or damaged line is passed over.

    Raises StorageError where a file cannot be read.
    """
    for path in files(layout, task_id, days):
        with storage_errors(path), _opened(path) as file:
            yield from _lines(file)


def files(layout: Layout, task_id: str, days: Collection[str] | None = None) -> list[Path]:
    """The files that `records` reads, the earliest day first."""
    place = layout.executions(task_id)
    try:
        with storage_errors(place):
            named = [(_NAME.fullmatch(entry.name), entry) for entry in place.iterdir()]
    except FileNotFoundError:
        return []
    found = [(match[1], path.name, path) for match, path in named if match]
    return [path for day, _, path in sorted(found) if days is None or day in days]


def at_of(record: dict[str, Any]) -> float:
    """When an execution happened, in seconds since 1970. Raises ValueError for a timestamp that is none."""
    return datetime.fromisoformat(record["timestamp"]).timestamp()


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _lines(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    import orjson

    for line in jsonl.lines(file):
        try:
            record = orjson.loads(line.raw)
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, dict) and "execution_id" in record:
            yield record

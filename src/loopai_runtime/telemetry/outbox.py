"""Uploads whose bytes are settled, on disk until they have arrived; and those that the platform never took."""

from __future__ import annotations

import gzip
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import StorageError
from loopai_runtime.files import make_dir, storage_errors
from loopai_runtime.models import utc_now
from loopai_runtime.telemetry import state as states

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopai_runtime.layout import Layout
    from loopai_runtime.telemetry.state import Frozen


def put(layout: Layout, frozen: Frozen, body: bytes) -> None:
    """Write the bytes down. Raises StorageError."""
    path = _path(layout, frozen)
    make_dir(path.parent)
    at_rest.replace(layout, path, body)


def get(layout: Layout, frozen: Frozen) -> bytes | None:
    """The bytes as they were settled; None where they are not there whole."""
    body = _read(layout, _path(layout, frozen))
    return body if body is not None and hashlib.sha256(body).hexdigest() == frozen.key else None


def sweep(layout: Layout, frozen: Frozen | None) -> None:
    """Remove all but `frozen`. Raises StorageError."""
    kept = _path(layout, frozen) if frozen else None
    for path in _files(layout.telemetry / "outbox"):
        if path != kept:
            path.unlink(missing_ok=True)


def quarantine(layout: Layout, frozen: Frozen, most_bytes: int) -> Path:
    """Put away what the platform will not take, the oldest giving way; answers where. Raises StorageError."""
    place, path = make_dir(layout.telemetry / "quarantine"), _path(layout, frozen)
    with storage_errors(path), suppress(FileNotFoundError):
        path.replace(place / f"{utc_now()[:19].replace(':', '')}-{path.name}")
    files = _files(place)
    while len(files) > 1 and sum(file.stat().st_size for file in files) > most_bytes:
        files.pop(0).unlink(missing_ok=True)
    return place


def erase(layout: Layout, is_meant: Callable[[bytes], bool], n: int) -> int:
    """Settle nothing where `n` records that wait were erased, and remove what was put away and has any such.

    The caller holds the spool's lock. Answers how many were put away. Raises StorageError.
    """
    state = states.load(layout)
    if n and state.frozen is not None:
        state.frozen = None
        state.save(layout)
        sweep(layout, None)
    return sum(_erase_file(layout, path, is_meant) for path in _files(layout.telemetry / "quarantine"))


def _erase_file(layout: Layout, path: Path, is_meant: Callable[[bytes], bool]) -> int:
    body = _read(layout, path)
    if body is None:
        return 0
    records = jsonl.loads(gzip.decompress(body))["records"]
    if n := sum(is_meant(jsonl.encode(record)) for record in records):
        path.unlink(missing_ok=True)
    return n


def _read(layout: Layout, path: Path) -> bytes | None:
    try:
        return at_rest.read(layout, path)
    except (FileNotFoundError, StorageError):
        return None


def _files(place: Path) -> list[Path]:
    with storage_errors(place), suppress(FileNotFoundError):
        return sorted(place.iterdir())
    return []


def _path(layout: Layout, frozen: Frozen) -> Path:
    return layout.telemetry / "outbox" / f"{frozen.key[:32]}.json.gz"

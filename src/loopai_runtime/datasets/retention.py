"""What is compressed and what is deleted of the data directory, by kind, age and total size.

A day is touched only when it is closed (see `raw`), so never the file that a server writes. Each step is a rename
or a removal: killed anywhere, the next run takes up what is left, and no record is lost or there twice.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loopai_runtime.crypto import HEADER_BYTES
from loopai_runtime.datasets import raw, stats
from loopai_runtime.errors import StorageError
from loopai_runtime.files import fsync_dir, only_one, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

PACKED_SHARE = 0.2
"""Of its size that a log is expected to have when it is compressed; a dry run counts with it."""
_DATED = re.compile(r"(?:[a-z-]+-)?([0-9]{4}-[0-9]{2}-[0-9]{2})\.jsonl?(?:\.enc)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that retention does, or would do: `freed` bytes are expected before it, and known after it."""

    action: Literal["compress", "delete", "rewrap"]
    kind: str
    path: Path
    why: str
    freed: int
    task_id: str | None = None
    trouble: str | None = None

    def as_dict(self) -> dict[str, str | int | None]:
        return {
            "action": self.action,
            "kind": self.kind,
            "task_id": self.task_id,
            "path": str(self.path),
            "freed": self.freed,
            "why": self.why,
            "trouble": self.trouble,
        }


def keep(layout: Layout, config: Config, *, dry_run: bool = False, now: float | None = None) -> Iterator[Step]:
    """Do what the configuration asks for, and tell each step as it is done: deletions first, as they make room.

    A step that fails (a full disk, a file that may not be removed) tells its `trouble`, and the others go on.
    Raises StorageError where the data directory cannot be read.
    """
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() if now is None else now))
    closed = raw.closed_before(now)
    if not dry_run:
        for task_id in layout.logged_tasks():
            _sweep(layout, task_id)
    gone, shrunk = 0, 0
    for step in _too_old(layout, config, today, closed):
        gone += step.freed
        yield step if dry_run else _delete(step)
    for task_id, part, step in _to_compress(layout, config, today, closed):
        if dry_run:
            day = part.path.name[:10]
            if _age(day, today) <= config.retention.executions.keep_days:
                shrunk += step.freed
                yield step
        else:
            yield _compress(layout, task_id, part, step)
    for step in _to_rewrap(layout):
        yield step if dry_run else _rewrap(layout, step)
    over = _size(layout.root) - (gone + shrunk if dry_run else 0) - int(config.storage.max_size_gb * 1e9)
    for step in _to_make_room(layout, closed, over, config.storage.max_size_gb):
        yield step if dry_run else _delete(step)


def _age(day: str, today: str) -> int:
    return (date.fromisoformat(today) - date.fromisoformat(day)).days


# --- what there is to do ------------------------------------------------------------------------------------


def _too_old(layout: Layout, config: Config, today: str, closed: str) -> Iterator[Step]:
    rest = config.storage.retention_days
    days = config.retention.executions.keep_days
    for task_id in layout.logged_tasks():
        for day, parts in raw.days(layout, task_id).items():
            if _valid(day) and day < closed and _age(day, today) > days:
                for part in parts[::-1]:  # the live one first, as the others keep their numbers without it
                    yield _deletion("executions", part.path, f"older than {days} days", task_id)
        kept = config.retention.validations.keep_days
        yield from _old_files("validations", layout.validations(task_id), kept, today, task_id)
        yield from _old_files("shadow", layout.shadow(task_id), kept, today, task_id)
        yield from _unused("shadow", layout.shadow(task_id), kept, "labels-*.jsonl*")
        # As long as the raw log is here, its counts would only be made again.
        yield from _old_files("analytics", layout.analytics(task_id), max(rest, days), today, task_id)
    yield from _old_files("ledger", layout.ledger, rest, today)
    yield from _old_files("audit", layout.audit, rest, today)
    yield from _unused("cache", layout.root / "cache", rest)


def _old_files(kind: str, place: Path, days: int, today: str, task_id: str | None = None) -> Iterator[Step]:
    """Files of `place` that have a day in their name."""
    for path in _entries(place):
        match = _DATED.fullmatch(path.name)
        if match and _valid(match[1]) and _age(match[1], today) > days:
            yield _deletion(kind, path, f"older than {days} days", task_id)


def _unused(kind: str, place: Path, days: int, names: str = "*") -> Iterator[Step]:
    """What has not been asked for, or given, for days."""
    before = time.time() - days * 86_400
    for path in sorted(place.rglob(names)):
        with suppress(FileNotFoundError), storage_errors(path):
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime < before:
                yield _deletion(kind, path, f"not changed for {days} days")


def _to_compress(layout: Layout, config: Config, today: str, closed: str) -> Iterator[tuple[str, raw.Part, Step]]:
    after = config.retention.executions.compress_after
    for task_id in layout.logged_tasks():
        for day, parts in raw.days(layout, task_id).items():
            if _valid(day) and day < closed and _age(day, today) >= after:
                for part in parts:
                    if part.kind in ("live", "sealed"):
                        freed = int(part.size() * (1 - PACKED_SHARE))
                        why = f"{after} day old" if after == 1 else f"{after} days old"
                        yield task_id, part, Step("compress", "executions", part.path, why, freed, task_id)


def _to_make_room(layout: Layout, closed: str, over: int, limit_gb: float) -> Iterator[Step]:
    """The oldest raw executions, until `over` bytes are gone."""
    found = sorted(
        (day, task_id, parts)
        for task_id in layout.logged_tasks()
        for day, parts in raw.days(layout, task_id).items()
        if day < closed
    )
    for _, task_id, parts in found:
        for part in parts[::-1]:
            if over <= 0:
                return
            step = _deletion("executions", part.path, f"all together is more than {limit_gb:g} GB", task_id)
            over -= step.freed
            yield step


def _to_rewrap(layout: Layout) -> Iterator[Step]:
    """Encrypted files, whatever they hold, that another key than the first one opens."""
    if layout.vault is None:
        return
    for path in _files(layout.root):
        if layout.vault.is_old(_header(path)):
            kind = path.relative_to(layout.root).parts[0]
            yield Step("rewrap", kind, path, "the key is another one now", 0)


def _header(path: Path) -> bytes:
    with suppress(OSError):  # it went away, or is nobody's of ours
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor, not a path
            return file.read(HEADER_BYTES)
    return b""


def _deletion(kind: str, path: Path, why: str, task_id: str | None = None) -> Step:
    with suppress(FileNotFoundError), storage_errors(path):
        return Step("delete", kind, path, why, path.stat().st_size, task_id)
    return Step("delete", kind, path, why, 0, task_id)


def _entries(place: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError), storage_errors(place):
        return sorted(place.iterdir())
    return []


def _valid(day: str) -> bool:
    with suppress(ValueError):
        date.fromisoformat(day)
        return True
    return False


def _size(root: Path) -> int:
    """Bytes of all files below `root`."""
    total = 0
    for path in _files(root):
        with suppress(OSError):  # it went away
            total += path.lstat().st_size
    return total


def _files(root: Path) -> Iterator[Path]:
    """All files below `root`."""
    for directory, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(directory, name) for name in sorted(names))


# --- doing it -----------------------------------------------------------------------------------------------


def _delete(step: Step) -> Step:
    try:
        with (
            storage_errors(step.path),
            suppress(FileNotFoundError),
            only_one(step.path.parent),
            locked(step.path),
        ):
            step.path.unlink()
    except StorageError as error:
        return replace(step, freed=0, trouble=str(error))
    return step


def _compress(layout: Layout, task_id: str, part: raw.Part, step: Step) -> Step:
    """Seal a part, write its gzip, remove it: whichever of the two files is there, it holds every record once."""
    target = raw.packed_path(part)
    try:
        stats.daily(layout, task_id, part.path.name[:10])  # while it is quick to read
        with only_one(part.path.parent), storage_errors(part.path), suppress(FileNotFoundError):
            if part not in raw.days(layout, task_id).get(part.path.name[:10], []):
                return replace(step, freed=0)  # another run was faster
            sealed = raw.sealed_path(part)
            if part.kind == "live":
                with locked(part.path):
                    part.path.rename(sealed)
            before = sealed.stat().st_size
            if before:
                with sealed.open("rb") as lines:
                    raw.write_packed(target, iter(lambda: lines.read(raw.CHUNK_BYTES), b""))
            sealed.unlink()
            fsync_dir(sealed.parent)
            return replace(step, freed=before - (target.stat().st_size if before else 0))
    except StorageError as error:
        return replace(step, freed=0, trouble=str(error))
    return replace(step, freed=0)


def _rewrap(layout: Layout, step: Step) -> Step:
    """Overwrite the header alone: whoever writes the file goes on."""
    try:
        header = layout.vault.rewrapped(_header(step.path), str(step.path))
        with storage_errors(step.path):
            descriptor = os.open(step.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, header, 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except StorageError as error:
        return replace(step, trouble=str(error))
    return step


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that appenders to a file take. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(layout: Layout, task_id: str) -> None:
    """Remove what a killed run left: temporaries, and sealed files whose gzip is whole."""
    for place in (layout.analytics(task_id), layout.executions(task_id)):
        with suppress(FileNotFoundError), only_one(place):
            layout.sweep(place)
    with suppress(FileNotFoundError), only_one(place):
        for parts in raw.days(layout, task_id).values():
            for part in parts:
                if part.kind == "gzip":
                    with storage_errors(place):
                        raw.sealed_path(part).unlink(missing_ok=True)

"""Writing files: one appears whole or not at all. It is written beside its place, fsynced, renamed, and the
directory is fsynced.

Files are 0600 and directories 0700.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from loopai_runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DIR_MODE = 0o700
FILE_MODE = 0o600
TEMPORARY = ".tmp-"  # leftovers of a killed process start with this and mean nothing
STALE_S = 3600  # a temporary of this age has no living writer

_WHY = {
    errno.ENOSPC: (
        "the disk is full",
        "free some space, then run the command again; nothing was half-written",
    ),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then run the command again"),
    errno.EROFS: ("the file system is read-only", "choose another place with --data-dir or LOOPAI_DATA_DIR"),
    errno.EACCES: ("permission denied", "choose another place with --data-dir, or fix its owner and mode"),
    errno.EPERM: ("not permitted", "choose another place with --data-dir, or fix its owner and mode"),
    errno.ENOTDIR: ("a file stands where a directory is needed", "choose another --data-dir"),
    errno.EIO: ("the disk reports an input/output error", "check the disk"),
    errno.EFBIG: ("the file size limit is reached", "raise the limit (ulimit -f)"),
}


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turns the operating system's refusals into `StorageError`; others pass."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _WHY:
            raise
        what, hint = _WHY[exc.errno]
        raise StorageError(what, where=str(exc.filename or path), hint=hint) from exc


def fsync_dir(path: Path) -> None:
    """Make a rename in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_dir(path: Path) -> Path:
    """Create `path` and its missing parents with mode 0700. Raises StorageError."""
    with storage_errors(path):
        missing = []
        current = path
        while not current.is_dir():
            missing.append(current)
            current = current.parent
        for directory in reversed(missing):
            with suppress(FileExistsError):  # another process was faster
                directory.mkdir(mode=DIR_MODE)
    return path


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Wait until no other process changes a file of `directory` under this lock.

    The lock is the directory itself, so it leaves no file behind. Raises StorageError.
    """
    with storage_errors(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def temporary_beside(path: Path) -> Path:
    """An unused name in the same directory, so that a rename to `path` is atomic."""
    return path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def write_file(path: Path, content: bytes, like: os.stat_result | None = None) -> None:
    """Write a new file and fsync it; for files inside a directory that is itself renamed into place.

    `like`: the owner of a file that this one is to replace, and whether its group may read it.
    """
    with storage_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, not a path
            if like is not None:
                with suppress(PermissionError):  # only root gives files away, and only root has to
                    os.fchown(descriptor, like.st_uid, like.st_gid)
                    os.fchmod(descriptor, FILE_MODE | (like.st_mode & stat.S_IRGRP))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def replace_file(path: Path, content: bytes, like: os.stat_result | None = None) -> None:
    """Replace `path` atomically and durably; `like` as in `write_file`.

    Raises StorageError; then the old content still stands.
    """
    temporary = temporary_beside(path)
    with storage_errors(path):
        try:
            write_file(temporary, content, like)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        fsync_dir(path.parent)


def replace_users_file(path: Path, content: bytes) -> Path:
    """Replace a file outside the data directory, whole or not at all; modes are as the user's umask has them."""
    temporary = temporary_beside(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def made_once(path: Path, make: Callable[[], str]) -> str:
    """The ASCII text of `path`; where there is none yet, `make()`, written for good. Raises StorageError.

    Nothing is written where there is one, so that a read-only directory can be read.
    """
    with storage_errors(path):
        for _ in range(2):
            try:
                return path.read_text("ascii")
            except FileNotFoundError:
                make_dir(path.parent)
                temporary = temporary_beside(path)
                write_file(temporary, make().encode("ascii"))
                # link, not rename: the first writer's text stays, and the others' temporaries are swept by it
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(temporary, path)
                temporary.unlink(missing_ok=True)
                _sweep_beside(path)
                fsync_dir(path.parent)
            except UnicodeDecodeError:
                raise StorageError("is damaged", where=str(path)) from None
    raise StorageError("cannot be created", where=str(path))


def _sweep_beside(path: Path) -> None:
    """Remove what killed processes left beside `path`, which is there now: all of its own temporaries, and others
    that are too old for anybody to be writing them still."""
    own, old = f"{TEMPORARY}{path.name}-", time.time() - STALE_S
    for entry in list(path.parent.iterdir()):
        if entry.name.startswith(TEMPORARY):
            with suppress(OSError):  # another process swept it, or it is not ours to remove
                if entry.name.startswith(own) or entry.lstat().st_mtime < old:
                    entry.unlink()


def replace_symlink(path: Path, target: str) -> None:
    """Point the symlink `path` at `target` (a relative name) atomically."""
    temporary = temporary_beside(path)
    with storage_errors(path):
        temporary.symlink_to(target)
        temporary.replace(path)
        fsync_dir(path.parent)

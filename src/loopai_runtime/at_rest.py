"""Files that hold inputs or outputs, at rest: plain, or encrypted where the configuration gives a key.

    whole files    TICKET.json, examples.jsonl, …: replaced at once, and under one name whatever they are
    files of lines labels.jsonl plain, labels.jsonl.enc encrypted: each is appended to by any number of processes

What was written plain before a key was given stays as it is, and is read first; what was encrypted is read while
the configuration has its key. Everything here raises StorageError where a file is encrypted and its key is not
given, or was changed.
"""

from __future__ import annotations

import fcntl
import io
import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from loopai_runtime import crypto, jsonl
from loopai_runtime.errors import StorageError
from loopai_runtime.files import replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from loopai_runtime.layout import Layout

ENCRYPTED = ".enc"


# --- any file -----------------------------------------------------------------------------------------------


@contextmanager
def opened(layout: Layout, path: Path) -> Iterator[IO[bytes]]:
    """A file's plain text. Raises FileNotFoundError."""
    with storage_errors(path), path.open("rb") as file:
        start = file.read(crypto.MAGIC_BYTES)
        file.seek(0)
        if crypto.is_encrypted(start):
            yield io.BufferedReader(crypto.plain_of(layout.vault, file, str(path)), 1 << 16)
        elif start and path.suffix == ENCRYPTED:
            raise StorageError("is not a file that was encrypted here", where=str(path))
        else:
            yield file


def read(layout: Layout, path: Path) -> bytes:
    """All of a file. Raises FileNotFoundError."""
    with opened(layout, path) as file:
        content = file.read()
        if is_open(file):
            raise StorageError("was cut off", where=str(path))
        return content


def is_encrypted(file: IO[bytes]) -> bool:
    """Whether what `opened` gave is encrypted on the disk."""
    return isinstance(getattr(file, "raw", None), crypto.Plain)


def is_open(file: IO[bytes]) -> bool:
    """Whether what `opened` gave, and was read, is encrypted, and its only writer has not closed it."""
    plain = getattr(file, "raw", None)
    return isinstance(plain, crypto.Plain) and not (plain.ended or plain.is_shared)


def rewrite(layout: Layout, path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put what `change` makes of an encrypted file's text in its place, under another data key.

    Whoever appends waits, and goes on with the new file. Raises FileNotFoundError.
    """
    while True:
        with storage_errors(path), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file.fileno()).st_nlink:
                continue
            plain = crypto.plain_of(layout.vault, file, str(path))
            before = plain.read()
            after = change(before)
            if after != before:
                new = crypto.shared_file if plain.is_shared else _whole
                replace_file(path, new(layout.vault, after))
            return


# --- whole files --------------------------------------------------------------------------------------------


def sealed(layout: Layout, content: bytes) -> bytes:
    """What is to stand in a file whose text is `content`."""
    vault = layout.sealing
    return content if vault is None else _whole(vault, content)


def replace(layout: Layout, path: Path, content: bytes) -> None:
    """Replace a file by one whose text is `content`, atomically and durably."""
    replace_file(path, sealed(layout, content))


def _whole(vault: crypto.Vault, content: bytes) -> bytes:
    return vault.writer().whole(content)


# --- files of lines -----------------------------------------------------------------------------------------


def encrypted(path: Path) -> Path:
    """Where the encrypted lines of a file of lines go."""
    return path.with_name(path.name + ENCRYPTED)


def found(place: Path, pattern: str) -> list[Path]:
    """The files of lines of a directory, plain (`pattern`) and encrypted, in the order of their names."""
    return sorted([*place.glob(pattern), *place.glob(pattern + ENCRYPTED)])


def append(layout: Layout, path: Path, records: Iterable[bytes]) -> None:
    """Append records, each one line, in one write: all of them, or none."""
    vault = layout.sealing
    if vault is None:
        jsonl.append(path, records)
        return
    block = b"".join(record + b"\n" for record in records)
    path = encrypted(path)
    kept = not block
    while not kept:
        with storage_errors(path), crypto.Appender(vault, path) as file:
            kept = file.append(block)


def files(layout: Layout, path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """The text of a file of lines: what is plain, then what is encrypted, as far as they are there."""
    for each in (path, encrypted(path)):
        with suppress(FileNotFoundError), opened(layout, each) as file:
            yield each, file

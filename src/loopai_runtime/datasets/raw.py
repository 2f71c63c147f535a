"""The raw executions of a day: which files they lie in, and their lines.

    2025-10-26.jsonl        live: may still be appended to
    2025-10-26.00.jsonl     sealed: renamed, so that nobody appends any more, and about to be compressed
    2025-10-26.jsonl.gz     what became of it; a later one is 2025-10-26.01.jsonl.gz
    2025-10-26.00.jsonl.enc an encrypted one (see `crypto`), of a single writer; the next start writes 01

A record that comes after its day was sealed starts a new live file. Parts are numbered in this order; a part keeps
its number whatever happens to its file, and the lowest number that is free is the live file's. Where a sealed file
and its gzip are both there, a crash came between the two, and the gzip is whole.
"""

from __future__ import annotations

import gzip
import os
import re
import time
import zlib
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, cast

from loopai_runtime import crypto
from loopai_runtime.errors import StorageError
from loopai_runtime.files import FILE_MODE, fsync_dir, storage_errors, temporary_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from loopai_runtime.layout import Layout

Kind = Literal["live", "sealed", "gzip", "encrypted"]

GRACE_S = 3600
"""A day is closed this long after its end: until then a server appends to its file without a lock."""
CHUNK_BYTES = 1 << 20
_LEVEL = 6  # of gzip
GZIP_MODULUS = 1 << 32
"""Of the size that a gzip's trailer tells."""

_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.([0-9]{2,}))?\.jsonl(\.gz|\.enc)?", re.ASCII)
_ENCRYPTED_FROM = 1_000_000  # the numbers of encrypted parts, which nobody renames


class Part(NamedTuple):
    """One file of a day's executions."""

    number: int
    kind: Kind
    path: Path
    vault: Any = None

    def size(self) -> int:
        """Bytes of lines; of a gzip modulo 2^32, as its trailer says. Raises StorageError."""
        if self.kind == "encrypted":
            with self._plain() as plain:
                return int(plain.size())
        with storage_errors(self.path), self.path.open("rb") as file:
            end = file.seek(0, 2)
            if self.kind != "gzip":
                return end
            file.seek(max(0, end - 4))
            return int.from_bytes(file.read(4), "little")

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its lines as a file. Raises StorageError, also for a damaged gzip while it is read."""
        try:
            with storage_errors(self.path), self._opened() as file:
                yield file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise StorageError(f"is damaged: {error}", where=str(self.path)) from None

    def _opened(self) -> IO[bytes]:
        """The file, also where it was sealed or compressed since it was listed. Raises FileNotFoundError."""
        if self.kind == "encrypted":
            return cast("IO[bytes]", self._plain())
        if self.kind != "gzip":
            for path in (self.path, sealed_path(self)):
                with suppress(FileNotFoundError):
                    return path.open("rb")
        return cast("IO[bytes]", gzip.open(packed_path(self)))

    def _plain(self) -> Any:
        with storage_errors(self.path):
            return crypto.plain_of(self.vault, self.path.open("rb"), str(self.path))


def days(layout: Layout, task_id: str) -> dict[str, list[Part]]:
    """The parts of every day of which raw executions are here, both in order. Raises StorageError."""
    place = layout.executions(task_id)
    found: dict[str, dict[int, Part]] = {}
    live: dict[str, Path] = {}
    for match in filter(None, map(_NAME.fullmatch, _names(place))):
        day, number, packed = match[1], int(match[2] or 0), match[3] == ".gz"
        path = place / match[0]
        if match[3] == ".enc":
            number += _ENCRYPTED_FROM
            found.setdefault(day, {})[number] = Part(number, "encrypted", path, layout.vault)
            continue
        if match[2] is None and not packed:
            live[day] = path
        elif packed or number not in found.setdefault(day, {}):
            found.setdefault(day, {})[number] = Part(number, "gzip" if packed else "sealed", path)
    for day, path in live.items():
        number = free_number(found.setdefault(day, {}))
        found[day][number] = Part(number, "live", path)
    return {day: [found[day][number] for number in sorted(found[day])] for day in sorted(found)}


def _names(place: Path) -> list[str]:
    """What is in a directory, sorted; looked at until it stays the same, as a rename may hide a file from one."""
    before: list[str] | None = None
    while True:
        try:
            with storage_errors(place):
                names = sorted(entry.name for entry in place.iterdir())
        except FileNotFoundError:
            names = []
        if names == before:
            return names
        before = names


def lines(layout: Layout, task_id: str, wanted: Iterable[str]) -> Iterator[bytes]:
    """All lines of some days, in order; blank, torn and foreign ones too. Raises StorageError."""
    parts = days(layout, task_id)
    for day in wanted:
        for part in parts.get(day, []):
            with suppress(FileNotFoundError), part.open() as file:  # retention deleted it meanwhile
                for block, _ in blocks(file):
                    yield from block


def whole(layout: Layout, task_id: str, wanted: Iterable[str], is_open: Callable[[Path], None]) -> Iterator[bytes]:
    """All whole lines of some days, many at once; `is_open` hears of encrypted files that nobody closed.

    Raises StorageError.
    """
    parts = days(layout, task_id)
    for day in wanted:
        for part in parts.get(day, []):
            with suppress(FileNotFoundError), part.open() as file:
                for block, size in blocks(file):
                    if size:
                        yield b"".join(line + b"\n" for line in block if line.strip())
                if not getattr(file, "ended", True):
                    is_open(part.path)


def free_number(taken: dict[int, Part]) -> int:
    """The number of a day's live file."""
    return next(number for number in range(len(taken) + 1) if number not in taken)


def sealed_path(live: Part) -> Path:
    """Where a live file goes when it is sealed."""
    return live.path.with_name(f"{live.path.name[:10]}.{live.number:02}.jsonl")


def packed_path(part: Part) -> Path:
    """Where the gzip of a part goes."""
    number = f".{part.number:02}" if part.number else ""
    return part.path.with_name(f"{part.path.name[:10]}{number}.jsonl.gz")


def closed_before(now: float | None = None) -> str:
    """The earliest day that is not closed yet: those before it are appended to under a lock alone."""
    return time.strftime("%Y-%m-%d", time.gmtime((time.time() if now is None else now) - GRACE_S))


def blocks(file: IO[bytes]) -> Iterator[tuple[list[bytes], int]]:
    """From where a file stands: whole lines without their newlines, and the bytes they took; last the torn rest.

    The rest has no newline, and comes as a single line whose bytes count as 0.
    """
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if lines:
            yield lines, sum(map(len, lines)) + len(lines)
    if rest:
        yield [rest], 0


def write_packed(target: Path, content: Iterable[bytes]) -> None:
    """Put a gzip of `content` in its place, whole and durable, or leave what was there. Raises StorageError."""
    temporary = temporary_beside(target)
    with storage_errors(target):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            with open(descriptor, "wb") as out:  # noqa: PTH123  a descriptor, not a path
                with gzip.GzipFile("", "wb", compresslevel=_LEVEL, fileobj=out, mtime=0) as packed:
                    for block in content:
                        packed.write(block)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_dir(target.parent)

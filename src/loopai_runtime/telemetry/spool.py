"""Records that wait to be sent, on disk: whole blocks in segments, each block bound by a CRC.

    segment  BOOT.FIRST.seg: magic 8, then blocks; only appended to, up to its size
    block    length u32, CRC-32 u32, then lines: its head, then its records
    head     {"boot", "first", "count", "policy", "source"?, "cursor"?}

A block is kept whole or not at all, and with its records it keeps how far their source was read: so whatever
moment a crash picks, each execution is reported once, and no number is given to two records. A line that `erase`
took out is blank; the records after it keep their numbers. Where a storage key is given, a segment is encrypted:
what is described here is its plain text. Whoever uses a spool holds `lock`.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import Busy, StorageError
from loopai_runtime.files import FILE_MODE, fsync_dir, make_dir, storage_errors
from loopai_runtime.models import BOOT, utc_now
from loopai_runtime.telemetry import state as states
from loopai_runtime.telemetry.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from loopai_runtime.crypto import Writer
    from loopai_runtime.layout import Layout
    from loopai_runtime.telemetry.state import Number, State

MAGIC = b"LOOPAIT1"
SEGMENT_BYTES = 1 << 20
MAX_RECORD_BYTES = 256 * 1024
_HEAD = struct.Struct("<II")
_MAX_BLOCK = 64 * 2**20
_NAME = re.compile(rf"({BOOT})\.([0-9]{{12}})\.seg", re.ASCII)


class Block(NamedTuple):
    """Records written together: `lines[i]` has the number (boot, first + i), and is blank where it was erased."""

    boot: str
    first: int
    policy: Policy
    lines: tuple[bytes, ...]
    source: str | None = None
    cursor: Any = None

    @property
    def last(self) -> Number:
        return (self.boot, self.first + len(self.lines) - 1)

    def as_bytes(self) -> bytes:
        head: dict[str, Any] = {"boot": self.boot, "first": self.first, "policy": self.policy}
        if self.source is not None:
            head |= {"source": self.source, "cursor": self.cursor}
        payload = b"\n".join((jsonl.encode(head), *self.lines))
        return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


class Segment(NamedTuple):
    path: Path
    start: Number
    """The number of its first record."""


def segments(layout: Layout) -> list[Segment]:
    """All segments, in order. Raises StorageError."""
    place = layout.telemetry / "spool"
    try:
        with storage_errors(place):
            names = sorted(entry.name for entry in place.iterdir())
    except FileNotFoundError:
        return []
    found = map(_NAME.fullmatch, names)
    return [Segment(place / match[0], (match[1], int(match[2]))) for match in found if match]


def blocks(layout: Layout, segment: Segment) -> Iterator[Block]:
    """The whole blocks of a segment; what follows a damaged or torn one is lost. Raises StorageError."""
    with suppress(FileNotFoundError), at_rest.opened(layout, segment.path) as file:
        if _exactly(file, len(MAGIC)) != MAGIC:
            return
        while (payload := _payload(file)) is not None:
            head, *lines = payload.split(b"\n")
            data = jsonl.loads(head)
            policy = Policy(*data["policy"])
            yield Block(data["boot"], data["first"], policy, tuple(lines), data.get("source"), data.get("cursor"))


def _payload(file: IO[bytes]) -> bytes | None:
    """The next block's; None where there is no whole one."""
    head = _exactly(file, _HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack(head)
    payload = _exactly(file, length) if length <= _MAX_BLOCK else b""
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _exactly(file: IO[bytes], n: int) -> bytes:
    """`n` bytes, or fewer at the end and where an encrypted file was changed; such a file gives a frame's at a
    time."""
    parts = []
    with suppress(StorageError):
        while n and (part := file.read(n)):
            parts.append(part)
            n -= len(part)
    return b"".join(parts)


@contextmanager
def lock(layout: Layout, *, wait: bool = False) -> Iterator[None]:
    """Hold everything below `telemetry/` against other processes. Raises Busy, StorageError."""
    import fcntl

    place = make_dir(layout.telemetry)
    with storage_errors(place):
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Busy(
                "another process is sending telemetry", where=str(place), hint="wait for it to end"
            ) from None
        yield
    finally:
        os.close(descriptor)


class Spool:
    """Writes to the end and forgets at the beginning. Made under `lock`; `state` is kept up to date, and saved."""

    def __init__(self, layout: Layout, max_bytes: int, *, policy: Policy) -> None:
        """Recovers what a crash left. Raises StorageError."""
        self.layout = layout
        self.state = states.load(layout)
        self._max_bytes = max_bytes
        self._place = make_dir(make_dir(layout.telemetry) / "spool")
        self._descriptor = -1
        self._writer: Writer | None = None
        self._written = 0
        self._policy = policy
        life = states.life_of(layout)
        highest = recover(layout, self.state)
        before = (self.state.boot, self.state.last)
        if self.state.enter(life, highest):
            previous = list(before) if before[0] else None
            self.append([{"kind": "started", "at": utc_now(), "data": {"previous": previous}}])
            self.state.save(layout)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def append(self, records: Sequence[dict[str, Any]], source: str | None = None, cursor: Any = None) -> None:
        """Keep records (kind, at, data, and task_id and version where they have one), durably, and give each its
        number; and that `source` was read up to `cursor`. Raises StorageError; then nothing was kept."""
        if source is not None and not records:
            self.state.cursors[source] = cursor
        if not records:
            return
        boot, first = self.state.boot, self.state.last + 1
        lines = (line_of(boot, seq, record) for seq, record in enumerate(records, first))
        block = Block(boot, first, self._policy, tuple(lines), source, cursor)
        try:
            with storage_errors(self._place):
                self._write(block.as_bytes(), (boot, first))
        except BaseException:
            self._close()
            raise
        self.state.last += len(records)
        if source is not None:
            self.state.cursors[source] = cursor
        self.state.read = (boot, self.state.last)

    def trim(self) -> None:
        """Drop whole segments, the oldest first, until all fits; what was lost is counted and reported.

        Raises StorageError.
        """
        over = used_bytes(self.layout) - self._max_bytes
        for segment in segments(self.layout)[:-1]:  # the last one is being written
            if over <= 0:
                return
            over -= _size(segment.path)
            self._lose(segment)
            self.state.save(self.layout)
            with storage_errors(segment.path):
                segment.path.unlink(missing_ok=True)

    def _lose(self, segment: Segment) -> None:
        """Count what a segment has that was not sent, nor is on its way."""
        settled = max(self.state.acked, self.state.frozen.through if self.state.frozen else states.NOTHING)
        lost, last = 0, self.state.acked
        for block in blocks(self.layout, segment):
            numbers = ((block.boot, seq) for seq, line in enumerate(block.lines, block.first) if line)
            lost += sum(number > settled for number in numbers)
            last = max(last, block.last)
        self.state.drop("quota", lost)
        if last > settled:
            self.state.acked = last

    def tell_of_losses(self) -> None:
        """Have it reported how many records will not arrive in all, where that changed. Raises StorageError."""
        if self.state.dropped != self.state.dropped_told:
            totals = dict(self.state.dropped)
            self.append([{"kind": "dropped", "at": utc_now(), "data": {"totals": totals}}])
            self.state.dropped_told = totals

    def forget(self) -> None:
        """Delete the segments that the platform has all of. Raises StorageError."""
        found, acked = segments(self.layout), self.state.acked
        ends = [segment.start for segment in found[1:]]
        for segment, following in zip(found, [*ends, (self.state.boot, self.state.last + 1)], strict=True):
            is_done = following <= acked or (acked[0], acked[1] + 1) == following
            if not is_done and following[0] != segment.start[0]:  # the end of a boot
                is_done = all(block.last <= acked for block in blocks(self.layout, segment))
            if not is_done:
                return
            if segment is found[-1]:
                self._close()
            with storage_errors(segment.path):
                segment.path.unlink(missing_ok=True)

    def _write(self, block: bytes, start: Number) -> None:
        if self._descriptor >= 0 and self._written + len(block) > SEGMENT_BYTES:
            self._close()
        if self._descriptor < 0 and not self._resume(start[0]):
            self._open(start)
        jsonl.append_more(self._descriptor, self._writer.frame(block) if self._writer else block)
        os.fsync(self._descriptor)
        self._written += len(block)

    def _resume(self, boot: str) -> bool:
        """Go on with the last segment, what a crash tore off it cut away; an encrypted one has a single writer."""
        found = segments(self.layout)
        if self.layout.sealing is not None or not found or found[-1].start[0] != boot:
            return False
        with found[-1].path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return False
            end = len(MAGIC)
            while (payload := _payload(file)) is not None:
                end += _HEAD.size + len(payload)
        if not len(MAGIC) < end < SEGMENT_BYTES:
            return False
        self._descriptor = os.open(found[-1].path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(self._descriptor, end)
        self._written = end
        return True

    def _open(self, start: Number) -> None:
        path = self._place / f"{start[0]}.{start[1]:012}.seg"
        # What stands there was torn before its first block was whole: nobody was told of its number.
        path.unlink(missing_ok=True)
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE
        )
        self._writer = self.layout.sealing.writer() if self.layout.sealing is not None else None
        start_of = self._writer.header + self._writer.frame(MAGIC) if self._writer else MAGIC
        jsonl.append_more(self._descriptor, start_of)
        fsync_dir(self._place)
        self._written = 0

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._writer = -1, None


def recover(layout: Layout, state: State) -> int:
    """Bring `state` up to what the spool holds beyond it; answers the number of the highest boot.

    Raises StorageError.
    """
    found = segments(layout)
    for at, segment in enumerate(found):
        if at + 1 < len(found) and found[at + 1].start <= state.read:
            continue  # it was all read
        for block in blocks(layout, segment):
            if block.last > state.read:
                state.read = block.last
                if block.source is not None:
                    state.cursors[block.source] = block.cursor
            state.boot, state.last = max((state.boot, state.last), block.last)
    state.boot, state.last = max((state.boot, state.last), state.acked)
    return max((int(segment.start[0][:8]) for segment in found), default=0)


def used_bytes(layout: Layout) -> int:
    """Bytes of everything below `telemetry/`."""
    with storage_errors(layout.telemetry):
        return sum(_size(path) for path in layout.telemetry.rglob("*") if path.is_file())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def line_of(boot: str, seq: int, record: dict[str, Any]) -> bytes:
    """A record as it lies in the spool and goes out; what is too large goes without its content."""
    line = jsonl.encode({"boot": boot, "seq": seq, **record})
    if len(line) > MAX_RECORD_BYTES:
        kept = {
            name: value
            for name, value in record["data"].items()
            if name not in ("input", "output", "oracle_output")
        }
        line = jsonl.encode({"boot": boot, "seq": seq, **record, "data": kept | {"omitted": "too large"}})
    return line


def erase(layout: Layout, segment: Segment, is_meant: Callable[[bytes], bool], *, dry_run: bool = False) -> int:
    """Blank the records that are meant, the segment replaced as a whole; answers how many. Raises StorageError."""
    kept, n = [], 0
    for block in blocks(layout, segment):
        lines = tuple(b"" if line and is_meant(line) else line for line in block.lines)
        n += sum(before != after for before, after in zip(block.lines, lines, strict=True))
        kept.append(block._replace(lines=lines).as_bytes())
    if n and not dry_run:
        content = MAGIC + b"".join(kept)
        at_rest.replace(layout, segment.path, content)
    return n

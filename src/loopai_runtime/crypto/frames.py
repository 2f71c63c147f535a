"""What an encrypted file looks like, how a single writer makes it, and how every one is read.

    header   magic 8, file id 16, id of the owner's key 8, nonce 12, data key wrapped 48
    kept     how much plain text there is at least u64, its keyed hash 16: in a shared file alone
    frame    length of the sealed text u32, end u64, sealed text, the length again u32
    …        end: how many bytes of plain text there are up to here
    mark     a frame of nothing, with the highest bit of its end set, when a single writer closed its file

Each frame is bound to its file and to where the one before it ended, so one that was changed, moved, taken out or
put in does not open. A file of a single writer (`Writer`) that was cut off lacks its mark; so does one whose
writer was killed, or still writes. Its frames have their ends as nonces, as such a writer only ever starts new
files. In a shared file (`Appender`) a frame's nonce is random and stands before its sealed text, and `kept` says
what is missing where the end was cut off. Another owner's key means another header, nothing else.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import struct
import time
from functools import cache
from typing import IO, TYPE_CHECKING, Any

from loopai_runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

log = logging.getLogger(__name__)

MAGIC_BYTES = 8
SINGLE, SHARED = b"LOOPAIE1", b"LOOPAIE2"
HEADER_BYTES = 92
HEAD = struct.Struct("<IQ")
LENGTH = struct.Struct("<I")
KEPT = struct.Struct("<Q16s")
TAG_BYTES, NONCE_BYTES = 16, 12
_MARK = 1 << 63


def is_encrypted(start: bytes) -> bool:
    """Whether a file that starts so was encrypted here."""
    return start[:MAGIC_BYTES] in (SINGLE, SHARED)


class Writer:
    """Seals blocks for one new file. `header` goes first; what `frame` gave and was not written ends the file."""

    def __init__(self, header: bytes, data_key: bytes) -> None:
        self.header = header
        self._cipher = cipher(data_key)
        self._file_id = file_id_of(header)
        self._end = 0

    def frame(self, block: bytes) -> bytes:
        """The next frame, of at least one byte."""
        return self._sealed(block, self._end + len(block))

    def mark(self) -> bytes:
        """The last frame."""
        return self._sealed(b"", self._end | _MARK)

    def whole(self, content: bytes) -> bytes:
        """A file with nothing but `content`."""
        return b"".join((self.header, self.frame(content) if content else b"", self.mark()))

    def _sealed(self, block: bytes, end: int) -> bytes:
        length = len(block) + TAG_BYTES
        head = HEAD.pack(length, end)
        sealed = self._cipher.encrypt(_nonce(end), block, bound(self._file_id, head, self._end))
        self._end = end & ~_MARK
        return b"".join((head, sealed, LENGTH.pack(length)))


class Plain(io.RawIOBase):
    """The plain text of an encrypted file, to be read from its start or from `seek`. Raises StorageError.

    A torn last frame is not there. `ended` says, once all was read, whether a single writer closed the file; of a
    shared one whose end was cut off the log tells.
    """

    def __init__(self, file: IO[bytes], data_key: bytes, where: str) -> None:
        self._file = file
        self._cipher = cipher(data_key)
        self._where = where
        file.seek(0)
        header = file.read(HEADER_BYTES)
        self._file_id = file_id_of(header)
        self.is_shared = header.startswith(SHARED)
        self._kept = self._read_kept(data_key) if self.is_shared else 0
        self._start = file.tell()
        self._end = 0
        self._waiting = b""
        self.ended = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        super().close()
        self._file.close()

    def read(self, n: int | None = -1) -> bytes:
        """At most `n` bytes, at least one unless there are no more; all for -1."""
        if n is None or n < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if not self._waiting:
            self._waiting = self._next()
        given, self._waiting = self._waiting[:n], self._waiting[n:]
        return given

    def readinto(self, buffer: Any) -> int:
        given = self.read(len(buffer))
        buffer[: len(given)] = given
        return len(given)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Go on at a byte of the plain text; answers at which, as there is nothing beyond its end."""
        if whence != os.SEEK_SET:
            position += self.position if whence == os.SEEK_CUR else self.size()
        if position == self.position:
            return position
        before = ((at, end) for at, end in self._backwards() if end <= position)
        at, self._end = next(before, (self._start, 0))
        self._waiting = b""
        self._file.seek(at)
        while self._end < position and (block := self._next()):
            left = self._end - position
            if left > 0:
                self._waiting = block[-left:]
        return self.position

    def size(self) -> int:
        """Bytes of plain text."""
        at = self._file.tell()
        end = self.whole_end()[1]
        self._file.seek(at)
        return end

    @property
    def position(self) -> int:
        """Bytes of plain text up to where it was read."""
        return self._end - len(self._waiting)

    @property
    def missing(self) -> int:
        """Bytes of plain text that a shared file lacks from where it was read to."""
        return max(0, self._kept - self._end)

    def whole_end(self) -> tuple[int, int]:
        """Where the last whole frame ends, in the file and in the plain text."""
        at, end = next(self._backwards(), (self._start, 0))
        if end < self._kept:
            _warn_once(self._where)
        return at, end

    def _read_kept(self, data_key: bytes) -> int:
        """How much there is at least; an appender may just be writing it."""
        for _ in range(3):
            self._file.seek(HEADER_BYTES)
            said = self._file.read(KEPT.size)
            if len(said) == KEPT.size and said == kept_of(end := KEPT.unpack(said)[0], self._file_id, data_key):
                return int(end)
            time.sleep(0.001)
        raise StorageError("has a header that was changed", where=self._where)

    def _next(self) -> bytes:
        """The plain text of the next frame; nothing where there is none."""
        from cryptography.exceptions import InvalidTag

        at = self._file.tell()
        head = self._file.read(HEAD.size)
        length, end = HEAD.unpack(head) if len(head) == HEAD.size else (0, 0)
        sealed = self._file.read(length + LENGTH.size) if length else b""
        if len(sealed) < length + LENGTH.size:  # the end, or torn by a crash, or being written
            self._file.seek(at)
            if self.missing:
                _warn_once(self._where)
            return b""
        try:
            if sealed[length:] != head[: LENGTH.size] or length < TAG_BYTES + NONCE_BYTES * self.is_shared:
                raise InvalidTag
            nonce, at_text = (sealed[:NONCE_BYTES], NONCE_BYTES) if self.is_shared else (_nonce(end), 0)
            block = self._cipher.decrypt(nonce, sealed[at_text:length], bound(self._file_id, head, self._end))
        except InvalidTag:
            raise StorageError(f"was changed, at byte {at}", where=self._where) from None
        self._end = end & ~_MARK
        self.ended = bool(end & _MARK)
        return block

    def _backwards(self) -> Iterator[tuple[int, int]]:
        """Where frames end, in the file and in the plain text, the last one first."""
        at = self._file.seek(0, os.SEEK_END)
        if not self._is_end(at):
            at = self._last_whole()
        while at > self._start:
            self._file.seek(at - LENGTH.size)
            length = LENGTH.unpack(self._file.read(LENGTH.size))[0]
            start = at - LENGTH.size - length - HEAD.size
            if start < self._start:
                raise StorageError(f"was changed, before byte {at}", where=self._where)
            self._file.seek(start)
            yield at, HEAD.unpack(self._file.read(HEAD.size))[1] & ~_MARK
            at = start

    def _is_end(self, at: int) -> bool:
        """Whether a whole frame ends here."""
        if at < self._start + HEAD.size + TAG_BYTES + LENGTH.size:
            return at == self._start
        self._file.seek(at - LENGTH.size)
        length = LENGTH.unpack(self._file.read(LENGTH.size))[0]
        start = at - LENGTH.size - length - HEAD.size
        if start < self._start:
            return False
        self._file.seek(start)
        return bool(HEAD.unpack(self._file.read(HEAD.size))[0] == length)

    def _last_whole(self) -> int:
        """Where the last frame that is whole ends, found from the start."""
        size = self._file.seek(0, os.SEEK_END)
        at = self._start
        while at + HEAD.size <= size:
            self._file.seek(at)
            following = at + HEAD.size + HEAD.unpack(self._file.read(HEAD.size))[0] + LENGTH.size
            if following > size:
                break
            at = following
        return at


def file_id_of(header: bytes) -> bytes:
    return header[8:24]


def kept_of(end: int, file_id: bytes, data_key: bytes) -> bytes:
    """What a shared file says about how much of it there is at least."""
    said = file_id + end.to_bytes(8, "little")
    return KEPT.pack(end, hashlib.blake2b(said, key=data_key, digest_size=16, person=b"loopai kept").digest())


def bound(file_id: bytes, head: bytes, start: int) -> bytes:
    """What a frame is bound to."""
    return b"".join((file_id, head, start.to_bytes(8, "little")))


def cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here: most commands encrypt nothing

    return AESGCM(key)


def _nonce(end: int) -> bytes:
    return end.to_bytes(NONCE_BYTES, "little")


@cache
def _warn_once(where: str) -> None:
    log.warning("%s was cut off: what was written last is missing", where)

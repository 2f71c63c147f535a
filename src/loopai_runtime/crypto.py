"""Files encrypted at rest, which grow: AES-256-GCM in frames, a data key a file, wrapped by a key of its owner.

    header   magic 8, file id 16, id of the owner's key 8, nonce 12, data key wrapped 48
    frame    length of the sealed text u32, end u64, sealed text, the length again u32
    …        end: how many bytes of plain text there are up to here; it is the frame's nonce too
    mark     a frame of nothing, with the highest bit of its end set, when the writer closed the file

Each frame is bound to its file and to where the one before it ended, so one that was changed, moved, taken out or
put in does not open. A file that was cut off lacks its mark; so does one whose writer was killed, or still writes.
A writer only ever starts new files: no nonce comes twice. Another owner's key means another header, nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
from typing import IO, TYPE_CHECKING, Self

from loopai_runtime.errors import NotFound, StorageError, UsageError
from loopai_runtime.layout import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from loopai_runtime.config.sections import Storage

MAGIC = b"LOOPAIE1"
HEADER_BYTES = 92
_HEAD = struct.Struct("<IQ")
_LENGTH = struct.Struct("<I")
_TAG_BYTES = 16
_MARK = 1 << 63


def key_of(text: str) -> bytes:
    """A 32-byte key from 64 hexadecimal digits or from base64. Raises UsageError, which does not tell the key."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != 32:
        raise UsageError(
            "the encryption key is no 32 bytes in hexadecimal or base64", hint="openssl rand -hex 32 makes one"
        )
    return key


def vault_of(storage: Storage) -> Vault | None:
    """The keys that the configuration gives; None where nothing is encrypted. Raises UsageError, StorageError."""
    texts = [secret.get_secret_value() for secret in (storage.encryption_key,) if secret is not None]
    if storage.encryption_key_file is not None:
        try:
            with storage_errors(storage.encryption_key_file):
                texts.append(storage.encryption_key_file.read_text("utf-8"))
        except FileNotFoundError:
            raise NotFound("no such file", where=str(storage.encryption_key_file)) from None
    if not texts:
        return None
    if storage.encryption_key_before is not None:
        texts.append(storage.encryption_key_before.get_secret_value())
    return Vault([key_of(text) for text in texts])


class Writer:
    """Seals blocks for one new file. `header` goes first; what `frame` gave and was not written ends the file."""

    def __init__(self, header: bytes, data_key: bytes) -> None:
        self.header = header
        self._cipher = _cipher(data_key)
        self._file_id = _file_id(header)
        self._end = 0

    def frame(self, block: bytes) -> bytes:
        """The next frame, of at least one byte."""
        return self._sealed(block, self._end + len(block))

    def mark(self) -> bytes:
        """The last frame."""
        return self._sealed(b"", self._end | _MARK)

    def _sealed(self, block: bytes, end: int) -> bytes:
        length = len(block) + _TAG_BYTES
        head = _HEAD.pack(length, end)
        sealed = self._cipher.encrypt(_nonce(end), block, _bound(self._file_id, head, self._end))
        self._end = end & ~_MARK
        return b"".join((head, sealed, _LENGTH.pack(length)))


class Vault:
    """The owner's keys: the first one wraps the data keys of new files, the others still open old files."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_key_id(key): key for key in reversed(keys)}
        self._own = keys[0]

    def writer(self) -> Writer:
        """For a file that is new."""
        data_key, file_id = os.urandom(32), os.urandom(16)
        return Writer(_wrapped(data_key, file_id, self._own), data_key)

    def data_key(self, header: bytes, where: str) -> bytes:
        """The key of a file by its header. Raises StorageError."""
        from cryptography.exceptions import InvalidTag

        if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
            raise StorageError("is not a file that was encrypted here", where=where)
        key = self._keys.get(header[24:32])
        if key is None:
            hint = "set storage.encryption_key, or storage.encryption_keys_before, to the key of then"
            raise StorageError(f"was encrypted with another key ({header[24:32].hex()})", where=where, hint=hint)
        try:
            return _cipher(key).decrypt(header[32:44], header[44:], header[:32])
        except InvalidTag:
            raise StorageError("has a header that was changed", where=where) from None

    def is_old(self, header: bytes) -> bool:
        """Whether a header is one of ours, under another key than the first."""
        return len(header) == HEADER_BYTES and header.startswith(MAGIC) and header[24:32] != _key_id(self._own)

    def rewrapped(self, header: bytes, where: str) -> bytes:
        """The header under the first key, of the same length. Raises StorageError."""
        return _wrapped(self.data_key(header, where), _file_id(header), self._own)

    def plain(self, file: IO[bytes], where: str) -> Plain:
        """An encrypted file as its plain text. Raises StorageError."""
        file.seek(0)
        return Plain(file, self.data_key(file.read(HEADER_BYTES), where), where)


class Plain:
    """The plain text of an encrypted file, to be read from its start or from `seek`. Raises StorageError.

    A torn last frame is not there. `ended` says, once all was read, whether the writer closed the file.
    """

    def __init__(self, file: IO[bytes], data_key: bytes, where: str) -> None:
        self._file = file
        self._cipher = _cipher(data_key)
        self._where = where
        file.seek(0)
        self._file_id = _file_id(file.read(HEADER_BYTES))
        self._end = 0
        self._waiting = b""
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, n: int = -1) -> bytes:
        """At most `n` bytes, at least one unless there are no more; all for -1."""
        if n < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if not self._waiting:
            self._waiting = self._next()
        given, self._waiting = self._waiting[:n], self._waiting[n:]
        return given

    def seek(self, position: int) -> None:
        """Go on at a byte of the plain text."""
        before = ((at, end) for at, end in self._backwards() if end <= position)
        at, self._end = next(before, (HEADER_BYTES, 0))
        self._waiting = b""
        self._file.seek(at)
        while self._end < position and (block := self._next()):
            left = self._end - position
            if left > 0:
                self._waiting = block[-left:]

    def size(self) -> int:
        """Bytes of plain text."""
        return next((end for _, end in self._backwards()), 0)

    @property
    def position(self) -> int:
        """Bytes of plain text up to where it was read."""
        return self._end - len(self._waiting)

    def _next(self) -> bytes:
        """The plain text of the next frame; nothing where there is none."""
        from cryptography.exceptions import InvalidTag

        at = self._file.tell()
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return b""
        length, end = _HEAD.unpack(head)
        sealed = self._file.read(length + _LENGTH.size)
        if len(sealed) < length + _LENGTH.size:  # torn by a crash, or being written
            self._file.seek(at)
            return b""
        try:
            if sealed[length:] != head[: _LENGTH.size]:
                raise InvalidTag
            block = self._cipher.decrypt(_nonce(end), sealed[:length], _bound(self._file_id, head, self._end))
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
        while at > HEADER_BYTES:
            self._file.seek(at - _LENGTH.size)
            length = _LENGTH.unpack(self._file.read(_LENGTH.size))[0]
            start = at - _LENGTH.size - length - _HEAD.size
            if start < HEADER_BYTES:
                raise StorageError(f"was changed, before byte {at}", where=self._where)
            self._file.seek(start)
            yield at, _HEAD.unpack(self._file.read(_HEAD.size))[1] & ~_MARK
            at = start

    def _is_end(self, at: int) -> bool:
        """Whether a whole frame ends here."""
        if at < HEADER_BYTES + _HEAD.size + _TAG_BYTES + _LENGTH.size:
            return at == HEADER_BYTES
        self._file.seek(at - _LENGTH.size)
        length = _LENGTH.unpack(self._file.read(_LENGTH.size))[0]
        start = at - _LENGTH.size - length - _HEAD.size
        if start < HEADER_BYTES:
            return False
        self._file.seek(start)
        return bool(_HEAD.unpack(self._file.read(_HEAD.size))[0] == length)

    def _last_whole(self) -> int:
        """Where the last frame that is whole ends, found from the start."""
        size = self._file.seek(0, os.SEEK_END)
        at = HEADER_BYTES
        while at + _HEAD.size <= size:
            self._file.seek(at)
            following = at + _HEAD.size + _HEAD.unpack(self._file.read(_HEAD.size))[0] + _LENGTH.size
            if following > size:
                break
            at = following
        return at


def _wrapped(data_key: bytes, file_id: bytes, key: bytes) -> bytes:
    named, nonce = MAGIC + file_id + _key_id(key), os.urandom(12)
    return named + nonce + _cipher(key).encrypt(nonce, data_key, named)


def _key_id(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=8, person=b"loopai key id").digest()


def _file_id(header: bytes) -> bytes:
    return header[8:24]


def _nonce(end: int) -> bytes:
    return end.to_bytes(12, "little")


def _bound(file_id: bytes, head: bytes, start: int) -> bytes:
    return b"".join((file_id, head, start.to_bytes(8, "little")))


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here: most commands encrypt nothing

    return AESGCM(key)

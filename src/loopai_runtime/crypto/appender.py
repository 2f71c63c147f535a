"""Appending to an encrypted file to which other processes append as well: a frame at a time, under its lock.

Nonces are random: nobody has to know what others wrote, or what a crash tore off. A data key serves one file,
which has far fewer than the 2^32 frames that NIST SP 800-38D allows a key.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Self

from loopai_runtime.crypto.frames import (
    HEAD,
    HEADER_BYTES,
    KEPT,
    LENGTH,
    NONCE_BYTES,
    TAG_BYTES,
    bound,
    cipher,
    file_id_of,
    kept_of,
)
from loopai_runtime.files import FILE_MODE

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from loopai_runtime.crypto.vault import Vault

_START = HEADER_BYTES + KEPT.size


class Appender:
    """One open file, made where there is none. Raises StorageError for another owner's, OSError."""

    def __init__(self, vault: Vault, path: Path) -> None:
        self._vault = vault
        self._where = str(path)
        self.torn_bytes = 0
        """What a crash had left of frames that nobody was told of, and was cut off."""
        self._size = self._end = -1
        # Without O_APPEND, with which Linux lets nobody write at a place; the lock says where the end is.
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            self._locked(b"")
        except BaseException:
            os.close(self.descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def append(self, block: bytes) -> bool:
        """Keep a block whole, or not at all; False, and nothing kept, where the file was replaced or removed.

        Raises OSError, StorageError.
        """
        return self._locked(block)

    def mark(self) -> None:
        """Others go on: such a file has no end."""

    def _locked(self, block: bytes) -> bool:
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        try:
            found = os.fstat(self.descriptor)
            if not found.st_nlink:
                return False
            if found.st_size != self._size or not found.st_size:
                self._catch_up(found.st_size)
            if block:
                end = self._end + len(block)
                _put(self.descriptor, _frame(self._cipher, self._file_id, block, self._end, end), self._size)
                self._size += HEAD.size + NONCE_BYTES + len(block) + TAG_BYTES + LENGTH.size
                self._end = end
                os.pwrite(self.descriptor, kept_of(end, self._file_id, self._data_key), HEADER_BYTES)
            return True
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def _catch_up(self, size: int) -> None:
        """Find the end, what was torn cut off."""
        if size < _START:
            os.ftruncate(self.descriptor, 0)
            header, data_key = self._vault.shared()
            _put(self.descriptor, header + kept_of(0, file_id_of(header), data_key), 0)
            size = _START
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            file.seek(0)
            header = file.read(HEADER_BYTES)
            self._data_key = self._vault.data_key(header, self._where)
            self._size, self._end = self._vault.plain(file, self._where).whole_end()
        self._file_id, self._cipher = file_id_of(header), cipher(self._data_key)
        if self._size < size:
            self.torn_bytes += size - self._size
            os.ftruncate(self.descriptor, self._size)


def shared_file(vault: Vault, content: bytes) -> bytes:
    """A new file for appenders that has `content` already."""
    header, data_key = vault.shared()
    file_id = file_id_of(header)
    first = _frame(cipher(data_key), file_id, content, 0, len(content)) if content else b""
    return header + kept_of(len(content), file_id, data_key) + first


def _frame(sealing: AESGCM, file_id: bytes, block: bytes, start: int, end: int) -> bytes:
    length = NONCE_BYTES + len(block) + TAG_BYTES
    head, nonce = HEAD.pack(length, end), os.urandom(NONCE_BYTES)
    return b"".join((head, nonce, sealing.encrypt(nonce, block, bound(file_id, head, start)), LENGTH.pack(length)))


def _put(descriptor: int, block: bytes, at: int) -> None:
    """Write a block whole, or leave the file as it was. Raises OSError."""
    if os.pwrite(descriptor, block, at) != len(block):
        os.ftruncate(descriptor, at)
        raise OSError(errno.ENOSPC, "short write")

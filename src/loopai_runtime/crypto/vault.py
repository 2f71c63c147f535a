"""The owner's keys: what wraps the data keys of new files, and opens those of all files."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import IO, TYPE_CHECKING

from loopai_runtime.crypto.frames import (
    HEADER_BYTES,
    SHARED,
    SINGLE,
    Plain,
    Writer,
    cipher,
    file_id_of,
    is_encrypted,
)
from loopai_runtime.errors import NotFound, StorageError, UsageError
from loopai_runtime.files import storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.config.sections import Storage


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
    """The keys that the configuration gives; None where it gives none. Raises UsageError, NotFound,
    StorageError."""
    texts = [secret.get_secret_value() for secret in (storage.encryption_key,) if secret is not None]
    if storage.encryption_key_file is not None:
        try:
            with storage_errors(storage.encryption_key_file):
                texts.append(storage.encryption_key_file.read_text("utf-8"))
        except FileNotFoundError:
            raise NotFound("no such file", where=str(storage.encryption_key_file)) from None
    is_on = bool(texts)
    if storage.encryption_key_before is not None:
        texts.append(storage.encryption_key_before.get_secret_value())
    return Vault([key_of(text) for text in texts], is_on=is_on) if texts else None


class Vault:
    """The first key wraps the data keys of new files, the others still open old ones.

    `is_on`: whether what is written from now on is encrypted; else the keys are for what was.
    """

    def __init__(self, keys: Sequence[bytes], *, is_on: bool = True) -> None:
        self._keys = {_key_id(key): key for key in reversed(keys)}
        self._own = keys[0]
        self.is_on = is_on

    def writer(self) -> Writer:
        """For a file that is new, and whose only writer this is."""
        return Writer(*self._new(SINGLE))

    def shared(self) -> tuple[bytes, bytes]:
        """The header and the data key of a new file that several append to."""
        return self._new(SHARED)

    def data_key(self, header: bytes, where: str) -> bytes:
        """The key of a file by its header. Raises StorageError."""
        from cryptography.exceptions import InvalidTag

        if len(header) != HEADER_BYTES or not is_encrypted(header):
            raise StorageError("is not a file that was encrypted here", where=where)
        key = self._keys.get(header[24:32])
        if key is None:
            hint = "set storage.encryption_key, or storage.encryption_key_before, to the key of then"
            raise StorageError(f"was encrypted with another key ({header[24:32].hex()})", where=where, hint=hint)
        try:
            return cipher(key).decrypt(header[32:44], header[44:], header[:32])
        except InvalidTag:
            raise StorageError("has a header that was changed", where=where) from None

    def is_old(self, header: bytes) -> bool:
        """Whether a header is one of ours, under another key than the first."""
        return len(header) == HEADER_BYTES and is_encrypted(header) and header[24:32] != _key_id(self._own)

    def rewrapped(self, header: bytes, where: str) -> bytes:
        """The header under the first key, of the same length. Raises StorageError."""
        return self._wrapped(header[:8], file_id_of(header), self.data_key(header, where))

    def plain(self, file: IO[bytes], where: str) -> Plain:
        """An encrypted file as its plain text. Raises StorageError."""
        file.seek(0)
        return Plain(file, self.data_key(file.read(HEADER_BYTES), where), where)

    def _new(self, magic: bytes) -> tuple[bytes, bytes]:
        data_key = os.urandom(32)
        return self._wrapped(magic, os.urandom(16), data_key), data_key

    def _wrapped(self, magic: bytes, file_id: bytes, data_key: bytes) -> bytes:
        named, nonce = magic + file_id + _key_id(self._own), os.urandom(12)
        return named + nonce + cipher(self._own).encrypt(nonce, data_key, named)


def plain_of(vault: Vault | None, file: IO[bytes], where: str) -> Plain:
    """An encrypted file as its plain text. Raises StorageError, also where no key is given."""
    if vault is None:
        hint = "set storage.encryption_key, or LOOPAI_STORAGE__ENCRYPTION_KEY"
        raise StorageError("is encrypted, and no key is given", where=where, hint=hint)
    return vault.plain(file, where)


def _key_id(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=8, person=b"loopai key id").digest()

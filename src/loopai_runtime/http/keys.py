"""API keys of a server: `lp_<id>_<secret>`, kept in a file as hashes alone.

A secret is 256 random bits, so a plain SHA-256 of it cannot be guessed and no slow hash is needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import ConfigError, Fault, InputError, NotFound
from loopai_runtime.layout import FILE_MODE, make_dir, nearest_hint, replace_file, storage_errors
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

_TOKEN = re.compile(rb"lp_([a-z2-7]{8})_([0-9a-f]{64})")
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret."""

    id: str
    name: str
    sha256: str
    created_at: str
    revoked_at: str | None = None


class KeysFile:
    """The keys of one file. Changing it locks it against other processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, Key] = {}
        self._stamp: tuple[int, int, int] | None = None

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def reload_if_changed(self) -> None:
        """Read the file if it is another than last time. Raises ConfigError; then what was read last stays."""
        with storage_errors(self.path):
            try:
                found = self.path.stat()
            except FileNotFoundError:
                raise ConfigError(
                    [Fault("there is no such file of keys", str(self.path))], hint="loopai keys create makes it"
                ) from None
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._keys = _parse(self.path)
                self._stamp = stamp

    def check(self, token: bytes) -> Key | None:
        """The key that `token` is, unless it is revoked. An unknown id takes as long as a wrong secret."""
        match = _TOKEN.fullmatch(token)
        key = self._keys.get(match[1].decode()) if match else None
        digest = hashlib.sha256(match[2] if match else token).hexdigest()
        right = hmac.compare_digest(digest, key.sha256 if key else _NOBODY)
        return key if right and key is not None and key.revoked_at is None else None

    def create(self, name: str = "") -> tuple[Key, str]:
        """A new key and its text, which is nowhere kept. Raises StorageError, ConfigError."""
        id_ = base64.b32encode(secrets.token_bytes(5)).decode().lower()
        secret = secrets.token_hex(32)
        key = Key(id_, name, hashlib.sha256(secret.encode()).hexdigest(), utc_now())
        with self._locked():
            self._write({**self._read(), id_: key})
        return key, f"lp_{id_}_{secret}"

    def revoke(self, id_: str) -> Key:
        """Make a key invalid for ever. Raises NotFound, StorageError."""
        with self._locked():
            keys = self._read()
            if id_ not in keys:
                raise NotFound(f"no key {id_!r} in {self.path}", hint=nearest_hint(id_, list(keys), "keys"))
            key = keys[id_]
            if key.revoked_at is None:
                key = keys[id_] = replace(key, revoked_at=utc_now())
                self._write(keys)
        return key

    def _locked(self) -> AbstractContextManager[Any]:
        from filelock import FileLock

        make_dir(self.path.parent)
        return FileLock(self.path.with_name(f".{self.path.name}.lock"), mode=FILE_MODE)

    def _read(self) -> dict[str, Key]:
        return _parse(self.path) if self.path.exists() else {}

    def _write(self, keys: dict[str, Key]) -> None:
        document = {"schema": 1, "keys": [asdict(key) for key in keys.values()]}
        replace_file(self.path, jsonl.dumps(document).encode() + b"\n")


def _parse(path: Path) -> dict[str, Key]:
    try:
        document = jsonl.loads(path.read_bytes())
        if document["schema"] != 1:
            raise ValueError("schema")
        return {row["id"]: Key(**row) for row in document["keys"]}
    except (InputError, KeyError, TypeError, ValueError):
        raise ConfigError([Fault("is no file of keys, or is damaged", str(path))]) from None

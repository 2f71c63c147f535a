"""Who may enter: whoever reaches the address while no keys are set, else who has one of them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from loopai_runtime.errors import LoopaiError, UsageError
from loopai_runtime.http.keys import KeysFile

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


class OpenDoor:
    """No keys: whoever can reach the address."""

    def caller(self, _authorization: bytes | None) -> str | None:
        return "anonymous"

    def reload(self) -> None:
        """There is nothing to read."""


class KeyedDoor:
    """Keys of a file, which is looked at again each second: a revoked key ends without a restart."""

    def __init__(self, keys: KeysFile) -> None:
        self._keys = keys
        self._looked = time.monotonic()

    def caller(self, authorization: bytes | None) -> str | None:
        """The id of the key in `Bearer KEY`; None for any other header, and for a key that is not valid."""
        now = time.monotonic()
        if now - self._looked > _LOOK_EVERY_S:
            self._looked = now
            self.reload()
        if authorization is None or authorization[:7].lower() != b"bearer ":
            return None
        key = self._keys.check(authorization[7:].strip())
        return None if key is None else key.id

    def reload(self) -> None:
        try:
            self._keys.reload_if_changed()
        except LoopaiError as error:
            log.error("the keys as they were read last stay in force: %s", error)


def open_door(keys_file: Path | None, loopback: bool, allow_anonymous: bool) -> OpenDoor | KeyedDoor:
    """Raises UsageError for an address that others can reach with neither keys nor leave, ConfigError."""
    if keys_file is not None:
        keys = KeysFile(keys_file)
        keys.load()
        return KeyedDoor(keys)
    if not loopback and not allow_anonymous:
        raise UsageError(
            "this address can be reached from elsewhere, and server.keys_file is not set",
            hint="loopai keys create makes a key; --allow-anonymous lets everybody in",
        )
    return OpenDoor()

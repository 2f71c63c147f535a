"""Where one message ends and the next begins, in a stream of bytes cut anywhere.

Text ends each message with the record separator; binary puts its length before it, seven bits a byte, the lowest
first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.signalr.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

SEPARATOR = b"\x1e"
_LENGTH_BYTES = 5
_MAX_LENGTH = 0x7FFF_FFFF


def with_length(payload: bytes) -> bytes:
    """A binary frame."""
    left, prefix = len(payload), bytearray()
    while left > 0x7F:
        prefix.append(left & 0x7F | 0x80)
        left >>= 7
    prefix.append(left)
    return bytes(prefix) + payload


class Deframer:
    """Cuts arriving bytes into payloads of at most `limit` bytes; holds no more than one that is incomplete."""

    def __init__(self, limit: int, *, binary: bool = False) -> None:
        self._limit = limit
        self._held = bytearray()
        self._searched = 0
        self.binary = binary

    def feed(self, data: bytes) -> None:
        """More bytes have arrived."""
        self._held += data

    def reset(self) -> None:
        """Forget a message that will not be completed."""
        self._held.clear()
        self._searched = 0

    def payloads(self) -> Iterator[bytes]:
        """Those that are complete. Raises ProtocolError as soon as one is too long, complete or not.

        `binary` may change between two of them: the handshake is always text.
        """
        while (payload := self._binary() if self.binary else self._text()) is not None:
            yield payload

    def _text(self) -> bytes | None:
        end = self._held.find(SEPARATOR, self._searched)
        if (end if end >= 0 else len(self._held)) > self._limit:
            raise _too_long(self._limit)
        if end < 0:
            self._searched = len(self._held)
            return None
        return self._take(0, end, end + 1)

    def _binary(self) -> bytes | None:
        length = 0
        for index in range(_LENGTH_BYTES):
            if index >= len(self._held):
                return None
            byte = self._held[index]
            length |= (byte & 0x7F) << 7 * index
            if not byte & 0x80:
                break
        else:
            raise ProtocolError("Messages over 2GB in size are not supported.")
        if length > min(self._limit, _MAX_LENGTH):
            raise _too_long(self._limit)
        start = index + 1
        if len(self._held) < start + length:
            return None
        return self._take(start, start + length, start + length)

    def _take(self, start: int, end: int, after: int) -> bytes:
        payload = bytes(self._held[start:end])
        del self._held[:after]
        self._searched = 0
        return payload


def _too_long(limit: int) -> ProtocolError:
    return ProtocolError(
        f"The maximum message size of {limit}B was exceeded. The message size can be configured in AddHubOptions."
    )

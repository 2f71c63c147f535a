"""One transport's two directions: what waits to be sent, bounded, and bytes that are not yet a message."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from loopai_runtime.signalr.protocol.framing import Deframer

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 64 * 1024


class Link:
    """Frames go in with `put` and leave with `take`. No more than `limit` bytes may wait."""

    def __init__(self, transport: str, limit: int, max_message: int, drained: Callable[[], None]) -> None:
        self.transport = transport
        self.binary = False
        self.size = 0
        self.finished = False
        self.deframer = Deframer(max_message)
        self._limit = limit
        self._drained = drained
        self._frames: deque[bytes] = deque()
        self._ready = asyncio.Event()

    def put(self, frame: bytes) -> bool:
        """Queue a frame; False when that would be too much. After `finish` nothing is queued any more."""
        if self.finished:
            return True
        if self.size and self.size + len(frame) > self._limit:
            return False
        self._frames.append(frame)
        self.size += len(frame)
        self._ready.set()
        return True

    def finish(self) -> None:
        """Nothing follows: what is queued is still sent."""
        self.finished = True
        self._ready.set()

    def cut(self) -> None:
        """Nothing follows, and what is queued is dropped."""
        self._frames.clear()
        self.size = 0
        self.finish()

    async def ready(self) -> None:
        """Wait until `take` has something, or will never have."""
        await self._ready.wait()

    def take(self) -> bytes:
        """Whole frames, about 64 KiB of them at most; empty when nothing waits."""
        parts: list[bytes] = []
        taken = 0
        while self._frames and (not parts or taken + len(self._frames[0]) <= _CHUNK):
            part = self._frames.popleft()
            parts.append(part)
            taken += len(part)
        self.size -= taken
        if not self._frames and not self.finished:
            self._ready.clear()
        if taken:
            self._drained()
        return b"".join(parts)

"""Streams from the other side, read with `async for`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Self

from loopai_runtime.signalr.errors import HubException


class Incoming:
    """The items of one stream, in order; it ends when the sender says so, and raises what went wrong there."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Any] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    async def put(self, item: Any) -> None:
        """Waits while the reader is behind."""
        while not self.offer(item):
            self._changed.clear()
            await self._changed.wait()

    def offer(self, item: Any) -> bool:
        """Does not wait; False when too many items do."""
        if not self._ended:
            if len(self._items) >= self._capacity:
                return False
            self._items.append(item)
            self._changed.set()
        return True

    def end(self, error: Exception | None = None) -> None:
        """No more items: the sender said so, or nobody reads them any more."""
        if not self._ended:
            self._ended, self._error = True, error
            self._changed.set()

    def completed(self, error: str | None) -> None:
        """The sender says that it is over, and perhaps that it failed."""
        self.end(None if error is None else HubException(error))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        item = self._items.popleft()
        self._changed.set()
        return item

"""The few things the pool needs from an event loop, and a loop of that size for synchronous callers.

asyncio's loops offer the same methods, so one pool serves both faces. The small one starts without the 30 ms
that importing asyncio costs, and runs inside a thread that may already have an asyncio loop running.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A call that may still be cancelled."""

    def cancel(self) -> None: ...


class Loop(Protocol):
    """What the pool asks of its event loop; an `asyncio.AbstractEventLoop` is one."""

    def time(self) -> float: ...
    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any: ...
    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer: ...
    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> Any: ...
    def remove_reader(self, fd: int) -> bool: ...
    def add_writer(self, fd: int, callback: Callable[..., Any], *args: Any) -> Any: ...
    def remove_writer(self, fd: int) -> bool: ...


class _Later:
    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None


class SmallLoop:
    """A single-threaded event loop over `selectors`, run until a condition holds."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, _Later]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return time.monotonic()

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._ready.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        later = _Later(callback, args)
        heapq.heappush(self._timers, (self.time() + delay, next(self._order), later))
        return later

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self._listen(fd, selectors.EVENT_READ, (callback, args))

    def add_writer(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self._listen(fd, selectors.EVENT_WRITE, (callback, args))

    def remove_reader(self, fd: int) -> bool:
        return self._ignore(fd, selectors.EVENT_READ)

    def remove_writer(self, fd: int) -> bool:
        return self._ignore(fd, selectors.EVENT_WRITE)

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run callbacks until `done()`; it is asked after every round."""
        while not done():
            self._round()

    def close(self) -> None:
        self._selector.close()

    def _listen(self, fd: int, event: int, callback: Any) -> None:
        key = self._selector.get_map().get(fd)
        if key is None:
            self._selector.register(fd, event, {event: callback})
        else:
            self._selector.modify(fd, key.events | event, {**key.data, event: callback})

    def _ignore(self, fd: int, event: int) -> bool:
        key = self._selector.get_map().get(fd)
        if key is None or not key.events & event:
            return False
        if key.events == event:
            self._selector.unregister(fd)
        else:
            left = {kind: callback for kind, callback in key.data.items() if kind != event}
            self._selector.modify(fd, key.events & ~event, left)
        return True

    def _round(self) -> None:
        timeout = None
        if self._ready:
            timeout = 0.0
        elif self._timers:
            timeout = max(0.0, self._timers[0][0] - self.time())
        for key, events in self._selector.select(timeout):
            for event, (callback, args) in key.data.items():
                if event & events:
                    self._ready.append((callback, args))
        now = self.time()
        while self._timers and self._timers[0][0] <= now:
            _, _, later = heapq.heappop(self._timers)
            if later.callback is not None:
                self._ready.append((later.callback, later.args))
        for _ in range(len(self._ready)):
            callback, args = self._ready.popleft()
            callback(*args)

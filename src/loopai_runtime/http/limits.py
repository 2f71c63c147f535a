"""How much one caller may ask for: a token bucket each, a second deep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_CALLERS = 10_000


class RateLimit:
    """`rate` executions a second for each caller, and as many at once; a batch may run into debt."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._depth = max(1.0, rate)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # caller -> tokens left, as of when

    def wait(self, caller: str) -> float:
        """How many seconds until there is something to take; spends nothing."""
        now = self._clock()
        left, then = self._buckets.get(caller, (self._depth, now))
        left = min(self._depth, left + (now - then) * self.rate)
        return 0.0 if left >= 1 else (1 - left) / self.rate

    def take(self, caller: str, count: int = 1) -> float:
        """Spend `count` tokens and answer 0; or spend nothing and answer how many seconds to wait."""
        now = self._clock()
        left, then = self._buckets.get(caller, (self._depth, now))
        left = min(self._depth, left + (now - then) * self.rate)
        if left < 1:
            return (1 - left) / self.rate
        if caller not in self._buckets and len(self._buckets) >= _MOST_CALLERS:
            self._buckets.clear()  # callers are keys of a file: this many never call within one process's life
        self._buckets[caller] = (left - count, now)
        return 0.0

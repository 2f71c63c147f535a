"""How many executions the callers of the platform may ask for, each at its key's own rate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loopai_runtime.http.limits import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.central.access import Caller


class CallerLimits:
    """One bucket a key, as deep as what the key may have in a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limits: dict[float, RateLimit] = {}

    def take(self, caller: Caller, count: int = 1) -> float:
        """Spend `count` and answer 0, or answer how many seconds to wait. A key without a rate never waits."""
        if caller.rate_per_minute is None or not count:
            return 0.0
        limit = self._limits.get(caller.rate_per_minute)
        if limit is None:
            limit = self._limits[caller.rate_per_minute] = RateLimit(caller.rate_per_minute / 60, self._clock)
        return limit.take(caller.key_id, count)

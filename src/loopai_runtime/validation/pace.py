"""When an oracle may be called: so many times a second, and not while it is down."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from loopai_runtime.errors import OracleError

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = 5
"""So many in a row, and the oracle is left alone."""
REST_S = 30.0


class Breaker:
    """Opens after calls that failed in a row; after a rest one call tries whether the oracle answers again."""

    def __init__(
        self, failures: int = FAILURES, rest_s: float = REST_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = failures
        self._rest_s = rest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._until = 0.0

    def enter(self) -> None:
        """Before a call. Raises OracleError where it would be in vain."""
        with self._lock:
            if self._failed < self._most:
                return
            left = self._until - self._clock()
            if left > 0:
                raise OracleError(
                    f"the oracle has failed {self._failed} times in a row; trying again in {left:.0f} s"
                )
            self._until = self._clock() + self._rest_s  # this call tries; others wait for what becomes of it

    def leave(self, *, answered: bool) -> None:
        """After a call, whether anything came back."""
        with self._lock:
            self._failed = 0 if answered else self._failed + 1
            if self._failed >= self._most:
                self._until = self._clock() + self._rest_s


class Pace:
    """At most `rate` calls a second (None: as many as come), evenly; nobody waits longer than `patience_s`."""

    def __init__(self, rate: float | None, patience_s: float) -> None:
        self._every_s = 1 / rate if rate else 0.0
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Raises OracleError where the turn would come too late."""
        if not self._every_s:
            return
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            if at - now > self._patience_s:
                raise OracleError("more inputs wait for the oracle than its `rate` lets through", why="answer")
            self._next = at + self._every_s
        time.sleep(at - now)

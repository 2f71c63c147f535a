"""A connection to PostgreSQL that does not wait for ever.

A server that is frozen, not gone, still has its kernel acknowledge every packet, and its own `statement_timeout`
stands still with it. Only the client can tell: by the time for which nothing was heard.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

SILENCE_S = 10.0
_NOTHING = 0  # what psycopg sends its generators when nothing has come for a moment (`psycopg.waiting`)


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself, and raises psycopg.OperationalError, where an answer is silent for `silence_s` seconds."""

    silence_s = SILENCE_S

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        return super().wait(self._heard(gen), *args, **options)

    def _heard(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """`gen`, until it is silent for too long."""
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready != _NOTHING:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > self.silence_s:
                    self.close()  # whatever it was in the middle of, this connection is of no more use
                    raise psycopg.OperationalError(f"nothing was heard for {self.silence_s:.0f} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """What is asked in here may take its time: a migration, or a copy of the whole."""
        self.silence_s = math.inf
        try:
            yield
        finally:
            del self.silence_s

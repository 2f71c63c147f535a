"""One tenant's part of the sandbox pool: its programs under names of their own, and no more time than others have.

The pool answers calls in the order in which they came, so a tenant whose program hangs would make everybody wait.
How many calls of one tenant may be in the pool at a time follows from how long they take: many quick ones, of slow
ones a few, of a program that hangs fewer than there are executors. What is above that is refused as overload, and
costs nobody else anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.sandbox import Outcome, Pool, Program

MOST_AT_ONCE = 256
WORK_MS = 50.0
"""What may wait of one tenant, as work: another's call stands behind that at most."""
_AT_FIRST_MS = 5.0
_WEIGHT = 0.2  # of the last call, in the mean that is followed


class Share:
    """What `flows.serve.Programs` asks for."""

    def __init__(self, pool: Pool, tenant_id: str, workers: int) -> None:
        self._pool = pool
        self._least = max(1, workers - 1)
        self._prefix = f"{tenant_id}/"
        self._under_way = 0
        self._call_ms = _AT_FIRST_MS

    @property
    def at_once(self) -> int:
        """How many calls may be under way now."""
        return max(self._least, min(MOST_AT_ONCE, int(WORK_MS / self._call_ms)))

    @property
    def is_full(self) -> bool:
        return self._under_way >= self.at_once or self._pool.is_full

    async def load(self, program: Program) -> None:
        await self._pool.load(replace(program, key=self._prefix + program.key))

    def unload(self, key: str) -> None:
        self._pool.unload(self._prefix + key)

    def submit(self, key: str, payload: bytes, done: Callable[[Outcome], None]) -> None:
        """Raises as `Pool.submit`."""

        def ended(outcome: Outcome) -> None:
            self._under_way -= 1
            self._call_ms += _WEIGHT * (max(0.01, outcome.wall_ms) - self._call_ms)
            done(outcome)

        self._pool.submit(self._prefix + key, payload, ended)
        self._under_way += 1

"""One tenant's part of the sandbox pool: its programs under names of their own, and no more time than others have.

The pool answers calls in the order in which they came, so a tenant whose program hangs would make everybody wait.
How many calls of a program may be in the pool at a time follows from how long they take of late: many quick ones,
of slow ones a few. Of all programs of a tenant that take longer than that, fewer calls than there are executors.
What is above is refused as overload, and costs nobody else anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loopai_runtime.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.sandbox import Outcome, Pool, Program

MOST_AT_ONCE = 256
WORK_MS = 50.0
"""What may wait of one program, as work: another's call stands behind that at most. Longer calls are slow ones."""
_FEW = 4
_AT_FIRST_MS = 5.0
_WEIGHT = 0.2  # of the last call, in the mean that is followed


@dataclass(slots=True)
class _Pace:
    """How a program does: the calls under way, and how long one takes of late."""

    under_way: int = 0
    call_ms: float = _AT_FIRST_MS

    @property
    def is_slow(self) -> bool:
        return self.call_ms > WORK_MS

    @property
    def at_once(self) -> int:
        return max(_FEW, min(MOST_AT_ONCE, int(WORK_MS / self.call_ms)))


class Share:
    """What `flows.serve.Programs` asks for."""

    def __init__(self, pool: Pool, tenant_id: str, workers: int) -> None:
        self._pool = pool
        self._slow_at_once = max(1, workers - 1)
        self._prefix = f"{tenant_id}/"
        self._paces: dict[str, _Pace] = {}
        self._under_way = 0

    @property
    def is_full(self) -> bool:
        return self._under_way >= MOST_AT_ONCE or self._pool.is_full

    async def load(self, program: Program) -> None:
        await self._pool.load(replace(program, key=self._prefix + program.key))
        self._paces[program.key] = _Pace()

    def unload(self, key: str) -> None:
        self._pool.unload(self._prefix + key)
        self._paces.pop(key, None)

    def submit(self, key: str, payload: bytes, done: Callable[[Outcome], None]) -> None:
        """Raises Busy, and as `Pool.submit`."""
        pace = self._paces.get(key) or _Pace()
        slow = sum(each.under_way for each in self._paces.values() if each.is_slow) if pace.is_slow else 0
        if slow >= self._slow_at_once or pace.under_way >= pace.at_once:
            raise Busy(f"too many calls of {key} are under way", hint="send less at once")

        def ended(outcome: Outcome) -> None:
            self._under_way -= 1
            pace.under_way -= 1
            pace.call_ms += _WEIGHT * (max(0.01, outcome.wall_ms) - pace.call_ms)
            done(outcome)

        self._pool.submit(self._prefix + key, payload, ended)
        self._under_way += 1
        pace.under_way += 1

"""Quantiles of a stream in little memory, mergeable: the log-bucket sketch (DDSketch, Masson, Rim and Lee 2019).

A value falls into the bucket `i` with `gamma^(i-1) < value <= gamma^i`, so a bucket's midpoint is within
`RELATIVE_ERROR` of everything in it. Counts of buckets add up: sketches merged in any order, or built of the same
values in any order, are the same bytes.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

RELATIVE_ERROR = 0.01
LOWEST, HIGHEST = 1e-9, 1e12
"""What is below or above counts as this: it bounds the number of buckets (2.4 k), whatever a record claims."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_LOG = 1 / math.log(_GAMMA)
_FIRST = math.ceil(math.log(LOWEST) * _PER_LOG)


class Sketch:
    """A multiset of numbers that are not negative, as counts of buckets, with its exact extremes."""

    __slots__ = ("_buckets", "high", "low")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.low = math.inf
        self.high = 0.0

    def __len__(self) -> int:
        return self._buckets.total()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.as_list() == other.as_list()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, values: Iterable[float]) -> None:
        """Count values; negative ones and ones that are no numbers count as 0, infinite ones as the highest."""
        clamped = [min(value, HIGHEST) if value > LOWEST else 0.0 for value in values]
        if not clamped:
            return
        least, most = min(clamped), max(clamped)
        self.low, self.high = min(self.low, least), max(self.high, most)
        log, ceil = math.log, math.ceil
        self._buckets.update([ceil(log(value) * _PER_LOG) if value else _FIRST for value in clamped])

    def merge(self, other: Sketch) -> None:
        """Count everything that `other` counts."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] += count
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)

    def quantile(self, share: float) -> float | None:
        """A value within `RELATIVE_ERROR` of the `share` quantile, from 0 (the least) to 1; None of no values.

        The quantile is the value of rank `floor(share * (n - 1))` in order, from 0.
        """
        last = len(self) - 1
        rank = math.floor(share * last)
        if rank in (0, last) and last >= 0:
            return self.low if rank == 0 else self.high
        below = 0
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below > rank:
                return min(max(_midpoint(bucket), self.low), self.high)
        return None

    def as_list(self) -> list[float]:
        """For JSON: the extremes, then each bucket's distance from the one before it and its count. Empty: []."""
        if not self._buckets:
            return []
        flat: list[float] = [self.low, self.high]
        last = 0
        for bucket in sorted(self._buckets):
            flat += (bucket - last, self._buckets[bucket])
            last = bucket
        return flat

    @classmethod
    def of_list(cls, flat: Any) -> Self:
        """What `as_list` wrote. Raises ValueError, TypeError for anything else."""
        made = cls()
        if not flat:
            return made
        low, high, *pairs = flat
        made.low, made.high = float(low), float(high)
        bucket = 0
        for step, count in zip(pairs[::2], pairs[1::2], strict=True):
            bucket += step
            made._buckets[bucket] += count
        return made


def _midpoint(bucket: int) -> float:
    """The value whose relative distance to both ends of the bucket is the same; the first bucket holds 0 alone."""
    return 0.0 if bucket == _FIRST else float(2 * _GAMMA**bucket / (_GAMMA + 1))

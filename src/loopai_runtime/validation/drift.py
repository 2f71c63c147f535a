"""Whether what comes in, what goes out, or how right it is has changed since a version was made.

PSI, the population stability index (Siddiqi 2006), compares shares over bins that never move; from 0.2 on
something is different, by the convention. With few executions chance alone reaches that, so a change must also be
one in a thousand by the chi-square distribution that n m / (n + m) PSI then has (Yurdakul 2018).

Page-Hinkley (Page 1954) adds up what checks went wrong beyond expectation. What is expected is the share of errors
so far at the same confidence: so it does not matter which executions were chosen for checking. The limit is Wald's
for one false alarm in 10,000 checks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PSI_LIMIT = 0.2
LENGTHS = 20
"""Bins of an input's length: bin `i` holds those of 2^i to 2^(i+1) - 1 characters, the last all longer ones."""

_CHANCE = 0.001
_FEWEST = 50  # executions from which shares are compared
_OTHER = "…"


class Shift(NamedTuple):
    """A spread compared with the reference's; `limit` is that of its PSI, `worst` the bin that grew most."""

    what: str
    psi: float
    limit: float
    worst: str
    was: float
    now: float

    @property
    def is_alarm(self) -> bool:
        return self.psi >= self.limit


@dataclass(frozen=True, slots=True)
class Alarm:
    """What changed, in words, and executions that show it."""

    what: str
    reason: str
    examples: list[Any] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"what": self.what, "reason": self.reason, "examples": self.examples}


def length_bin(characters: int) -> int:
    return min(LENGTHS - 1, max(1, characters).bit_length() - 1)


def shift(what: str, reference: Mapping[str, float], size: int, counts: Mapping[str, int]) -> Shift | None:
    """The shares `reference` of `size` executions against the counts of others; None of too few to compare.

    What the reference does not have is one bin together.
    """
    n = sum(counts.values())
    if n < _FEWEST or size < _FEWEST or not reference:
        return None
    bins = [name for name, share in reference.items() if share > 0 or counts.get(name)]
    other = n - sum(counts.get(name, 0) for name in bins)
    was = [reference[name] for name in bins]
    now = [counts.get(name, 0) for name in bins]
    if other or sum(was) < 0.999:
        bins, was, now = [*bins, _OTHER], [*was, max(0.0, 1 - sum(was))], [*now, other]
    if len(bins) < 2:
        return None
    # Half an execution more in each bin: an empty one is no proof that nothing falls into it.
    before = [(share * size + 0.5) / (size + 0.5 * len(bins)) for share in was]
    after = [(count + 0.5) / (n + 0.5 * len(bins)) for count in now]
    psi = math.fsum((b - a) * math.log(b / a) for a, b in zip(before, after, strict=True))
    by_chance = _chi_square_limit(len(bins) - 1) * (n + size) / (n * size)
    grown = max(range(len(bins)), key=lambda at: after[at] - before[at])
    worst, limit = bins[grown], max(PSI_LIMIT, by_chance)
    return Shift(what, round(psi, 4), round(limit, 4), worst, was[grown], now[grown] / n)


def _chi_square_limit(degrees: int) -> float:
    """What chi-square passes once in a thousand (Wilson and Hilferty 1931)."""
    z = NormalDist().inv_cdf(1 - _CHANCE)
    part = 2 / (9 * degrees)
    return degrees * float((1 - part + z * part**0.5) ** 3)


class Check(NamedTuple):
    """A checked execution, in the order of time; `key` is what it is told again by."""

    match: bool
    confidence: float | None
    key: Any


@dataclass(frozen=True, slots=True)
class Fall:
    """From check number `since` on errors came more often than expected; noticed at check number `noticed`."""

    since: int
    noticed: int
    errors: int
    checks: int
    expected: float
    keys: list[Any]


class PageHinkley:
    """Errors beyond expectation. `tolerance` is the rise in the error rate that is not worth an alarm."""

    def __init__(self, error_rate: float, *, tolerance: float = 0.05, weight: float = 30.0) -> None:
        """`error_rate` is what the version was made with, which counts as `weight` checks."""
        self._tolerance = tolerance
        self._errors, self._count = error_rate * weight, weight
        self._bins: dict[int | None, tuple[float, float]] = {}
        self.sum = self.least = 0.0
        self.limit = math.inf

    def add(self, match: bool, confidence: float | None) -> bool:
        """Take in one check; True where the alarm goes off."""
        overall = self._errors / self._count
        place = None if confidence is None else min(9, max(0, int(confidence * 10)))
        errors, count = self._bins.get(place, (0.0, 0.0))
        expected = (errors + 10 * overall) / (count + 10)
        self.sum += (not match) - expected - self._tolerance
        self.least = min(self.least, self.sum)
        self._bins[place] = errors + (not match), count + 1
        self._errors += not match
        self._count += 1
        self.limit = _wald_limit(min(0.9, max(0.002, overall)), self._tolerance)
        return self.sum - self.least > self.limit


def _wald_limit(rate: float, tolerance: float, checks: float = 10_000) -> float:
    """What the sum of errors, less `rate + tolerance` each, passes once in so many checks while `rate` holds:
    log(checks) / t for the t > 0 with E exp(t x) = 1 (Wald 1945)."""
    rate = min(rate, 0.98 - tolerance)

    def logarithm(t: float) -> float:
        right, wrong = math.log1p(-rate), math.log(rate) + t
        larger = max(right, wrong)
        mean = larger + math.log(math.exp(right - larger) + math.exp(wrong - larger))
        return mean - t * (rate + tolerance)

    low, high = 1e-6, 1.0
    while logarithm(high) < 0 and high < 64:
        low, high = high, high * 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if logarithm(middle) < 0 else (low, middle)
    return math.log(checks) / low


def fall(checks: Iterable[Check], error_rate: float) -> Fall | None:
    """Where the errors rose above what they were, if they did and have not come down since."""
    page = PageHinkley(error_rate)
    rows: Sequence[Check] = list(checks)
    since, noticed, found = 0, None, None
    for at, check in enumerate(rows):
        least = page.least
        alarm = page.add(check.match, check.confidence)
        if page.least < least:
            since, noticed, found = at + 1, None, None
        if alarm and noticed is None:
            noticed = at
            found = since
    if noticed is None or found is None:
        return None
    part = rows[found:]
    wrong = [row.key for row in part if not row.match]
    earlier = rows[:found]
    usual = (error_rate * 30 + sum(not row.match for row in earlier)) / (30 + len(earlier))
    return Fall(found, noticed, len(wrong), len(part), usual, wrong)

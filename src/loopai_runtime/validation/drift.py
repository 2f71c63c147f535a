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
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PSI_LIMIT = 0.2
LENGTHS = 20
"""Bins of an input's length: bin `i` holds those of 2^i to 2^(i+1) - 1 characters, the last all longer ones."""

_CHANCE = 0.001
_PRIOR = 50  # checks that what the version was made with counts as
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
    """From check number `since` on there were more errors than `expected` by what was before; noticed at check
    number `noticed`. `keys` are those of the errors."""

    since: int
    noticed: int
    errors: int
    checks: int
    expected: float
    keys: list[Any]


class PageHinkley:
    """Errors beyond expectation. `tolerance` is the rise in the error rate that is not worth an alarm."""

    def __init__(self, error_rate: float, doubt: float | None = None, *, tolerance: float = 0.05) -> None:
        """`error_rate` is what the version was made with, `doubt` what its confidences then lacked of 1 on
        average: before there are checks, errors are expected in proportion to what a confidence lacks."""
        self._error_rate = min(0.9, max(0.002, error_rate))
        self._doubt = doubt
        self._tolerance = tolerance
        self._seen: dict[int | None, tuple[int, int]] = {}
        self._expected, self._count = self._error_rate * _PRIOR, _PRIOR
        self.sum = self.least = 0.0
        self.limit = math.inf

    def add(self, match: bool, confidence: float | None) -> bool:
        """Take in one check; True where the alarm goes off."""
        expected, place = self.expected(confidence), _place(confidence)
        errors, count = self._seen.get(place, (0, 0))
        self.sum += (not match) - expected - self._tolerance
        self.least = min(self.least, self.sum)
        self._seen[place] = errors + (not match), count + 1
        self._expected += expected
        self._count += 1
        self.limit = _wald_limit(round(self._expected / self._count, 3), self._tolerance)
        return self.sum - self.least > self.limit

    def expected(self, confidence: float | None) -> float:
        """The probability of an error at this confidence, by what was seen so far and what was promised."""
        errors, count = self._seen.get(_place(confidence), (0, 0))
        return (errors + _PRIOR * self._promised(confidence)) / (count + _PRIOR)

    def _promised(self, confidence: float | None) -> float:
        if confidence is None or not self._doubt:
            return self._error_rate
        return min(0.9, self._error_rate * (1 - confidence) / self._doubt)


def _place(confidence: float | None) -> int | None:
    return None if confidence is None else min(9, max(0, int(confidence * 10)))


@lru_cache(maxsize=1024)
def _wald_limit(rate: float, tolerance: float, checks: float = 10_000) -> float:
    """What the sum of errors, less `rate + tolerance` each, passes once in so many checks while `rate` holds:
    log(checks) / t for the t > 0 with E exp(t x) = 1 (Wald 1945)."""
    rate = min(max(rate, 0.001), 0.98 - tolerance)

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


def fall(checks: Iterable[Check], error_rate: float, doubt: float | None = None) -> Fall | None:
    """Where the errors rose above what they were, if they did and have not come down since.

    Checks are in the order of time; the other arguments are those of `PageHinkley`.
    """
    page = PageHinkley(error_rate, doubt)
    rows: Sequence[Check] = list(checks)
    since, noticed = 0, None
    for at, check in enumerate(rows):
        least = page.least
        if page.add(check.match, check.confidence) and noticed is None:
            noticed = at
        if page.least < least:
            since, noticed = at + 1, None
    if noticed is None:
        return None
    until = PageHinkley(error_rate, doubt)
    for check in rows[:since]:
        until.add(check.match, check.confidence)
    after = rows[since:]
    wrong = [row.key for row in after if not row.match]
    usual = math.fsum(until.expected(row.confidence) for row in after)
    return Fall(since, noticed, len(wrong), len(after), usual, wrong)

"""Intervals for proportions: how much a count of successes says about the rate behind it."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided Wilson score interval (Wilson 1927) of `successes` out of `n`; (0, 1) for n = 0."""
    return _wilson(successes, n, NormalDist().inv_cdf(0.5 + confidence / 2))


def lower_bound(successes: float, n: float, confidence: float = 0.9) -> float:
    """The one-sided Wilson lower bound: the rate is above it with `confidence`."""
    return _wilson(successes, n, NormalDist().inv_cdf(confidence))[0]


def _wilson(successes: float, n: float, z: float) -> tuple[float, float]:
    if n <= 0:
        return 0.0, 1.0
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def wilson_t(successes: float, n: float, df: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval where the variance behind an effective `n` was itself estimated, with `df` degrees of
    freedom: Student's quantile takes the place of the normal one."""
    return _wilson(successes, n, student_quantile(0.5 + confidence / 2, df))


def half_width(rate: float, n: float, confidence: float = 0.95) -> float:
    """Half of the width of Wilson's interval around `rate` of `n`."""
    low, high = wilson(rate * n, n, confidence)
    return (high - low) / 2


def needed(rate: float, half: float, confidence: float = 0.95) -> float:
    """The number of draws by which Wilson's interval around `rate` is `half` to either side. Raises ValueError
    where `half` is not between 0 and 1/2."""
    if not 0 < half < 0.5:
        raise ValueError("half a width is between 0 and 0.5")
    low, high = 0.0, 1.0
    while half_width(rate, high, confidence) > half:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if half_width(rate, middle, confidence) > half else (low, middle)
    return high


def always(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """An interval that may be looked at after every draw: with `confidence` the rate is in all of them at once.

    The confidence sequence of the beta mixture (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021, §4.1 of
    the exact binomial case): rates against which a bettor who draws his own from Beta(1/2, 1/2) has not yet made
    1/(1 - confidence) of 1. Counts need not be whole.
    """
    if n <= 0:
        return 0.0, 1.0
    failures = n - successes
    most = _log_beta(successes + 0.5, failures + 0.5) - _log_beta(0.5, 0.5) + math.log(1 - confidence)

    def is_in(rate: float) -> bool:
        won = successes * math.log(rate) if successes else 0.0
        return most <= won + (failures * math.log1p(-rate) if failures else 0.0)

    best = min(1 - 1e-12, max(1e-12, successes / n))
    return _edge(best, 1e-15, is_in), _edge(best, 1 - 1e-15, is_in)


def _edge(inside: float, outside: float, is_in: Callable[[float], bool]) -> float:
    if is_in(outside):
        return float(round(outside))
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_in(middle) else (inside, middle)
    return inside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def student_quantile(share: float, df: float) -> float:
    """The quantile of Student's t for `share` from a half up; of the normal distribution from 1,000 degrees on."""
    return NormalDist().inv_cdf(share) if df >= 1000 else _student_quantile(share, max(1, round(df)))


@lru_cache(maxsize=1024)
def _student_quantile(share: float, df: int) -> float:
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        below = 1 - 0.5 * _beta_cdf(df / (df + middle * middle), df / 2, 0.5)
        low, high = (middle, high) if below < share else (low, middle)
    return high


def binomial_tail(successes: float, n: float, rate: float) -> float:
    """P(X <= successes) for X binomial of `n` draws at `rate`; counts need not be whole.

    The p-value against "the rate is at least `rate`" (Clopper and Pearson 1934), by the incomplete beta function.
    """
    if successes >= n:
        return 1.0
    if successes < 0:
        return 0.0
    return _beta_cdf(1 - rate, n - successes, successes + 1)


def _beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_cdf(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """Lentz's evaluation: each round takes an even and an odd term."""
    tiny, c = 1e-300, 1.0
    d = 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(value - before) <= 1e-13 * abs(value):
            break
    return value

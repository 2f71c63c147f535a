"""Intervals for proportions: how much a count of successes says about the rate behind it."""

from __future__ import annotations

import math
from statistics import NormalDist


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

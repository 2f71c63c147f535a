"""Intervals for proportions: how much a count of successes says about the rate behind it."""

from __future__ import annotations

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

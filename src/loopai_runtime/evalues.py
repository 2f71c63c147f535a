"""E-values: evidence against a hypothesis that may be looked at after every draw.

Under the hypothesis a non-negative process starts at 1 and is not expected to grow; by Ville's inequality (1939)
it ever reaches 1/alpha with probability at most alpha. So a reader may look as often as he likes, and stop when he
likes. The processes here are the capital of gamblers who bet against the hypothesis, each with a stake of his own,
averaged (Waudby-Smith and Ramdas 2024).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = math.exp(600)
"""What stands for certainty: a float holds little more."""
STAKES = (0.03, 0.06, 0.12, 0.24, 0.48)
"""Shares of his capital that a gambler loses on the worst draw."""
LAGS = 8


def mean_above(draws: Sequence[int], mean: float) -> float:
    """Evidence against "these draws from {-1, 0, 1} have at most this mean", the mean of each given those before.

    Where draws come in bursts of the like, they count as the fewer independent ones that they are worth; below -1
    no mean can be.
    """
    if mean <= -1:
        return MOST
    room, worth = 1 + mean, independence(draws)
    minus, zero, plus = (worth * draws.count(value) for value in (-1, 0, 1))
    return _average(
        [
            minus * math.log1p(-stake)
            + zero * math.log1p(stake * (1 / room - 1))
            + plus * math.log1p(stake * (2 / room - 1))
            for stake in STAKES
        ]
    )


def independence(draws: Sequence[int]) -> float:
    """The share of the draws that independent ones of the same weight would be, by their autocorrelation.

    At most 1, so that a process it scales only loses by it. Bartlett's weights over the first lags. The draws are
    of {-1, 0, 1}: one byte each of a long number, and all products at one lag are counted at once.
    """
    n, total = len(draws), sum(draws)
    plus = int.from_bytes(bytes([draw == 1 for draw in draws]), "big")
    minus = int.from_bytes(bytes([draw == -1 for draw in draws]), "big")
    middle = total / n if n else 0.0
    spread = (plus | minus).bit_count() - middle * total
    if spread < 1e-9:
        return 1.0
    excess, first, last = 0.0, total, total  # the sums without the last and without the first `lag` draws
    for lag in range(1, min(LAGS, n - 1) + 1):
        first, last = first - draws[-lag], last - draws[lag - 1]
        like = (plus & plus >> 8 * lag).bit_count() + (minus & minus >> 8 * lag).bit_count()
        unlike = (plus & minus >> 8 * lag).bit_count() + (minus & plus >> 8 * lag).bit_count()
        product = like - unlike - middle * (first + last) + (n - lag) * middle * middle
        excess += (1 - lag / (LAGS + 1)) * product / spread
    return 1 / max(1.0, 1 + 2 * excess)


def share_above(hits: int, misses: int, share: float) -> float:
    """Evidence against "hits have at most this share" of all draws (0 < share < 1)."""
    alternatives = [share + (1 - share) * part for part in (0.05, 0.2, 0.5, 0.9)]
    return _average(
        [hits * math.log(one / share) + misses * math.log((1 - one) / (1 - share)) for one in alternatives]
    )


def highest_share(hits: int, misses: int, alpha: float) -> float:
    """A bound that the share of hits never exceeds, at any time, with probability 1 - alpha.

    The mixture over all shares that Robbins (1970) inverts: the largest share p for which
    B(hits + 1, misses + 1) / (p^hits (1 - p)^misses) is below 1/alpha. 1 for no draws.
    """
    mixture = math.lgamma(hits + 1) + math.lgamma(misses + 1) - math.lgamma(hits + misses + 2)

    def refuted(p: float) -> bool:
        likelihood = hits * math.log(p) + misses * math.log1p(-p)
        return mixture - likelihood >= -math.log(alpha)

    low, high = (hits + 0.5) / (hits + misses + 1), 1 - 1e-12
    if not refuted(high):
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if refuted(middle) else (middle, high)
    return high


def _average(logarithms: Sequence[float]) -> float:
    largest = max(logarithms)
    if largest > 600:
        return MOST
    return sum(math.exp(one) for one in logarithms) / len(logarithms)

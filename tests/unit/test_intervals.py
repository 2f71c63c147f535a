"""Intervals and tails against values from tables and against each other."""

from __future__ import annotations

import math

import pytest

from loopai_runtime.intervals import binomial_tail, lower_bound, wilson


@pytest.mark.parametrize("n", [1, 7, 60, 400])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5, 0.97])
def test_the_binomial_tail_is_the_sum_of_its_terms(n: int, rate: float) -> None:
    total = 0.0
    for k in range(min(n, 60)):
        total += math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
        assert binomial_tail(k, n, rate) == pytest.approx(total, rel=1e-9, abs=1e-300)


def test_the_binomial_tail_takes_parts_of_draws_and_its_ends() -> None:
    whole = [binomial_tail(k, 100, 0.05) for k in (2, 2.5, 3)]
    assert whole == sorted(whole)
    assert binomial_tail(0, 59, 0.05) < 0.05 < binomial_tail(0, 58, 0.05)
    assert (binomial_tail(5, 5, 0.1), binomial_tail(-1, 5, 0.1)) == (1.0, 0.0)
    assert binomial_tail(49_500, 1_000_000, 0.05) == pytest.approx(0.0109, abs=0.0005)


def test_bounds_lie_within_the_interval_and_hold_the_rate() -> None:
    low, high = wilson(90, 100)
    assert low < lower_bound(90, 100) < 0.9 < high
    assert wilson(0, 0) == (0.0, 1.0)

"""Intervals and tails against values from tables and against each other."""

from __future__ import annotations

import math
import random

import pytest

from loopai_runtime.intervals import always, binomial_tail, lower_bound, needed, student_quantile, wilson, wilson_t


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


@pytest.mark.parametrize(
    ("df", "quantile"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (30, 2.0423), (5000, 1.95996)]
)
def test_students_quantile_is_that_of_the_tables(df: int, quantile: float) -> None:
    assert student_quantile(0.975, df) == pytest.approx(quantile, abs=1e-4)


def test_an_estimated_variance_makes_the_interval_wider() -> None:
    narrow, wide = wilson(45, 50), wilson_t(45, 50, 8)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_as_many_draws_as_needed_make_the_interval_as_narrow_as_asked() -> None:
    n = needed(0.9, 0.02)
    low, high = wilson(0.9 * n, n)
    assert (high - low) / 2 == pytest.approx(0.02, abs=1e-6)
    with pytest.raises(ValueError):
        needed(0.9, 0)


def test_an_interval_for_all_times_is_wider_and_has_an_end_where_all_matched() -> None:
    low, high = always(90, 100)
    assert low < wilson(90, 100)[0] < 0.9 < wilson(90, 100)[1] < high
    assert always(0, 0) == (0.0, 1.0)
    assert always(30, 30)[1] == 1.0
    assert always(0, 30)[0] == 0.0
    assert always(0, 30)[1] == pytest.approx(1 - always(30, 30)[0])


def test_an_interval_for_all_times_holds_at_all_times() -> None:
    draw = random.Random(5)
    wrong = 0
    for _ in range(100):
        right = 0
        for n in range(1, 301):
            right += draw.random() < 0.9
            low, high = always(right, n) if n % 10 == 0 else (0.0, 1.0)
            if not low <= 0.9 <= high:
                wrong += 1
                break
    assert wrong <= 8

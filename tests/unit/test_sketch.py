"""The quantile sketch: within one per cent of the truth, and the same bytes however it came about."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopai_runtime.sketch import HIGHEST, LOWEST, RELATIVE_ERROR, Sketch

values = st.lists(st.floats(min_value=0, max_value=HIGHEST, allow_nan=False), max_size=60)
SHARES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


def of(numbers: list[float]) -> Sketch:
    sketch = Sketch()
    sketch.add(numbers)
    return sketch


def exact(numbers: list[float], share: float) -> float:
    return sorted(numbers)[math.floor(share * (len(numbers) - 1))]


def check_quantiles(numbers: list[float]) -> None:
    sketch = of(numbers)
    for share in SHARES:
        right, found = exact(numbers, share), sketch.quantile(share)
        assert found is not None
        assert abs(found - right) <= RELATIVE_ERROR * right * (1 + 1e-9) + LOWEST, share


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.lognormvariate(-1, 0.6),
        lambda rng: rng.expovariate(0.1),
        lambda rng: rng.paretovariate(0.7),
        lambda rng: rng.choice((0.0, 0.25, 1000.0)),
    ],
    ids=["lognormal", "exponential", "heavy tail", "few values"],
)
def test_quantiles_are_within_one_per_cent(draw: object) -> None:
    rng = random.Random(7)
    check_quantiles([draw(rng) for _ in range(20_000)])  # type: ignore[operator]


@given(values.filter(bool))
def test_quantiles_of_any_values_are_within_one_per_cent(numbers: list[float]) -> None:
    check_quantiles(numbers)


@given(st.lists(values, max_size=6), st.randoms(use_true_random=False))
def test_merged_in_any_order_is_the_same_bytes(parts: list[list[float]], rng: random.Random) -> None:
    whole = of([value for part in parts for value in part])
    for _ in range(3):
        rng.shuffle(parts)
        merged = Sketch()
        for part in parts:
            merged.merge(of(part))
        assert json.dumps(merged.as_list()) == json.dumps(whole.as_list())


@given(values)
def test_what_is_written_is_read_again(numbers: list[float]) -> None:
    sketch = of(numbers)
    read = Sketch.of_list(json.loads(json.dumps(sketch.as_list())))
    assert read == sketch
    assert len(read) == len(numbers)


def test_the_extremes_are_exact() -> None:
    sketch = of([3.21, 0.0137, 17.5])
    assert (sketch.quantile(0.0), sketch.quantile(1.0)) == (0.0137, 17.5)


def test_nothing_has_no_quantile() -> None:
    assert Sketch().quantile(0.5) is None
    assert Sketch().as_list() == []


def test_wild_numbers_take_few_buckets() -> None:
    sketch = of([math.nan, -1.0, math.inf, 5e-324, 1e308, *(10.0**e for e in range(-300, 300))])
    assert len(sketch) == 605
    assert len(sketch.as_list()) < 2 * 100
    assert sketch.quantile(1.0) == HIGHEST
    assert sketch.quantile(0.0) == 0.0


@pytest.mark.parametrize("broken", [[1.0], [1.0, 2.0, 3], "ab", [1, 2, None, 4]])
def test_what_is_no_sketch_is_refused(broken: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Sketch.of_list(broken)

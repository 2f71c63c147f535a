"""Estimates of accuracy by hand-checked cases; how often they are right is measured in test_coverage."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopai_runtime import intervals
from loopai_runtime.validation import estimate
from loopai_runtime.validation.estimate import Checked, Population


def rows(matches: int, errors: int, pi: float = 0.05, confidence: float | None = None) -> list[Checked]:
    return [Checked(True, pi, confidence)] * matches + [Checked(False, pi, confidence)] * errors


def test_plain_random_checks_have_wilsons_interval() -> None:
    found = estimate.accuracy(rows(90, 10))
    assert (found.value, found.n, found.method) == (0.9, 100, "wilson")
    assert (found.low, found.high) == pytest.approx(intervals.wilson(90, 100))
    assert found.effective == pytest.approx(100)


def test_of_known_executions_what_was_checked_is_certain() -> None:
    half, everything = Population(200), Population(100)
    assert estimate.accuracy(rows(90, 10, pi=0.5), half).effective == pytest.approx(200)
    whole = estimate.accuracy(rows(90, 10, pi=1.0), everything)
    assert (whole.low, whole.high) == pytest.approx((0.9, 0.9), abs=1e-5)


def test_each_check_stands_for_as_many_executions_as_its_pi_says() -> None:
    found = estimate.accuracy([*rows(10, 10, pi=0.5), *rows(19, 1, pi=0.05)])
    assert found.method == "hajek"
    assert found.value == pytest.approx((20 + 380) / (40 + 400))
    assert found.low < found.value < found.high


def test_confidences_of_all_executions_make_the_interval_narrower() -> None:
    draw = random.Random(3)
    sure = [draw.betavariate(2, 1) for _ in range(8000)]
    checked = [
        Checked(draw.random() < one, pi, one)
        for one in sure
        if draw.random() < (pi := 0.04 if one > 0.5 else 0.16)
    ]
    plain = estimate.accuracy(checked, Population(8000))
    helped = estimate.accuracy(checked, Population.of(sure))
    assert (plain.method, helped.method) == ("hajek", "doubly_robust")
    assert helped.high - helped.low < 0.95 * (plain.high - plain.low)
    assert helped.low < sum(sure) / 8000 < helped.high


def test_confidences_are_left_aside_where_not_all_executions_have_one() -> None:
    mixed = [*rows(30, 5, pi=0.1, confidence=0.9), *rows(20, 5, pi=0.2, confidence=0.6)]
    some = Population.of([0.9] * 300 + [None] * 100)
    assert some.confidence == ()
    assert estimate.accuracy(mixed, some, method="doubly_robust").method == "hajek"
    assert estimate.accuracy(mixed, Population.of([0.9] * 300 + [0.6] * 100)).method == "doubly_robust"


def test_nothing_checked_is_not_a_percentage() -> None:
    found = estimate.accuracy([])
    assert (found.value, found.low, found.high, found.n) == (None, 0.0, 1.0, 0)
    assert str(found) == "unknown (nothing checked)"
    assert found.as_dict()["value"] is None
    assert found.more() == 2398
    assert estimate.accuracy([Checked(True, 0.0)]) == found


def test_all_right_is_not_certainty() -> None:
    alike = estimate.accuracy(rows(50, 0))
    assert alike.high == 1.0
    assert 0.92 < alike.low < 0.94
    unlike = estimate.accuracy([*rows(40, 0, pi=0.5), *rows(10, 0, pi=0.05)])
    assert unlike.low < alike.low


def test_a_single_rare_execution_makes_the_interval_wide() -> None:
    found = estimate.accuracy([*rows(95, 4, pi=0.5), Checked(True, 1e-6)])
    assert found.high - found.low > 0.7
    assert str(found) == f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%}, 100 checked)"


def test_strata_of_known_size_are_weighed_by_it() -> None:
    strata = {
        "spam": (rows(20, 20, pi=0.4), Population(100)),
        "ham": (rows(39, 1, pi=0.044), Population(900)),
        "eggs": (rows(0, 0), Population(10)),
    }
    found = estimate.stratified(strata)
    assert (found.method, found.n) == ("stratified", 80)
    assert found.value == pytest.approx(0.1 * 0.5 + 0.9 * 0.975)
    assert found.low < found.value < found.high
    assert estimate.stratified({"spam": (rows(0, 0), Population(5))}).value is None


def test_strata_with_equal_rates_are_like_plain_random() -> None:
    strata = {n: (rows(45, 5), Population(1000)) for n in range(4)}
    plain = estimate.accuracy(rows(180, 20), Population(4000))
    found = estimate.stratified(strata)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.005)


def test_checks_are_told_apart_by_version() -> None:
    records = [("v1", True), ("v1", False), ("v2", True)]
    parts = estimate.by(records, lambda row: row[0], lambda row: Checked(row[1], 0.05))
    assert {key: estimate.accuracy(part).value for key, part in parts.items()} == {"v1": 0.5, "v2": 1.0}


def test_more_labels_are_said_to_be_missing_until_the_interval_is_narrow() -> None:
    few = estimate.accuracy(rows(90, 10))
    missing = few.more(0.02)
    assert 700 < missing < 900
    enough = estimate.accuracy(rows(9 * (missing + 100) // 10, (missing + 100) // 10))
    assert (enough.high - enough.low) / 2 <= 0.0205
    assert enough.more(0.03) == 0
    assert estimate.accuracy(rows(3, 0)).more() > 50
    uneven = estimate.accuracy([*rows(40, 5, pi=0.5), *rows(50, 5, pi=0.05)])
    assert uneven.more(0.02) > missing


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(1e-6, 1), st.none() | st.floats(0, 1)).map(lambda t: Checked(*t)),
        max_size=60,
    ),
    st.booleans(),
)
def test_any_checks_make_an_interval_around_the_value(checked: list[Checked], known: bool) -> None:
    confidences = [one.confidence for one in checked for _ in range(max(1, min(50, round(1 / one.pi))))]
    found = estimate.accuracy(checked, Population.of(confidences) if known else None)
    assert 0 <= found.low <= found.high <= 1
    assert found.value is None or found.low <= found.value <= found.high
    low, high = found.always()
    assert 0 <= low <= high <= 1
    assert found.more() >= 0

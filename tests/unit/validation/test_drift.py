"""Alarms go off where something has changed, and seldom where nothing has."""

from __future__ import annotations

import random

import pytest

from loopai_runtime.validation.drift import LENGTHS, Check, PageHinkley, fall, length_bin, shift

USUAL = {'"ham"': 0.6, '"spam"': 0.4}


def test_the_same_shares_are_no_shift() -> None:
    found = shift("outputs", USUAL, 1000, {'"ham"': 300, '"spam"': 200})
    assert found is not None
    assert found.psi == pytest.approx(0, abs=1e-4)
    assert not found.is_alarm


def test_the_index_is_that_of_the_textbook() -> None:
    found = shift("outputs", USUAL, 100_000, {'"ham"': 40_000, '"spam"': 60_000})
    assert found is not None
    assert found.psi == pytest.approx(0.2 * 0.405465 + 0.2 * 0.405465, abs=1e-3)  # (b - a) ln(b / a), summed
    assert (found.worst, found.was, found.now, found.is_alarm) == ('"spam"', 0.4, 0.6, False)
    assert shift("outputs", USUAL, 1000, {'"ham"': 300, '"spam"': 700}).is_alarm  # type: ignore[union-attr]


def test_an_output_that_the_reference_never_had_is_a_shift() -> None:
    found = shift("outputs", USUAL, 1000, {'"ham"': 400, '"spam"': 300, '"eggs"': 300})
    assert found is not None
    assert (found.is_alarm, found.worst, found.now) == (True, "…", 0.3)


def test_few_executions_need_a_larger_shift() -> None:
    draw = random.Random(1)
    reference = {str(n): 0.1 for n in range(10)}
    alarms = 0
    for _ in range(400):
        counts = {str(n): 0 for n in range(10)}
        for _ in range(60):
            counts[str(draw.randrange(10))] += 1
        found = shift("confidence", reference, 200, counts)
        alarms += found is not None and found.is_alarm
    assert alarms <= 3
    assert shift("confidence", reference, 200, {"0": 49}) is None
    assert shift("confidence", {}, 200, {"0": 500}) is None
    assert shift("confidence", {"0": 1.0}, 200, {"0": 500}) is None


def test_lengths_have_bins_that_double() -> None:
    assert [length_bin(n) for n in (0, 1, 2, 3, 4, 1023, 1024, 10**9)] == [0, 0, 1, 1, 2, 9, 10, LENGTHS - 1]


def checks(
    error: float, rise: float, before: int, after: int, seed: int, *, unsure_first: bool = False
) -> list[Check]:
    """Confidences that say how often a program errs, until it errs by `rise` more."""
    draw = random.Random(seed)
    found: list[Check] = []
    while len(found) < before + after:
        sure = draw.betavariate(6 * (1 - error), 6 * error)
        wrong = draw.random() < 1 - sure + (rise if len(found) >= before else 0)
        if not unsure_first or draw.random() < 2 * (sure * (1 - sure)) ** 0.5:
            found.append(Check(not wrong, sure, len(found)))
    return found


@pytest.mark.parametrize("unsure_first", [False, True])
@pytest.mark.parametrize("error", [0.02, 0.1, 0.2])
def test_a_program_that_stays_as_it_was_sets_off_no_alarm(error: float, unsure_first: bool) -> None:
    """Also where its less sure answers are checked more often, and so more errors are seen."""
    alarms = 0
    for seed in range(25):
        page = PageHinkley(error, error)
        alarms += any(
            page.add(c.match, c.confidence) for c in checks(error, 0, 1000, 0, seed, unsure_first=unsure_first)
        )
    assert alarms <= 1


@pytest.mark.parametrize(("error", "soon"), [(0.02, 80), (0.1, 160), (0.2, 220)])
def test_twenty_points_more_errors_are_noticed_soon(error: float, soon: int) -> None:
    for seed in range(5):
        found = fall(checks(error, 0.2, 500, 500, seed), error, error)
        assert found is not None
        assert 500 <= found.noticed < 500 + 2 * soon
        assert 300 < found.since < 600
        assert found.errors > 1.5 * found.expected
        assert found.keys[0] >= found.since


def test_a_program_that_was_never_as_good_as_promised_is_noticed() -> None:
    found = fall(checks(0.05, 0.3, 0, 200, 1), 0.05, 0.05)
    assert found is not None
    assert found.noticed < 120


def test_what_went_down_again_is_no_alarm_any_more() -> None:
    good, bad = [Check(True, None, 0)] * 400, [Check(False, None, 1)] * 25
    assert fall(good + bad, 0.05) is not None
    assert fall(good + bad + good + good + good, 0.05) is None
    assert fall([], 0.05) is None

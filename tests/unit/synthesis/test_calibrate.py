"""Calibration: a score means what it says, and unknown words count against an answer where they should."""

from __future__ import annotations

import math
import random

import pytest

from loopai_runtime.synthesis.calibrate import calibrate, lowered, probability
from loopai_runtime.synthesis.strategy import Calibration, Prediction


def answers(
    n: int, slope: float, offset: float, doubt: float, seed: int = 0
) -> tuple[list[Prediction], list[bool]]:
    rng = random.Random(seed)
    made = [Prediction("x", rng.expovariate(1.0), rng.random()) for _ in range(n)]
    odds = [slope * one.evidence + offset - doubt * one.novelty for one in made]
    return made, [rng.random() < 1 / (1 + math.exp(-o)) for o in odds]


def test_the_numbers_behind_the_answers_are_found() -> None:
    found = calibrate(*answers(20_000, 1.5, 0.5, 2.0))
    assert found.slope == pytest.approx(1.5, abs=0.15)
    assert found.offset == pytest.approx(0.5, abs=0.15)
    assert found.doubt == pytest.approx(2.0, abs=0.25)


def test_scores_are_as_often_right_as_they_say() -> None:
    calibration = calibrate(*answers(3000, 1.0, 0.0, 1.0))
    unseen, right = answers(20_000, 1.0, 0.0, 1.0, seed=9)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for one, was in zip(unseen, right, strict=True):
        sure = probability(calibration, one)
        bins.setdefault(int(sure * 10), []).append((sure, was))
    error = sum(abs(sum(sure for sure, _ in part) - sum(was for _, was in part)) for part in bins.values())
    assert error / len(unseen) < 0.03


def test_novelty_that_speaks_for_an_answer_is_not_believed() -> None:
    found = calibrate(*answers(5000, 1.0, 0.0, -3.0))
    assert found.doubt == 0.0
    assert found.slope > 0


def test_evidence_that_speaks_against_an_answer_is_not_believed() -> None:
    assert calibrate(*answers(5000, -1.0, 1.0, 0.0)).slope == 0.0


@pytest.mark.parametrize("right", [True, False])
def test_answers_that_are_all_right_or_all_wrong_leave_a_doubt(right: bool) -> None:
    made = [Prediction("x", 1.0)] * 8
    sure = probability(calibrate(made, [right] * 8), made[0])
    assert (0.8 < sure < 0.99) if right else (0.01 < sure < 0.2)


def test_lowered_confidences_keep_their_order_and_average_no_more_than_asked() -> None:
    answers = [Prediction("a", evidence / 10) for evidence in range(-20, 40)]
    before = Calibration(1.0, 1.0, 0.0)
    after = lowered(before, answers, 0.5)
    sure = [probability(after, answer) for answer in answers]
    assert sure == sorted(sure)
    assert 0.49 < sum(sure) / len(sure) <= 0.5
    assert lowered(before, answers, 1.0) == before

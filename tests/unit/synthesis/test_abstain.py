"""The abstention threshold: what is answered meets the target as often as was promised, and covers what it can."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from loopai_runtime.synthesis.abstain import offload


def draw(n: int, seed: int, hardness: float = 6.0) -> tuple[list[float], list[float]]:
    """Calibrated confidences, and whether each answer came out right."""
    rng = random.Random(seed)
    sure = [1 - rng.betavariate(0.5, hardness) for _ in range(n)]
    return sure, [float(rng.random() < p) for p in sure]


POPULATION = sorted(draw(100_000, 1)[0], reverse=True)
ACCURACY = [total / (at + 1) for at, total in enumerate(accumulate(POPULATION))]


def answered(threshold: float) -> int:
    return sum(1 for p in POPULATION if p >= threshold)


@pytest.mark.parametrize(("n", "target"), [(300, 0.95), (2000, 0.95), (2000, 0.98)])
def test_what_is_answered_meets_the_target_in_nearly_all_trials(n: int, target: float) -> None:
    kept = 0
    for seed in range(100):
        found = offload(*draw(n, seed), range(n), target, 0.95)
        kept += found.threshold is None or ACCURACY[answered(found.threshold) - 1] >= target
    assert kept >= 92


def test_the_share_answered_is_near_the_best_possible() -> None:
    best = max(at + 1 for at, accuracy in enumerate(ACCURACY) if accuracy >= 0.95) / len(ACCURACY)
    shares = []
    for seed in range(20):
        found = offload(*draw(5000, seed), range(5000), 0.95, 0.95)
        assert found.threshold is not None
        shares.append(answered(found.threshold) / len(POPULATION))
    assert best - 0.06 < sum(shares) / len(shares) < best


def test_a_program_that_is_always_sure_and_wrong_is_not_compiled() -> None:
    found = offload([0.99] * 500, [float(at % 2) for at in range(500)], range(500), 0.95, 0.95)
    assert (found.threshold, found.coverage, found.more_examples) == (None, 0.0, None)
    assert found.verdict.startswith("don't compile this")
    assert "50.0%" in found.verdict


def test_too_few_rows_guarantee_nothing_and_say_how_many_are_missing() -> None:
    found = offload([0.9] * 20, [1.0] * 20, range(20), 0.95, 0.95)
    assert found.threshold is None
    assert found.more_examples is not None
    assert 20 < found.more_examples < 300
    assert f"needs about {found.more_examples} more" in found.verdict
    more = 20 + found.more_examples
    assert offload([0.9] * more, [1.0] * more, range(more), 0.95, 0.95).threshold == 0.0


def test_where_everything_is_right_everything_is_answered() -> None:
    sure = [0.5 + at / 2000 for at in range(1000)]
    found = offload(sure, [1.0] * 1000, range(1000), 0.95, 0.95)
    assert (found.threshold, found.coverage, found.verdict) == (0.0, 1.0, "compile it")


def test_near_duplicates_count_as_one_draw() -> None:
    sure, right = [0.9] * 200, [1.0] * 200
    assert offload(sure, right, range(200), 0.95, 0.95).threshold is not None
    assert offload(sure, right, [at // 10 for at in range(200)], 0.95, 0.95).threshold is None


def test_equal_scores_are_answered_together_or_not_at_all() -> None:
    sure = [0.9] * 500 + [0.6] * 500
    right = [1.0] * 500 + [float(at % 2) for at in range(500)]
    found = offload(sure, right, range(1000), 0.95, 0.95)
    assert (found.threshold, found.coverage) == (0.9, 0.5)


def test_the_threshold_answers_the_row_it_was_taken_from() -> None:
    sure, right = draw(3000, 5)
    found = offload(sure, right, range(3000), 0.95, 0.95)
    assert found.threshold is not None
    assert sum(score >= found.threshold for score in sure) / 3000 == pytest.approx(found.coverage, abs=0.002)


def test_the_curve_falls_from_sure_to_everything() -> None:
    found = offload(*draw(3000, 7), range(3000), 0.95, 0.95)
    assert [point.coverage for point in found.curve] == sorted((p.coverage for p in found.curve), reverse=True)
    assert found.curve[0].coverage == 1.0
    assert found.curve[0].accuracy < found.curve[-1].accuracy
    assert all(point.lower_bound < point.accuracy for point in found.curve)

"""Choosing among candidates: as good and smaller wins, clearly worse does not, rare labels count."""

from __future__ import annotations

import random
from collections.abc import Sequence

from loopai_runtime.synthesis.judge import Trial
from loopai_runtime.synthesis.select import choose, corrected
from loopai_runtime.synthesis.strategy import Problem

KB = 1024


def problem(outputs: Sequence[str]) -> Problem:
    return Problem("t", {}, {}, list(range(len(outputs))), outputs, range(len(outputs)))


def trial(right: Sequence[bool], size: int, kind: str = "ml") -> Trial:
    return Trial(f"{size}", kind, None, [float(one) for one in right], [], size, 0.0, 0.0)  # type: ignore[arg-type]


def test_a_much_smaller_program_that_errs_no_more_often_wins() -> None:
    even = problem(["a", "b"] * 500)
    large = [at % 10 != 0 for at in range(1000)]
    small = [at % 10 != 1 for at in range(1000)]
    small[1] = True  # one better here, one worse there
    assert choose(even, [trial(large, 200 * KB), trial(small, 30 * KB)]) == 1
    small[2] = small[3] = small[4] = False
    assert choose(even, [trial(large, 200 * KB), trial(small, 30 * KB)]) == 1


def test_a_smaller_program_that_errs_clearly_more_often_loses() -> None:
    even = problem(["a", "b"] * 500)
    large = [at % 10 != 0 for at in range(1000)]
    small = [one and at % 10 != 1 for at, one in enumerate(large)]
    assert choose(even, [trial(large, 200 * KB), trial(small, 30 * KB)]) == 0


def test_a_few_kilobytes_buy_nothing() -> None:
    even = problem(["a", "b"] * 1000)
    better = [at != 0 for at in range(2000)]
    worse = [at > 1 for at in range(2000)]
    assert choose(even, [trial(worse, 2 * KB), trial(better, 12 * KB)]) == 1


def test_on_few_rows_a_lucky_winner_does_not_beat_the_strongest_kind() -> None:
    few = problem(["a", "b"] * 10)
    lucky = [at not in (3, 8, 12) for at in range(20)]
    strong = [at not in (0, 5, 7, 11) for at in range(20)]
    assert choose(few, [trial(lucky, 5 * KB, "rule"), trial(strong, 60 * KB)]) == 1
    surely = [at not in (0, 1) for at in range(20)]
    weak = [at % 3 != 0 for at in range(20)]
    assert choose(few, [trial(surely, 5 * KB, "rule"), trial(weak, 60 * KB)]) == 0


def test_a_program_that_never_says_the_rare_label_does_not_win() -> None:
    rare = problem(["spam"] * 30 + ["ham"] * 970)
    never = [at >= 30 for at in range(1000)]  # right on all ham
    finds = [at >= 35 or at < 28 for at in range(1000)]  # finds 28 of 30, at the price of 5 ham
    blunt = [at >= 90 or at < 28 for at in range(1000)]
    assert choose(rare, [trial(never, KB), trial(finds, KB)]) == 1
    assert choose(rare, [trial(never, KB), trial(blunt, KB)]) == 1


def test_the_best_of_many_that_only_guess_is_not_believed() -> None:
    rng = random.Random(3)
    guesses = [trial([rng.random() < 0.5 for _ in range(100)], KB) for _ in range(20)]
    best = max(one.accuracy for one in guesses)
    honest = corrected(guesses, 0)
    assert best > 0.57
    assert honest < best - 0.03


def test_a_program_of_unusual_size_has_to_gain_a_point() -> None:
    even = problem(["a", "b"] * 1000)
    large = [at % 10 != 0 for at in range(2000)]
    nearly = [one and at not in range(1, 30, 2) for at, one in enumerate(large)]  # 0.75 points less, and surely so
    less = [one and at not in range(1, 60, 2) for at, one in enumerate(large)]  # 1.5 points less
    assert choose(even, [trial(nearly, 60 * KB), trial(large, 260 * KB)]) == 0
    assert choose(even, [trial(less, 60 * KB), trial(large, 260 * KB)]) == 1
    many = problem([f"label {at % 77}" for at in range(2000)])
    assert choose(many, [trial(nearly, 60 * KB), trial(large, 260 * KB)]) == 1

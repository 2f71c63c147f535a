"""Every candidate is judged on rows it has not seen, its whole pipeline inside the folds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.synthesis.folds import folds
from loopai_runtime.synthesis.strategy import Calibration, Fitted, Prediction, Problem, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FOLDS = 5
REPEATED_BELOW = 1000  # rows below which the folds are drawn three times
_TIMED_ROWS = 200


@dataclass(slots=True)
class Trial:
    """A candidate: the program from all rows, and its answers to rows that it had not seen.

    `right[row]` is the share of the repeats in which row was answered rightly; `answers` are the first repeat's.
    """

    name: str
    kind: str
    fitted: Fitted
    right: list[float] = field(repr=False)
    answers: list[Prediction] = field(repr=False)
    bytes: int
    seconds: float
    microseconds: float

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right)

    def standard_error(self, problem: Problem) -> float:
        """Of the accuracy, near-duplicate groups counting as one draw."""
        return standard_error(self.right, problem.groups)


def standard_error(right: Sequence[float], groups: Sequence[int]) -> float:
    """Of the mean of `right`, rows of one group counting as one draw."""
    gaps: dict[int, float] = {}
    mean = sum(right) / len(right)
    for group, hit in zip(groups, right, strict=True):
        gaps[group] = gaps.get(group, 0.0) + hit - mean
    return math.sqrt(sum(gap * gap for gap in gaps.values())) / len(right)


def splits(problem: Problem, seed: int) -> list[list[list[int]]]:
    """For each repeat the folds, as lists of rows."""
    repeats = 3 if len(problem) < REPEATED_BELOW else 1
    count = min(FOLDS, len(set(problem.groups)))
    return [folds(problem.codes, problem.groups, count, seed * 1000 + n) for n in range(repeats)]


def judge(
    problem: Problem, strategy: Strategy, repeats: Sequence[list[list[int]]], seed: int, done: Callable[[], None]
) -> list[Trial]:
    """The strategy's candidates, less those that came out as the one before; `done` is called after each fold."""
    started = time.perf_counter()
    whole = strategy.fit(problem, range(len(problem)), seed)
    kept = [at for at, fitted in enumerate(whole) if at == 0 or fitted is not whole[at - 1]]
    right = {at: [0.0] * len(problem) for at in kept}
    answers = {at: [Prediction(None, 0.0)] * len(problem) for at in kept}
    for number, parts in enumerate(repeats):
        for part in parts:
            predictions = unseen(problem, strategy, part, seed)
            for at in kept:
                for row, answer in zip(part, predictions[at], strict=True):
                    right[at][row] += is_right(problem, row, answer) / len(repeats)
                    if number == 0:
                        answers[at][row] = answer
            done()
    seconds = time.perf_counter() - started
    return [
        Trial(
            strategy.names[at],
            strategy.kind,
            whole[at],
            right[at],
            answers[at],
            len(whole[at].emit(problem, Calibration(1.0, 0.0, 0.0)).encode("utf-8")),
            seconds,
            _microseconds(problem, whole[at]),
        )
        for at in kept
    ]


def unseen(problem: Problem, strategy: Strategy, part: Sequence[int], seed: int) -> list[list[Prediction]]:
    """What each candidate, made from all other rows, answers to `part`; a lone class is all it then knows."""
    held = set(part)
    rows = [row for row in range(len(problem)) if row not in held]
    seen = {problem.codes[row] for row in rows}
    if len(seen) < 2:
        output = problem.labels[seen.pop()] if seen else None
        return [[Prediction(output, 0.0)] * len(part)] * len(strategy.names)
    predictions: list[list[Prediction]] = []
    fits = strategy.fit(problem, rows, seed)
    for at, fitted in enumerate(fits):
        same = at > 0 and fitted is fits[at - 1]
        predictions.append(predictions[-1] if same else fitted.predict(problem, part))
    return predictions


def is_right(problem: Problem, row: int, answer: Prediction) -> bool:
    return answer.output == problem.outputs[row] or jsonl.canonical(answer.output) == problem.keys[row]


def _microseconds(problem: Problem, fitted: Fitted) -> float:
    sample = range(min(_TIMED_ROWS, len(problem)))
    fitted.predict(problem, sample)
    started = time.perf_counter()
    fitted.predict(problem, sample)
    return (time.perf_counter() - started) / len(sample) * 1e6

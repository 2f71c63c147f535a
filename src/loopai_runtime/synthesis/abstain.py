"""How much a program may answer itself: the threshold below which it had better say nothing.

Each threshold is a hypothesis, "what is answered above it is right less often than the target", and a binomial
test on answers given out of fold can reject it. Taking the best of many thresholds by a bound made for one would
promise too much, so they are tested together (Angelopoulos et al. 2021, "Learn then test"): from the few surest
answers to all of them, each with its share of the error that is allowed, and each that is rejected leaves its
share to the next (the fallback procedure of Wiens 2003). The chance that any threshold which passes misses the
target is then at most 1 - confidence, whatever the scores are and however many are tried. Near-duplicates count as
one draw.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from loopai_runtime.intervals import binomial_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_LEVELS = 100
_SHOWN = (1.0, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_HARDLY_MORE = 100  # times as many rows that it is of no use to ask for
_UNSEEN = 0.3  # of a mistake, where there was none among so few
EVERYTHING = 0.995
"""The share answered from which a program is said to answer everything."""


@dataclass(frozen=True, slots=True)
class Point:
    """What comes of answering where `score` is at least `threshold`: the share answered, how often that is right
    out of fold, and the lower bound of it (of this threshold alone)."""

    threshold: float
    coverage: float
    accuracy: float
    lower_bound: float


@dataclass(frozen=True, slots=True)
class Offload:
    """The share of inputs that the program answers while its accuracy there is at least `target_accuracy`, with
    `confidence`. `threshold` is None where no share can be guaranteed; `more_examples` says how many more rows
    would likely do, None where none are missing or no number would help."""

    target_accuracy: float
    confidence: float
    threshold: float | None
    coverage: float
    accuracy: float | None
    more_examples: int | None
    curve: list[Point] = field(repr=False)

    @property
    def verdict(self) -> str:
        """What to do with the program, in words."""
        if self.threshold is None:
            return f"don't compile this: {self._why_not()}"
        if self.coverage >= EVERYTHING:
            return "compile it"
        return f"compile with abstention: {self.coverage:.0%} answered"

    def _why_not(self) -> str:
        best = max((point.accuracy for point in self.curve), default=0.0)
        goal = f"{self.target_accuracy:.1%} with {self.confidence:.0%} confidence"
        if self.more_examples is not None:
            return f"cannot guarantee {goal}; needs about {self.more_examples:,} more examples"
        return f"cannot guarantee {goal}; even its surest answers are right {best:.1%} of the time"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def offload(
    confidences: Sequence[float],
    right: Sequence[float],
    groups: Sequence[int],
    target_accuracy: float,
    confidence: float,
) -> Offload:
    """The largest share that can be answered, from what was answered out of fold.

    `confidences[i]` is the score of row i, `right[i]` whether its answer was right (0 to 1), `groups[i]` its
    group.
    """
    ranked = _Ranked(confidences, right, groups)
    allowed = 1 - confidence
    levels = ranked.levels(target_accuracy, allowed)
    passed, share = None, 0.0
    for at in levels:
        share += allowed / len(levels)
        drawn, wrong = ranked.drawn[at], ranked.wrong[at]
        if binomial_tail(wrong, drawn, 1 - target_accuracy) <= share:
            passed = at
        else:
            share = 0.0
    more = ranked.more(levels, target_accuracy, allowed) if passed is None else None
    everything = passed is not None and passed == len(ranked.scores) - 1
    return Offload(
        target_accuracy=target_accuracy,
        confidence=confidence,
        threshold=None if passed is None else 0.0 if everything else _floor(ranked.scores[passed]),
        coverage=0.0 if passed is None else (passed + 1) / len(ranked.scores),
        accuracy=None if passed is None else round(ranked.accuracy(passed), 6),
        more_examples=more,
        curve=ranked.curve(confidence),
    )


class _Ranked:
    """Rows from the surest to the least sure; `drawn[at]` and `wrong[at]` count independent draws down to `at`."""

    def __init__(self, confidences: Sequence[float], right: Sequence[float], groups: Sequence[int]) -> None:
        order = sorted(range(len(confidences)), key=lambda row: -confidences[row])
        sizes: dict[int, int] = {}
        for group in groups:
            sizes[group] = sizes.get(group, 0) + 1
        self.scores = [confidences[row] for row in order]
        self.drawn = list(accumulate([1 / sizes[groups[row]] for row in order]))
        self.wrong = list(accumulate([(1 - right[row]) / sizes[groups[row]] for row in order]))

    def accuracy(self, at: int) -> float:
        return 1 - self.wrong[at] / self.drawn[at]

    def levels(self, target: float, allowed: float) -> list[int]:
        """The last rows of the thresholds that are tried, chosen by the scores alone: no fewer rows than could
        pass without a mistake, in equal steps up to all of them, and never between equal scores."""
        n = len(self.scores)
        draws = self.drawn[-1] if n else 0.0
        count = max(1, min(_MOST_LEVELS, int(draws * (1 - target))))
        fewest = math.log(allowed / count) / math.log(target)
        first = next((at for at in range(n) if self.drawn[at] >= fewest), n - 1)
        places = {first + round((n - 1 - first) * step / count) for step in range(count + 1)}
        return sorted({self._end_of_tie(at) for at in places if n})

    def _end_of_tie(self, at: int) -> int:
        while at + 1 < len(self.scores) and self.scores[at + 1] == self.scores[at]:
            at += 1
        return at

    def more(self, levels: Sequence[int], target: float, allowed: float) -> int | None:
        """About how many more rows would let the best level pass, were it as right as it looks now."""
        rows = float(len(self.scores))
        fewest = math.inf
        for at in {*levels, *range(9, len(self.scores), max(1, len(self.scores) // 50))}:
            rate = max(self.wrong[at], _UNSEEN) / self.drawn[at]
            if rate >= 1 - target:
                continue
            low, high = 1.0, 2.0
            while high < _HARDLY_MORE and not self._would_pass(at, high, rate, target, allowed):
                low, high = high, high * 2
            for _ in range(20):
                middle = (low + high) / 2
                good = self._would_pass(at, middle, rate, target, allowed)
                low, high = (low, middle) if good else (middle, high)
            if self._would_pass(at, high, rate, target, allowed):
                fewest = min(fewest, high)
        return max(10, math.ceil(rows * (fewest - 1))) if fewest < _HARDLY_MORE else None

    def _would_pass(self, at: int, times: float, rate: float, target: float, allowed: float) -> bool:
        drawn = self.drawn[at] * times
        return binomial_tail(rate * drawn, drawn, 1 - target) <= allowed / 2

    def curve(self, confidence: float) -> list[Point]:
        points: dict[int, Point] = {}
        for share in _SHOWN:
            at = self._end_of_tie(max(0, math.ceil(share * len(self.scores)) - 1))
            coverage = (at + 1) / len(self.scores)
            low = _lower(self.wrong[at], self.drawn[at], confidence)
            points[at] = Point(_floor(self.scores[at]), coverage, round(self.accuracy(at), 6), round(low, 6))
        return [points[at] for at in sorted(points, reverse=True)]


def _lower(wrong: float, drawn: float, confidence: float) -> float:
    """The one-sided Clopper-Pearson lower bound of an accuracy."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if binomial_tail(wrong, drawn, 1 - middle) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def _floor(score: float) -> float:
    """Six digits, never above the score itself."""
    return math.floor(score * 1e6) / 1e6

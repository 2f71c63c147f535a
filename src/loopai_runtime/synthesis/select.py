"""Which candidate wins, how good it is once that it won is allowed for, and how the losers are told of.

The choice is by the one-standard-error rule towards the smaller program (Breiman et al. 1984), on the paired
differences between candidates, which judge the same rows: what one loses to the best must be within one standard
error of that difference. Sizes count by factors of two from 16 KB, as nobody gains by less, and from 64 KB while
rows are few: then the difference is known so badly that the rule would give points away for nothing.

Beyond 64 KB (128 for eight labels and more, 512 above twenty) a program has to gain a whole point.

For the same reason the strongest kind of model there is, the last of the list, is the best until another beats it
by twice that error, among all candidates and among the small ones: on twenty rows the winner is mostly lucky.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from operator import mul
from typing import TYPE_CHECKING, Protocol

from loopai_runtime.synthesis.strategy import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loopai_runtime.synthesis.judge import Trial
    from loopai_runtime.synthesis.strategy import Problem

_SMALL, _SMALL_OF_FEW = 16 * 1024, 64 * 1024
_FEW_ROWS = 1000
_A_POINT = 0.01
_CLEARLY = 2.0  # standard errors by which the strongest kind must be beaten: there are several that may be lucky
_SKEWED = 0.8  # share of the rows that one label has, from which all labels count alike
_BOOTSTRAPS = 200
_DRAWS = 400_000  # rows drawn in all the bootstrap samples together: large sets need few


class Judged(Protocol):
    """How a candidate did on rows that it had not seen."""

    @property
    def right(self) -> Sequence[float]:
        """For each row, how often it was answered rightly (0 to 1)."""

    @property
    def accuracy(self) -> float:
        """The mean of `right`."""


def row_weights(problem: Problem) -> list[float]:
    """How much a row counts in comparing candidates, 1 on average: where one label has over 80 % of the rows, each
    label counts the same (balanced accuracy), so that a program that never says the rare one does not win."""
    counts = Counter(problem.codes)
    if max(counts.values()) < _SKEWED * len(problem):
        return [1.0] * len(problem)
    return [len(problem) / (len(counts) * counts[code]) for code in problem.codes]


def choose(problem: Problem, trials: Sequence[Trial]) -> int:
    """The smallest candidate that is as good as the best, as far as the rows can tell."""
    weights = row_weights(problem)
    merits = [sum(map(mul, weights, trial.right)) / len(weights) for trial in trials]

    def best_of(places: Sequence[int]) -> int:
        strongest = max((at for at in places if trials[at].kind == "ml"), default=places[-1])
        beating = [at for at in places if not _as_good(problem, weights, trials[strongest], trials[at], _CLEARLY)]
        return max([strongest, *beating], key=lambda at: (round(merits[at], 9), -trials[at].bytes))

    best = best_of(range(len(trials)))
    fitting = [at for at, trial in enumerate(trials) if trial.bytes <= roomy(len(problem.labels))]
    if fitting and best not in fitting and merits[best] - merits[best_of(fitting)] < _A_POINT:
        best = best_of(fitting)
    good = [at for at in range(len(trials)) if at == best or _as_good(problem, weights, trials[at], trials[best])]
    small = _SMALL_OF_FEW if len(problem) < _FEW_ROWS else _SMALL
    smallest = min(_size_class(trials[at].bytes, small) for at in good)
    return best_of([at for at in good if _size_class(trials[at].bytes, small) == smallest])


def roomy(labels: int) -> int:
    """Bytes beyond which a program has to be better by a point to be taken."""
    return 1024 * (64 if labels <= 7 else 128 if labels <= 20 else 512)


def _as_good(problem: Problem, weights: Sequence[float], trial: Trial, best: Trial, errors: float = 1.0) -> bool:
    """Whether what a candidate loses to another is within so many standard errors of the paired difference."""
    losses: dict[int, float] = {}
    for row, group in enumerate(problem.groups):
        losses[group] = losses.get(group, 0.0) + weights[row] * (best.right[row] - trial.right[row])
    loss = sum(losses.values())
    spread = sum(value * value for value in losses.values()) - loss * loss / len(losses)
    return loss <= errors * math.sqrt(max(0.0, spread))


def _size_class(size: int, small: int) -> int:
    return max(0, math.ceil(math.log2(size / small)))


def corrected(trials: Sequence[Judged], seed: int) -> float:
    """The accuracy of picking the best: judged where it was not picked (Tsamardinos et al. 2018).

    In each bootstrap sample the candidate that is best in it is judged on the rows that it left out.
    """
    draw = random.Random(seed)  # noqa: S311  a seed, not a secret
    n = len(trials[0].right)
    samples = min(_BOOTSTRAPS, _DRAWS // n)
    if len(trials) == 1 or samples == 0:
        return max(trial.accuracy for trial in trials)
    total = 0.0
    for _ in range(samples):
        drawn = Counter(draw.choices(range(n), k=n))
        best = max(trials, key=lambda trial: sum([trial.right[row] * times for row, times in drawn.items()]))
        out = [best.right[row] for row in range(n) if row not in drawn]
        total += sum(out) / len(out) if out else best.accuracy
    return total / samples


def table(
    problem: Problem, trials: Sequence[Trial], won: Trial, skipped: Mapping[str, tuple[str, str]]
) -> list[Candidate]:
    """How every candidate did; `skipped` gives kind and reason of those that were not judged, or refused."""
    return [*_judged(problem, trials, won), *_not_judged(skipped)]


def _judged(problem: Problem, trials: Sequence[Trial], won: Trial) -> Iterable[Candidate]:
    for trial in trials:
        yield Candidate(
            trial.name,
            trial.kind,
            trial is won,
            _verdict(trial, won),
            round(trial.accuracy, 6),
            round(trial.standard_error(problem), 6),
            trial.bytes,
            round(trial.microseconds, 1),
            round(trial.seconds, 3),
        )


def _not_judged(skipped: Mapping[str, tuple[str, str]]) -> Iterable[Candidate]:
    for name, (kind, why) in skipped.items():
        yield Candidate(name, kind, False, f"skipped: {why}")


def _verdict(trial: Trial, won: Trial) -> str:
    if trial is won:
        return "won"
    gap = (trial.accuracy - won.accuracy) * 100
    if round(gap, 1) == 0:
        return "as good, but larger" if trial.bytes > won.bytes else "as good"
    if gap > 0:
        return f"{gap:.1f} points better, within one standard error, but larger"
    return f"lost by {-gap:.1f} points"

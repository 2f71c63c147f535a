"""Complement naive Bayes on the standard library alone (Rennie et al. 2003), and readable keywords from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.table import Table, features_of, is_letters, quantise

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Problem, Rows

MANY_OUTPUTS = 0.5  # distinct outputs by rows from which outputs are no labels


def not_labels(problem: Problem) -> str | None:
    """Why a classifier cannot take the problem, or None."""
    if len(problem.labels) < 2:
        return f"every example has the output {problem.labels[0]!r}; a program needs at least two to tell apart"
    if len(problem) > 20 and len(problem.labels) > MANY_OUTPUTS * len(problem):
        return f"{len(problem.labels)} different outputs in {len(problem)} examples are no labels"
    return None


def rarities(problem: Problem, rows: Rows, letters: bool) -> dict[str, int]:
    """The squared idf of each feature that occurs often enough, rounded to the integer that the program keeps."""
    counts: dict[str, int] = {}
    for row in rows:
        for name in features_of(problem, row, letters):
            counts[name] = counts.get(name, 0) + 1
    least = 2 if len(rows) >= 200 else 1
    usable = {name: n for name, n in counts.items() if n >= least and "\t" not in name and "\n" not in name}
    return {
        name: max(1, min(88, round(_idf(n, len(rows)) ** 2 * (0.25 if is_letters(name) else 1))))
        for name, n in usable.items()
    }


def _idf(count: int, n: int) -> float:
    return math.log((1 + n) / (1 + count)) + 1


@dataclass(frozen=True)
class NaiveBayes:
    """`most` bounds the features of the program; `letters` adds runs of letters to words."""

    name: str = "naive Bayes"
    kind: str = "ml"
    most: int = 6000
    letters: bool = True
    smoothing: float = 0.1

    def refuses(self, problem: Problem) -> str | None:
        return not_labels(problem)

    def fit(self, problem: Problem, rows: Rows, seed: int) -> Table:
        rarity = rarities(problem, rows, self.letters)
        labels = sorted({problem.codes[row] for row in rows})
        place = {code: at for at, code in enumerate(labels)}
        sums: dict[str, list[float]] = {name: [0.0] * len(labels) for name in rarity}
        totals = [0.0] * len(labels)
        for row in rows:
            at = place[problem.codes[row]]
            names = [name for name in features_of(problem, row, self.letters) if name in rarity]
            length = math.sqrt(sum(rarity[name] for name in names) or 1)
            for name in names:
                value = math.sqrt(rarity[name]) / length
                sums[name][at] += value
                totals[at] += value
        weights = self._weights(sums, totals)
        kept = sorted(weights, key=lambda name: (-_spread(weights[name]), name))[: self.most]
        used = {name: [w * math.sqrt(rarity[name]) for w in weights[name]] for name in kept}
        outputs = [problem.labels[code] for code in labels]
        title = f"table of {len(used)} weighted words" + (" and runs of letters" if self.letters else "")
        return quantise(outputs, used, rarity, [0.0] * len(labels), self.letters, title)

    def _weights(self, sums: dict[str, list[float]], totals: list[float]) -> dict[str, list[float]]:
        """For each label, minus the log of how common the feature is among all the others."""
        alpha, whole = self.smoothing, sum(totals)
        rest = [whole - total + alpha * len(sums) for total in totals]
        found = {}
        for name, row in sums.items():
            everywhere = sum(row) + alpha
            logs = [-math.log((everywhere - own) / other) for own, other in zip(row, rest, strict=True)]
            middle = sum(logs) / len(logs)
            found[name] = [value - middle for value in logs]
        return found


def _spread(row: list[float]) -> float:
    return max(row) - min(row)


def candidates() -> list[NaiveBayes]:
    """Naive Bayes in full, and as a short list of keywords that people can read."""
    return [NaiveBayes(), NaiveBayes("keywords", "rule", 60, letters=False)]

"""Complement naive Bayes on the standard library alone (Rennie et al. 2003), and readable keywords from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.table import Table
from loopai_runtime.synthesis.vocabulary import Vocabulary

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


@dataclass(frozen=True)
class NaiveBayes:
    """`most` bounds the features of the program; `letters` adds runs of letters to words."""

    name: str = "naive Bayes"
    kind: str = "ml"
    most: int = 6000
    letters: bool = True
    smoothing: float = 0.1

    @property
    def names(self) -> list[str]:
        return [self.name]

    def refuses(self, problem: Problem) -> str | None:
        return not_labels(problem)

    def fit(self, problem: Problem, rows: Rows, seed: int) -> list[Table]:
        words = Vocabulary.of(problem, self.letters)
        rarity = words.rarities(rows)
        root = {at: math.sqrt(value) for at, value in rarity.items()}
        labels = sorted({problem.codes[row] for row in rows})
        place = {code: at for at, code in enumerate(labels)}
        sums: dict[int, dict[int, float]] = {at: {} for at in rarity}
        totals = [0.0] * len(labels)
        for row in rows:
            label = place[problem.codes[row]]
            known = [at for at in words.rows[row] if at in rarity]
            length = math.sqrt(sum([rarity[at] for at in known]) or 1)
            for at in known:
                own = sums[at]
                own[label] = own.get(label, 0.0) + root[at] / length
            totals[label] += sum([root[at] for at in known]) / length
        drift, gains = self._weights(sums, totals)
        strength = {at: max(drift[label] + gain for label, gain in own.items()) for at, own in gains.items()}
        kept = sorted(gains, key=lambda at: (-strength[at], words.names[at]))[: self.most]
        used = {words.names[at]: _centred(drift, gains[at], root[at]) for at in kept}
        outputs = [problem.labels[code] for code in labels]
        title = f"table of {len(used)} weighted words" + (" and runs of letters" if self.letters else "")
        kept_rarity = {words.names[at]: rarity[at] for at in kept}
        return [Table(outputs, used, kept_rarity, [0.0] * len(labels), self.letters, title)]

    def _weights(
        self, sums: dict[int, dict[int, float]], totals: list[float]
    ) -> tuple[list[float], dict[int, dict[int, float]]]:
        """A feature speaks for a label by minus the log of how common it is among all the other labels.

        That is the sum of what only depends on the label, and of a gain for the few labels that have the feature.
        """
        whole, prior = sum(totals), self.smoothing * len(sums)
        rest = [math.log(whole - total + prior) for total in totals]
        middle = sum(rest) / len(rest)
        gains = {}
        for at, row in sums.items():
            everywhere = sum(row.values()) + self.smoothing
            gains[at] = {label: math.log(everywhere / (everywhere - own)) for label, own in row.items()}
        return [value - middle for value in rest], gains


def _centred(drift: list[float], gains: dict[int, float], root: float) -> list[float]:
    """A feature's weights for all labels, around 0."""
    mean = sum(gains.values()) / len(drift)
    return [(value + gains.get(label, 0.0) - mean) * root for label, value in enumerate(drift)]


def candidates() -> list[NaiveBayes]:
    """Naive Bayes in full, and as a short list of keywords that people can read."""
    return [NaiveBayes(), NaiveBayes("keywords", "rule", 60, letters=False)]

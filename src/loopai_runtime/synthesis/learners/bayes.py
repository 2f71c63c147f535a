"""Complement naive Bayes on the standard library alone (Rennie et al. 2003), and readable keywords from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.sizes import fitting, room
from loopai_runtime.synthesis.learners.targets import Targets, not_labels
from loopai_runtime.synthesis.table import Table
from loopai_runtime.synthesis.vocabulary import Reading, Vocabulary

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Problem, Rows

Sums = dict[int, dict[int, float]]
"""For each feature how much of it each label has: only labels that have some."""

SAMPLE = 300  # rows that tell how widely scores spread
SHARPNESS = 3.0  # standard deviations of scores to a log-likelihood; calibration does the rest


@dataclass(frozen=True)
class NaiveBayes:
    """`most` bounds the features of the program beside its size; `letters` adds runs of letters to words."""

    name: str = "naive Bayes"
    kind: str = "ml"
    most: int = 20_000
    letters: bool = True
    smoothing: float = 0.1

    @property
    def names(self) -> list[str]:
        return [self.name]

    def refuses(self, problem: Problem) -> str | None:
        return not_labels(problem)

    def fit(self, problem: Problem, rows: Rows, seed: int) -> list[Table]:
        words = Vocabulary.of(problem, Reading.of(problem, self.letters))
        targets = Targets.of(problem, rows, words)
        rows, size = targets.rows, len(targets.labels)
        rarity = words.rarities(rows)
        order = self._strongest(words, rows, targets, rarity)[: self.most]
        kept = order[: fitting((words.names[at] for at in order), count(), size, room(size))]
        rarity = {at: rarity[at] for at in kept}
        weights = self._weights(*_count(words, rows, targets, rarity), targets.many)
        used = {at: [value * math.sqrt(rarity[at]) for value in weights[at]] for at in kept}
        step = 1 if targets.many else 1 + len(rows) // SAMPLE
        scores = [_scores(words, row, used, rarity, size) for row in rows[::step]]
        return [
            Table(
                targets.labels,
                {words.names[at]: used[at] for at in kept},
                {words.names[at]: rarity[at] for at in kept},
                _thresholds(scores, targets) if targets.many else [0.0] * size,
                words.reading,
                f"table of {len(used)} weighted words" + (" and runs of letters" if self.letters else ""),
                float(f"{SHARPNESS / (_spread(scores) or 1.0):.6g}"),
                targets.many,
                targets.never_empty,
            )
        ]

    def _strongest(self, words: Vocabulary, rows: Rows, targets: Targets, rarity: dict[int, int]) -> list[int]:
        """Features by how far they part the labels and how much of them there is, the strongest first."""
        sums, totals = _count(words, rows, targets, rarity)
        strength = {
            at: (max(map(abs, own)) if targets.many else max(own) - min(own)) * math.sqrt(sum(sums[at].values()))
            for at, own in self._weights(sums, totals, targets.many).items()
        }
        return sorted(strength, key=lambda at: (-strength[at], words.names[at]))

    def _weights(self, sums: Sums, totals: list[float], many: bool) -> dict[int, list[float]]:
        """How much a feature speaks for each label."""
        return self._present_or_not(sums, totals) if many else self._complement(sums, totals)

    def _complement(self, sums: Sums, totals: list[float]) -> dict[int, list[float]]:
        """For a label speaks minus the log of how common a feature is among all the other labels; around 0.

        That is the sum of what only depends on the label, and of a gain for the few labels that have the feature.
        """
        size, whole, prior = len(totals), sum(totals), self.smoothing * len(sums)
        rest = [math.log(whole - total + prior) for total in totals]
        middle = sum(rest) / size
        found = {}
        for at, row in sums.items():
            everywhere = sum(row.values()) + self.smoothing
            gains = {label: math.log(everywhere / (everywhere - own)) for label, own in row.items()}
            mean = sum(gains.values()) / size + middle
            found[at] = [value + gains.get(label, 0.0) - mean for label, value in enumerate(rest)]
        return found

    def _present_or_not(self, sums: Sums, totals: list[float]) -> dict[int, list[float]]:
        """Each label by itself: how common a feature is where the label is, against where it is not."""
        size, prior = len(totals) - 1, self.smoothing * len(sums)
        drift = [math.log((totals[size] - total + prior) / (total + prior)) for total in totals[:size]]
        found = {}
        for at, row in sums.items():
            pairs = [(row.get(label, 0.0) + self.smoothing, row[size]) for label in range(size)]
            found[at] = [
                shift + math.log(own / (every - own + 2 * self.smoothing))
                for shift, (own, every) in zip(drift, pairs, strict=True)
            ]
        return found


def _count(words: Vocabulary, rows: Rows, targets: Targets, rarity: dict[int, int]) -> tuple[Sums, list[float]]:
    """What each feature and each label come to, an input being a vector of length 1; of lists, also all rows."""
    root = {at: math.sqrt(value) for at, value in rarity.items()}
    sums: Sums = {at: {} for at in rarity}
    size = len(targets.labels)
    totals = [0.0] * (size + targets.many)
    for row, marks in zip(rows, targets.marks, strict=True):
        known = [at for at in words.rows[row] if at in rarity]
        length = math.sqrt(sum([rarity[at] for at in known]) or 1)
        for label in (*marks, size) if targets.many else marks:
            for at in known:
                own = sums[at]
                own[label] = own.get(label, 0.0) + root[at] / length
            totals[label] += sum([root[at] for at in known]) / length
    return sums, totals


def _scores(
    words: Vocabulary, row: int, used: dict[int, list[float]], rarity: dict[int, int], size: int
) -> list[float]:
    known = [at for at in words.rows[row] if at in used]
    length = math.sqrt(sum([rarity[at] for at in known]) or 1)
    return [sum([used[at][label] for at in known]) / length for label in range(size)]


def _spread(scores: list[list[float]]) -> float:
    values = [value for own in scores for value in own]
    mean = sum(values) / len(values)
    return math.sqrt(sum([(value - mean) ** 2 for value in values]) / len(values))


def _thresholds(scores: list[list[float]], targets: Targets) -> list[float]:
    """For each label minus the score that best parts the rows that have it from those that do not."""
    found = []
    for label in range(len(targets.labels)):
        ordered = sorted((own[label], label in marks) for own, marks in zip(scores, targets.marks, strict=True))
        wrong = sum(not has for _, has in ordered)  # all of them chosen
        best, cut = wrong, ordered[0][0] - 1e-3
        for at, (value, has) in enumerate(ordered):
            wrong += 1 if has else -1
            above = ordered[at + 1][0] if at + 1 < len(ordered) else value + 2e-3
            if wrong < best and above > value:
                best, cut = wrong, (value + above) / 2
        found.append(float(f"{-cut:.6g}"))
    return found


def candidates() -> list[NaiveBayes]:
    """Naive Bayes in full, and as a short list of keywords that people can read."""
    return [NaiveBayes(), NaiveBayes("keywords", "rule", 60, letters=False)]

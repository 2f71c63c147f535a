"""Rules that people can read: a list of features, each with an answer (Rivest 1987), the most precise first.

Of the rows that no earlier rule answers, the next rule takes the feature whose answer is most surely right, by a
cautious estimate. The list ends where no feature says more than the most common label.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis import listing
from loopai_runtime.synthesis.learners.targets import Targets, are_lists, not_labels
from loopai_runtime.synthesis.strategy import JSON, Calibration, Prediction
from loopai_runtime.synthesis.vocabulary import Reading, Vocabulary

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Problem, Rows

MOST = 250
CAUTION = 1.0
MIN_ROWS, MIN_SHARE = 2, 1 / 500  # of the rows that a rule must apply to where it is learned


class Rule(NamedTuple):
    """A feature, what it answers, and the evidence: the log of the odds that the answer is right."""

    feature: str
    output: JSON
    evidence: float


@dataclass(frozen=True)
class RuleList:
    """Rules as they are tried, and what is answered where none applies."""

    rules: list[Rule]
    otherwise: Rule
    reading: Reading

    @property
    def features(self) -> int:
        return len(self.rules)

    def first(self, words: Vocabulary, row: int, places: dict[str, int]) -> Rule | None:
        """The first rule that applies to a row; `places` tells where in the list a feature's rule is."""
        found = [places[name] for at in words.rows[row] if (name := words.names[at]) in places]
        return self.rules[min(found)] if found else None

    @property
    def places(self) -> dict[str, int]:
        return {rule.feature: at for at, rule in enumerate(self.rules)}

    def predict(self, problem: Problem, rows: Rows) -> list[Prediction]:
        words, places = Vocabulary.of(problem, self.reading), self.places
        return [
            Prediction(rule.output, rule.evidence)
            for rule in (self.first(words, row, places) or self.otherwise for row in rows)
        ]

    def emit(self, problem: Problem, calibration: Calibration) -> str:
        _, output, evidence = self.otherwise
        data = [listing.rules(self.rules), f"OTHERWISE = {(output, evidence)!r}"]
        return listing.program(
            problem, calibration, f"list of {len(self.rules)} rules", self.reading, data, listing.RULED
        )


@dataclass(frozen=True)
class DecisionList:
    """The strategy."""

    kind: str = "rule"

    @property
    def names(self) -> list[str]:
        return ["rules"]

    def refuses(self, problem: Problem) -> str | None:
        return "rules give one label, and outputs are lists" if are_lists(problem) else not_labels(problem)

    def fit(self, problem: Problem, rows: Rows, seed: int) -> list[RuleList]:
        return [learn(problem, rows, MOST)]


def learn(problem: Problem, rows: Rows, most: int) -> RuleList:
    """At most so many rules from these rows, and the answer where none applies."""
    words = Vocabulary.of(problem, Reading.of(problem, letters=False))
    targets = Targets.of(problem, rows, words)
    open_rows = _Open(words, targets.rows, [label for (label,) in targets.marks])
    rules: list[Rule] = []
    while len(rules) < most and (found := open_rows.surest()):
        at, label = found
        counts = open_rows.counts[at]
        rules.append(Rule(words.names[at], targets.labels[label], _odds(counts[label], counts.total())))
        open_rows.close(at)
    left = open_rows.left if open_rows.left.total() else Counter(open_rows.codes)
    label, hits = left.most_common(1)[0]
    return RuleList(rules, Rule("", targets.labels[label], _odds(hits, left.total())), words.reading)


class _Open:
    """The rows that no rule answers yet, how many of each label they are, in all and of each feature."""

    def __init__(self, words: Vocabulary, rows: Rows, codes: list[int]) -> None:
        self.words = words
        self.rows = rows
        self.codes = codes
        self.left = Counter(codes)
        self.answered = [False] * len(codes)
        self.least = max(MIN_ROWS, round(MIN_SHARE * len(codes)))
        self.counts: dict[int, Counter[int]] = {at: Counter() for at in words.rarities(rows)}
        self.holders: dict[int, list[int]] = {at: [] for at in self.counts}
        for place, row in enumerate(rows):
            for at in words.rows[row]:
                if at in self.counts:
                    self.holders[at].append(place)
                    self.counts[at][codes[place]] += 1
        self._drop()

    def surest(self) -> tuple[int, int] | None:
        """The feature that is most surely right, and its answer, if any is better than a guess."""
        best: tuple[int, int] | None = None
        bar = (max(self.left.values()) / (self.left.total() or 1), "")
        for at, counts in self.counts.items():
            label, hits = max(counts.items(), key=lambda item: (item[1], -item[0]))
            sure = (_lower(hits, counts.total()), self.words.names[at])
            if sure > bar:
                best, bar = (at, label), sure
        return best

    def close(self, at: int) -> None:
        """Answer the rows that have a feature."""
        for place in self.holders[at]:
            if not self.answered[place]:
                self.answered[place] = True
                self.left[self.codes[place]] -= 1
                for other in self.words.rows[self.rows[place]]:
                    if other in self.counts:
                        self.counts[other][self.codes[place]] -= 1
        self._drop()

    def _drop(self) -> None:
        self.counts = {at: counts for at, counts in self.counts.items() if counts.total() >= self.least}


def _lower(hits: int, rows: int) -> float:
    """A cautious share of right answers: a posterior's mean less `CAUTION` standard deviations."""
    mean = (hits + 0.5) / (rows + 1)
    return mean - CAUTION * math.sqrt(mean * (1 - mean) / (rows + 2))


def _odds(hits: int, rows: int) -> float:
    return round(math.log((hits + 0.5) / (rows - hits + 0.5)), 4)


def candidates() -> list[DecisionList]:
    return [DecisionList()]

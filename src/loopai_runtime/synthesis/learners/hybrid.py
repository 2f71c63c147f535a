"""A few rules before a table, each surer than the table where it applies.

Rules and table are learned from either half of the rows and judged on the other. A rule is kept if the lower bound
of its accuracy there beats what the table reached on the same rows.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.intervals import lower_bound
from loopai_runtime.synthesis import listing
from loopai_runtime.synthesis.learners.bayes import NaiveBayes
from loopai_runtime.synthesis.learners.linear import Linear
from loopai_runtime.synthesis.learners.rules import Rule, learn
from loopai_runtime.synthesis.learners.targets import are_lists, not_labels
from loopai_runtime.synthesis.strategy import JSON, Calibration, Prediction
from loopai_runtime.synthesis.vocabulary import Reading, Vocabulary

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Problem, Rows
    from loopai_runtime.synthesis.table import Table

CONFIDENCE = 0.9
MOST = 100  # rules that are tried
FEW = 20  # rows from which a half teaches anything


@dataclass(frozen=True)
class Ruled:
    """A table, and the rules that go before it."""

    rules: list[Rule]
    table: Table

    @property
    def features(self) -> int:
        return len(self.rules) + self.table.features

    def predict(self, problem: Problem, rows: Rows) -> list[Prediction]:
        words = Vocabulary.of(problem, self.table.reading)
        answers = []
        for row, answer in zip(rows, self.table.predict(problem, rows), strict=True):
            names = {words.names[at] for at in words.rows[row]}
            rule = next((rule for rule in self.rules if rule.feature in names), None)
            answers.append(Prediction(rule.output, rule.evidence, answer.novelty) if rule else answer)
        return answers

    def emit(self, problem: Problem, calibration: Calibration) -> str:
        kind = f"{self.table.title} behind {len(self.rules)} rules"
        data = [self.table.text, listing.rules(self.rules)]
        return listing.program(problem, calibration, kind, self.table.reading, data, listing.BOTH)


@dataclass(frozen=True)
class Hybrid:
    """The strategy."""

    kind: str = "hybrid"

    @property
    def names(self) -> list[str]:
        return ["hybrid"]

    def refuses(self, problem: Problem) -> str | None:
        return "rules give one label, and outputs are lists" if are_lists(problem) else not_labels(problem)

    def fit(self, problem: Problem, rows: Rows, seed: int) -> list[Ruled]:
        table = _table(problem, rows, seed)
        words = Vocabulary.of(problem, Reading.of(problem, letters=False))
        supported = {words.names[at] for at in words.rarities(rows)}
        rules = [rule for rule in _surer(_records(problem, rows, seed)) if rule.feature in supported]
        return [Ruled(rules, table)]


Record = dict[tuple[str, bytes], list[tuple[JSON, bool, bool]]]
"""For a rule (feature, answer) the rows it applied to unseen: its answer, was it right, was the table right."""


def _table(problem: Problem, rows: Rows, seed: int) -> Table:
    if find_spec("sklearn") is None:
        return NaiveBayes().fit(problem, rows, seed)[0]
    return Linear().usual(problem, rows, seed)


def _records(problem: Problem, rows: Rows, seed: int) -> Record:
    """How rules did on rows that neither they nor the table had learned from."""
    order = list(rows)
    random.Random(seed).shuffle(order)  # noqa: S311  a seed, not a secret
    halves = sorted(order[::2]), sorted(order[1::2])
    found: Record = defaultdict(list)
    for own, other in (halves, halves[::-1]):
        if len(own) < FEW or len({problem.codes[row] for row in own}) < 2:
            return {}
        rules = learn(problem, own, MOST)
        words, places = Vocabulary.of(problem, rules.reading), rules.places
        for row, answer in zip(other, _table(problem, own, seed).predict(problem, other), strict=True):
            if rule := rules.first(words, row, places):
                hits = [jsonl.canonical(output) == problem.keys[row] for output in (rule.output, answer.output)]
                found[rule.feature, jsonl.canonical(rule.output)].append((rule.output, hits[0], hits[1]))
    return found


def _surer(known: Record) -> list[Rule]:
    """The rules that beat the table, the surest first."""
    rules = []
    for (feature, _), record in known.items():
        n, hits, table = len(record), sum(one[1] for one in record), sum(one[2] for one in record)
        if lower_bound(hits, n, CONFIDENCE) > table / n:
            evidence = math.log((hits + 0.5) / (n - hits + 0.5))
            rules.append(Rule(feature, record[0][0], round(evidence, 4)))
    return sorted(rules, key=lambda rule: (-rule.evidence, rule.feature))


def candidates() -> list[Hybrid]:
    return [Hybrid()]

"""The model that all linear learners end in: a table of small integers, and the program that looks things up.

Each feature has one weight a label, an integer from -44 to 44 with a scale for each label, and its squared
rarity (idf), from which the length of the input is taken. A score is `bias + scale * sum of weights / length`.
In memory a feature is one integer with 24 bits a label, so that adding its weights for all labels is a single
addition; `listing` writes the program.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from loopai_runtime.synthesis import listing
from loopai_runtime.synthesis.strategy import JSON, Calibration, Prediction, Problem, Rows
from loopai_runtime.synthesis.vocabulary import Reading, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORIGIN = 79  # the character code of a weight of 0; codes 35 to 123 are plain ASCII
LARGEST = 44
LANE = 24  # bits a weight: room for 2**24 / 123 features in one input


@dataclass(frozen=True)
class Table:
    """A trained model, quantised as it is used: `weights[feature]` has a number for each label.

    An answer is the label with the highest score, and the evidence for it the log of its odds against all others
    together, `sharpness` times a score being a log-likelihood. Where outputs are lists (`many`), the answer is
    every label that scores above 0, the best one if none does and the list is `never_empty`; the evidence is how
    far the nearest score is from changing that.
    """

    labels: list[JSON]
    weights: Mapping[str, Sequence[float]]
    rarity: Mapping[str, int]
    biases: list[float]
    reading: Reading
    title: str
    sharpness: float = 1.0
    many: bool = False
    never_empty: bool = False
    _packed: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def features(self) -> int:
        return len(self.weights)

    @cached_property
    def scales(self) -> list[float]:
        """What one step of each label's integers is worth."""
        columns = zip(*self.weights.values(), strict=True) if self.weights else [[0.0]] * len(self.labels)
        return [float(f"{(max(map(abs, column)) or 1.0) / LARGEST:.6g}") for column in columns]

    def row(self, name: str) -> tuple[int, ...]:
        """A feature's weights in steps of `scales`, then its rarity."""
        steps = [round(w / scale) for w, scale in zip(self.weights[name], self.scales, strict=True)]
        return (*[max(-LARGEST, min(LARGEST, step)) for step in steps], self.rarity[name])

    def rows(self) -> list[tuple[str, tuple[int, ...]]]:
        """All features, the strongest first."""
        found = [(name, self.row(name)) for name in self.weights]
        return sorted(found, key=lambda item: (-max(map(abs, item[1][:-1])), item[0]))

    def scores(self, rows: Sequence[int]) -> list[float]:
        """The score of each label, from packed rows; the program computes the same, operation by operation."""
        total, size = sum(rows), len(self.labels)
        length = math.sqrt((total >> LANE * size) - 35 * len(rows) or 1)
        sums = [((total >> LANE * at) & 0xFFFFFF) - ORIGIN * len(rows) for at in range(size)]
        return [
            bias + scale * part / length for bias, scale, part in zip(self.biases, self.scales, sums, strict=True)
        ]

    def predict(self, problem: Problem, rows: Rows) -> list[Prediction]:
        words = Vocabulary.of(problem, self.reading)
        numbers = {at: self._number(words.names[at]) for at in set().union(*[words.rows[row] for row in rows])}
        return [self._answer([numbers[at] for at in words.rows[row]]) for row in rows]

    def _number(self, name: str) -> int:
        """A feature's row as programs keep it in memory; 0 for one that the model does not have."""
        if name not in self._packed:
            self._packed[name] = pack(characters(self.row(name))) if name in self.weights else 0
        return self._packed[name]

    def _answer(self, found: Sequence[int]) -> Prediction:
        known = [row for row in found if row]
        scores = self.scores(known)
        novelty = 1 - len(known) / (len(found) or 1)
        if self.many:
            return Prediction(self._list(scores), self.sharpness * min(map(abs, scores)), novelty)
        return Prediction(self.labels[scores.index(max(scores))], self._evidence(scores), novelty)

    def _list(self, scores: Sequence[float]) -> list[JSON]:
        chosen = [label for label, score in zip(self.labels, scores, strict=True) if score > 0]
        return chosen or ([self.labels[scores.index(max(scores))]] if self.never_empty else [])

    def _evidence(self, scores: Sequence[float]) -> float:
        *others, best = sorted(scores)
        rivals = sum([math.exp(self.sharpness * (score - others[-1])) for score in others])
        return self.sharpness * (best - others[-1]) - math.log(rivals)

    def emit(self, problem: Problem, calibration: Calibration) -> str:
        """The program's source."""
        data = [self.text] + ([f"NEVER_EMPTY = {self.never_empty}"] if self.many else [])
        answer = listing.MANY if self.many else listing.ONE
        if problem.signs:
            data, answer = [problem.signs.source, *data], listing.with_signs(answer)
        return listing.program(problem, calibration, self.title, self.reading, data, answer)

    @cached_property
    def text(self) -> str:
        """The table as it stands in programs."""
        rows = self.rows()
        packed: dict[str, list[str]] = {}
        for name, row in rows:
            packed.setdefault(characters(row), []).append(name)
        return listing.table(self.labels, self.biases, self.scales, self.sharpness, rows, packed)


def characters(row: tuple[int, ...]) -> str:
    """A row as the program has it: a character a weight, one for the rarity."""
    return "".join([chr(ORIGIN + weight) for weight in row[:-1]]) + chr(ORIGIN - 44 + row[-1])


def pack(text: str) -> int:
    return int.from_bytes("\0\0".join(text).encode("ascii"), "little")

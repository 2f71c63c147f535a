"""The model that all linear learners end in: a table of small integers, and the program that looks things up.

Each feature has one weight a class, an integer from -44 to 44 with a scale for each class, and its squared
rarity (idf), from which the length of the input is taken. A score is `bias + scale * sum of weights / length`.
In the program a row is a text of one character a weight, and in memory one integer with 24 bits a weight, so
that adding a feature's weights for all classes is a single addition. A table of few features is written so
that people can read and edit it instead.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.synthesis import features
from loopai_runtime.synthesis.strategy import JSON, Calibration, Prediction, Problem, Rows
from loopai_runtime.synthesis.vocabulary import EMITTED, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORIGIN = 79  # the character code of a weight of 0; codes 35 to 123 are plain ASCII
LARGEST = 44
LANE = 24  # bits a weight: room for 2**24 / 123 features in one input
READABLE = 100  # features up to which a table is written for people


@dataclass(frozen=True)
class Table:
    """A trained model, quantised as it is used: `weights[feature]` has a number for each label."""

    labels: list[JSON]
    weights: Mapping[str, Sequence[float]]
    rarity: Mapping[str, int]
    biases: list[float]
    letters: bool
    title: str
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

    def scores(self, rows: Sequence[int]) -> list[float]:
        """The score of each label, from packed rows; the program computes the same, operation by operation."""
        total, size = sum(rows), len(self.labels)
        length = math.sqrt((total >> LANE * size) - 35 * len(rows) or 1)
        sums = [((total >> LANE * at) & 0xFFFFFF) - ORIGIN * len(rows) for at in range(size)]
        return [
            bias + scale * part / length for bias, scale, part in zip(self.biases, self.scales, sums, strict=True)
        ]

    def predict(self, problem: Problem, rows: Rows) -> list[Prediction]:
        words = Vocabulary.of(problem, self.letters)
        numbers = {at: self._number(words.names[at]) for at in set().union(*[words.rows[row] for row in rows])}
        return [self._answer([numbers[at] for at in words.rows[row] if numbers[at]]) for row in rows]

    def _number(self, name: str) -> int:
        """A feature's row as programs keep it in memory; 0 for one that the model does not have."""
        if name not in self._packed:
            self._packed[name] = _pack(_characters(self.row(name))) if name in self.weights else 0
        return self._packed[name]

    def _answer(self, rows: Sequence[int]) -> Prediction:
        scores = self.scores(rows)
        best = max(scores)
        second = sorted(scores)[-2]
        return Prediction(self.labels[scores.index(best)], best - second)

    def emit(self, problem: Problem, calibration: Calibration) -> str:
        """The program's source."""
        return _PROGRAM.format(
            title=_comment(f"{problem.name}: {problem.description}"),
            kind=self.title,
            labels=jsonl_literal(self.labels),
            biases=repr(self.biases),
            scales=repr(self.scales),
            slope=calibration.slope,
            offset=calibration.offset,
            limit=features.MAX_CHARACTERS,
            token=ascii(features.TOKEN.pattern),
            functions="\n\n".join(inspect.getsource(part) for part in EMITTED),
            letters=self.letters,
            table=_for_people(self) if self.features <= READABLE else _for_machines(self),
        )


def jsonl_literal(value: Any) -> str:
    """A JSON value as a Python literal of ASCII escapes where a character does not print."""
    return repr(value) if jsonl.canonical(value) else "None"


def _comment(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return plain[:200].replace("\\", "/").replace('"', "'")


def _characters(row: tuple[int, ...]) -> str:
    return "".join([chr(ORIGIN + weight) for weight in row[:-1]]) + chr(ORIGIN - 44 + row[-1])


def _pack(characters: str) -> int:
    return int.from_bytes("\0\0".join(characters).encode("ascii"), "little")


def _strongest_first(table: Table) -> list[tuple[str, tuple[int, ...]]]:
    rows = [(name, table.row(name)) for name in table.weights]
    return sorted(rows, key=lambda item: (-max(map(abs, item[1][:-1])), item[0]))


def _for_people(table: Table) -> str:
    lines = [f"    {name!r}: {row!r}," for name, row in _strongest_first(table)]
    return _READABLE.format(rows="\n".join(lines))


def _for_machines(table: Table) -> str:
    lines = [_escaped(_characters(row) + name) for name, row in _strongest_first(table)]
    return _DENSE.format(rows="\n".join(lines))


def _escaped(text: str) -> str:
    """Text as it stands between three quotes: itself where it prints."""
    return "".join(c if c.isprintable() and c not in '"\\' else repr(c)[1:-1].replace('"', '\\"') for c in text)


_READABLE = """\
# A feature: how much it speaks for each label (-44 to 44, in the order of LABELS), then its rarity.
WEIGHTS = {{
{rows}
}}
# In memory a feature is one number with 24 bits a label: one addition adds its weights for all labels.
TABLE = {{
    name: sum([(number + (79 if at < len(LABELS) else 35)) << 24 * at for at, number in enumerate(row)])
    for name, row in WEIGHTS.items()
}}"""

_DENSE = '''\
# A line a feature, the strongest first: a character for each label (its code less 79 is the weight, from -44
# to 44), one for the feature's rarity (its code less 35), the feature.
ROWS = """
{rows}
"""
# In memory a feature is one number with 24 bits a label: one addition adds its weights for all labels.
WIDTH = len(LABELS) + 1
TABLE = {{
    row[WIDTH:]: int.from_bytes("\\0\\0".join(row[:WIDTH]).encode("ascii"), "little")
    for row in ROWS[1:-1].split("\\n")
}}'''

_PROGRAM = '''"""{title}

A {kind}. Standard library alone; defines run, score and explain.
"""

import math
import re
from typing import Any

LABELS = {labels}
BIASES = {biases}
SCALES = {scales}

# Confidence: how often an answer with such a lead over the second one was right on examples not seen.
SLOPE, OFFSET = {slope!r}, {offset!r}

MAX_CHARACTERS = {limit}
TOKEN = re.compile({token})
DIGIT = re.compile("[0-9]")

{table}


{functions}

def known(value: Any) -> list[int]:
    """The rows of the features that the input has."""
    return [TABLE[name] for name in found(value, {letters}) if name in TABLE]


def scores(rows: list[int]) -> list[float]:
    """The score of each label: its bias, and its weights divided by the length of the input."""
    total = sum(rows)
    size = len(LABELS)
    length = math.sqrt((total >> 24 * size) - 35 * len(rows) or 1)
    sums = [((total >> 24 * at) & 0xFFFFFF) - 79 * len(rows) for at in range(size)]
    return [bias + scale * part / length for bias, scale, part in zip(BIASES, SCALES, sums)]


def score(input_data: Any) -> tuple[Any, float]:
    """The answer, and the probability that it is right."""
    points = scores(known(input_data))
    best = max(points)
    lead = best - sorted(points)[-2]
    odds = max(-30.0, min(30.0, SLOPE * lead + OFFSET))
    return LABELS[points.index(best)], 1 / (1 + math.exp(-odds))


def run(input_data: Any) -> Any:
    """The answer."""
    return score(input_data)[0]


def explain(input_data: Any) -> list[dict[str, Any]]:
    """The features that spoke most for or against the answer, with their weights."""
    points = scores(known(input_data))
    at = points.index(max(points))
    names = [name for name in found(input_data, {letters}) if name in TABLE]
    weights = [(SCALES[at] * (((TABLE[name] >> 24 * at) & 255) - 79), name) for name in names]
    weights.sort(key=lambda pair: (-abs(pair[0]), pair[1]))
    return [{{"feature": name, "weight": round(weight, 4)}} for weight, name in weights[:12]]
'''

"""The model that all linear learners end in: a table of small integers, and the program that looks things up.

Each feature has one weight a class, an integer from -44 to 44 with a scale for each class, and its squared
rarity (idf), from which the length of the input is taken. A score is `bias + scale * sum of weights / length`.
In the program a row of weights is a text of one character a weight, and in memory one integer with 24 bits a
weight, so that adding a feature's weights for all classes is a single addition.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.synthesis import features
from loopai_runtime.synthesis.strategy import JSON, Calibration, Prediction, Problem, Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORIGIN = 79  # the character code of a weight of 0; codes 35 to 123 are plain ASCII
LARGEST = 44
LANE = 24  # bits a weight: room for 2**24 / 123 features in one input
LONGEST = 4  # characters of the longest letter feature


def found(value: Any, letters: bool) -> list[str]:
    """The distinct features of an input, in the order they come."""
    items = leaves(value)
    texts = [item for path, item in items if isinstance(item, str)]
    names = facts(items, {}, ())
    for path, item in items:
        if isinstance(item, str):
            prefix = f"{path}:" if len(texts) > 1 else ""
            written = tokens(item)
            names += [prefix + name for name in word_features(written)]
            if letters:
                for word in dict.fromkeys([token.lower() for token in written]):
                    names += [prefix + name for name in letter_features(word, 4)]
    return list(dict.fromkeys(names))


tokens, word_features, letter_features = features.tokens, features.word_features, features.letter_features
leaves, facts = features.leaves, features.facts
_PARTS = (tokens, word_features, letter_features, leaves, facts, found)


def features_of(problem: Problem, row: int, letters: bool) -> list[str]:
    """`found` for one row, computed once a problem: it looks at the input alone."""
    memo = problem.memo.setdefault(("features", letters), {})
    if row not in memo:
        memo[row] = found(problem.inputs[row], letters)
    return memo[row]  # type: ignore[no-any-return]


def is_letters(name: str) -> bool:
    """Whether a feature is a run of letters and not a word; such say less each."""
    tail = name.rpartition(":")[2] or name
    return len(tail) > 1 and (tail[0] in "_~" or tail.endswith("_"))


@dataclass(frozen=True)
class Table:
    """A trained, quantised model. `rows[feature]` has a weight for each label, then the feature's rarity."""

    labels: list[JSON]
    rows: dict[str, tuple[int, ...]]
    scales: list[float]
    biases: list[float]
    letters: bool
    title: str

    @property
    def features(self) -> int:
        return len(self.rows)

    def scores(self, names: Sequence[str]) -> list[float]:
        """The score of each label; the program computes the same, operation by operation."""
        known = [self.rows[name] for name in names if name in self.rows]
        length = math.sqrt(sum(row[-1] for row in known) or 1)
        return [
            bias + scale * sum(row[at] for row in known) / length
            for at, (bias, scale) in enumerate(zip(self.biases, self.scales, strict=True))
        ]

    def predict(self, problem: Problem, rows: Rows) -> list[Prediction]:
        return [self._answer(features_of(problem, row, self.letters)) for row in rows]

    def _answer(self, names: Sequence[str]) -> Prediction:
        scores = self.scores(names)
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
            functions="\n\n".join(inspect.getsource(part) for part in _PARTS),
            letters=self.letters,
            table=_encoded(self.rows),
        )


def quantise(
    labels: list[JSON],
    weights: Mapping[str, Sequence[float]],
    rarity: dict[str, int],
    biases: Sequence[float],
    letters: bool,
    title: str,
) -> Table:
    """Round weights to integers, each class with a scale of its own."""
    largest = [max((abs(row[at]) for row in weights.values()), default=0.0) or 1.0 for at in range(len(labels))]
    scales = [float(f"{size / LARGEST:.6g}") for size in largest]
    rows = {
        name: (
            *(max(-LARGEST, min(LARGEST, round(w / s))) for w, s in zip(row, scales, strict=True)),
            rarity[name],
        )
        for name, row in weights.items()
    }
    return Table(labels, rows, scales, [float(f"{b:.6g}") for b in biases], letters, title)


def jsonl_literal(value: Any) -> str:
    """A JSON value as a Python literal of ASCII escapes where a character does not print."""
    return repr(value) if jsonl.canonical(value) else "None"


def _comment(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return plain[:200].replace("\\", "/").replace('"', "'")


def _encoded(rows: dict[str, tuple[int, ...]]) -> str:
    """The table as lines of string literals, several features a line."""
    lines: list[str] = []
    line = ""
    for name, row in sorted(rows.items(), key=lambda item: (-max(map(abs, item[1][:-1])), item[0])):
        line += (
            name + "\t" + "".join(chr(ORIGIN + weight) for weight in row[:-1]) + chr(ORIGIN - 44 + row[-1]) + "\n"
        )
        if len(line) > 90:
            lines.append("    " + repr(line))
            line = ""
    if line or not lines:
        lines.append("    " + repr(line))
    return "\n".join(lines)


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

# A feature, a tab, a character for each label (its code less 79 is the weight, from -44 to 44), and one for
# the feature's rarity (its code less 35). The strongest features come first.
ROWS = (
{table}
)
# In memory a feature is one number with 24 bits a label: one addition adds its weights for all labels.
TABLE = {{
    row[: row.index("\\t")]: int.from_bytes("\\0\\0".join(row[row.index("\\t") + 1 :]).encode("ascii"), "little")
    for row in ROWS.split("\\n")
    if row
}}


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

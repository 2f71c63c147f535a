"""Tables and rules written as programs. A table of few features is written so that people can read and edit it.

Whatever stands here in a template runs on Python 3.9, on the standard library alone, and passes the sandbox
policy; each function computes what the trained model computes, operation by operation.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from loopai_runtime.synthesis import features
from loopai_runtime.synthesis.vocabulary import EMITTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopai_runtime.synthesis.strategy import JSON, Calibration, Problem
    from loopai_runtime.synthesis.vocabulary import Reading

READABLE = 100  # features up to which a table is written for people


def table(
    labels: list[JSON],
    biases: list[float],
    scales: list[float],
    sharpness: float,
    rows: Sequence[tuple[str, tuple[int, ...]]],
    packed: Mapping[str, Sequence[str]],
) -> str:
    """A table's constants: `rows` are features with weights and rarity, `packed` what features each line has."""
    weights = (
        _READABLE.format(rows="\n".join(f"    {name!r}: {row!r}," for name, row in rows))
        if len(rows) <= READABLE
        else _DENSE.format(
            rows="\n".join(_escaped(row) + "\t".join(map(_escaped, n)) for row, n in packed.items())
        )
    )
    return _TABLE.format(labels=labels, biases=biases, scales=scales, sharpness=sharpness, table=weights)


def rules(given: Sequence[tuple[str, JSON, float]]) -> str:
    """Rules in the order they are tried: a feature, the answer, the evidence for it."""
    return _RULES.format(rules="\n".join(f"    {tuple(rule)!r}," for rule in given))


def program(
    problem: Problem, calibration: Calibration, kind: str, reading: Reading, data: Sequence[str], answer: str
) -> str:
    """A whole program: what it knows (`data`), how it reads an input, how it answers (`answer`)."""
    return _PROGRAM.format(
        title=_comment(f"{problem.name}: {problem.description}"),
        kind=kind,
        data="\n\n".join(data),
        slope=calibration.slope,
        offset=calibration.offset,
        doubt=calibration.doubt,
        limit=features.MAX_CHARACTERS,
        spelled=features.MAX_SPELLED,
        token=ascii(features.TOKEN.pattern),
        run=ascii(features.RUN.pattern),
        longest=reading.longest,
        main=repr(reading.main),
        cuts=repr({path: list(cuts) for path, cuts in reading.cuts.items()}),
        expected=repr(list(reading.expected)),
        functions="\n\n".join(inspect.getsource(part) for part in EMITTED),
        answer=answer,
    )


def with_signs(answer: str) -> str:
    """The same way of answering, which looks at `signs(value)` too."""
    return answer.replace(_FOUND, f"{_FOUND} + signs(value)")


def _comment(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return plain[:200].replace("\\", "/").replace('"', "'")


def _escaped(text: str) -> str:
    """Text as it stands between three quotes: itself where it prints."""
    return "".join(c if c.isprintable() and c not in '"\\' else repr(c)[1:-1].replace('"', '\\"') for c in text)


_FOUND = "found(value, LONGEST, MAIN, CUTS, EXPECTED)"

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
# The strongest features first. A line has a character for each label (its code less 79 is the weight, from -44
# to 44), one for rarity (its code less 35), and the features that weigh so, with tabs between them.
ROWS = """
{rows}
"""
# In memory a feature is one number with 24 bits a label: one addition adds its weights for all labels.
WIDTH = len(LABELS) + 1
TABLE = {{
    name: number
    for row in ROWS[1:-1].split("\\n")
    for number in [int.from_bytes("\\0\\0".join(row[:WIDTH]).encode("ascii"), "little")]
    for name in row[WIDTH:].split("\\t")
}}'''

_TABLE = """\
LABELS = {labels}
BIASES = {biases}
SCALES = {scales}
SHARPNESS = {sharpness!r}  # what a score is worth as a log-likelihood

{table}"""

_RULES = """\
# The first rule whose feature the input has gives the answer; the number is the evidence for it.
RULES = [
{rules}
]"""

_PROGRAM = '''"""{title}

A {kind}. Standard library alone; defines run, score and explain.
"""

import math
import re
from typing import Any

# How inputs are read: letters looked at together, the text without a prefix, cuts of numbers, usual fields.
LONGEST = {longest}
MAIN = {main}
CUTS = {cuts}
EXPECTED = {expected}

# Confidence: how often answers with such evidence, and with so much of the input unknown, were right on examples
# not seen.
SLOPE, OFFSET, DOUBT = {slope!r}, {offset!r}, {doubt!r}

MAX_CHARACTERS = {limit}
MAX_SPELLED = {spelled}  # different words of a text whose letters are read
TOKEN = re.compile({token})
RUN = re.compile({run})
DIGIT = re.compile("[0-9]")

{data}


{functions}

def probability(evidence: float, novelty: float) -> float:
    """How likely an answer is right."""
    odds = max(-30.0, min(30.0, SLOPE * evidence + OFFSET - DOUBT * novelty))
    return 1 / (1 + math.exp(-odds))


{answer}


def run(input_data: Any) -> Any:
    """The answer."""
    return score(input_data)[0]
'''

_KNOWN = '''\
def known(value: Any) -> tuple[list[str], float]:
    """The features of the input that the table has, and the share of those that it does not have."""
    names = found(value, LONGEST, MAIN, CUTS, EXPECTED)
    mine = [name for name in names if name in TABLE]
    return mine, 1 - len(mine) / (len(names) or 1)


def scores(names: list[str]) -> list[float]:
    """The score of each label: its bias, and its weights divided by the length of the input."""
    rows = [TABLE[name] for name in names]
    total = sum(rows)
    size = len(LABELS)
    length = math.sqrt((total >> 24 * size) - 35 * len(rows) or 1)
    sums = [((total >> 24 * at) & 0xFFFFFF) - 79 * len(rows) for at in range(size)]
    return [bias + scale * part / length for bias, scale, part in zip(BIASES, SCALES, sums)]


def strongest(names: list[str], at: int) -> list[dict[str, Any]]:
    """The features that spoke most for or against a label, with their weights."""
    weights = [(SCALES[at] * (((TABLE[name] >> 24 * at) & 255) - 79), name) for name in names]
    weights.sort(key=lambda pair: (-abs(pair[0]), pair[1]))
    return [{"feature": name, "weight": round(weight, 4)} for weight, name in weights[:12]]


'''

_BEST = '''\
def best(points: list[float]) -> tuple[int, float]:
    """The label that scores highest, and the log of its odds against all the others together."""
    ordered = sorted(points)
    second = ordered[-2]
    rivals = sum([math.exp(SHARPNESS * (point - second)) for point in ordered[:-1]])
    return points.index(ordered[-1]), SHARPNESS * (ordered[-1] - second) - math.log(rivals)


'''

ONE = (
    _KNOWN
    + _BEST
    + '''\
def score(input_data: Any) -> tuple[Any, float]:
    """The answer, and the probability that it is right."""
    names, novelty = known(input_data)
    at, evidence = best(scores(names))
    return LABELS[at], probability(evidence, novelty)


def explain(input_data: Any) -> list[dict[str, Any]]:
    """The features that spoke most for or against the answer, with their weights."""
    names, novelty = known(input_data)
    return strongest(names, best(scores(names))[0])'''
)
"""Answers with the best label of a table."""

MANY = (
    _KNOWN
    + '''\
def score(input_data: Any) -> tuple[Any, float]:
    """The labels that score above 0, and the probability that these and no others are right."""
    names, novelty = known(input_data)
    points = scores(names)
    chosen = [label for label, point in zip(LABELS, points) if point > 0]
    if NEVER_EMPTY and not chosen:
        chosen = [LABELS[points.index(max(points))]]
    return chosen, probability(SHARPNESS * min([abs(point) for point in points]), novelty)


def explain(input_data: Any) -> list[dict[str, Any]]:
    """The features that spoke most for or against each label that was chosen, with their weights."""
    names, novelty = known(input_data)
    chosen = score(input_data)[0]
    reasons = [(label, strongest(names, at)[:6]) for at, label in enumerate(LABELS) if label in chosen]
    return [{"label": label, **reason} for label, own in reasons for reason in own]'''
)
"""Answers with every label of a table that scores above 0."""

RULED = '''\
def score(input_data: Any) -> tuple[Any, float]:
    """The answer of the first rule that applies, and the probability that it is right."""
    names = set(found(input_data, LONGEST, MAIN, CUTS, EXPECTED))
    for feature, answer, evidence in RULES:
        if feature in names:
            return answer, probability(evidence, 0.0)
    return OTHERWISE[0], probability(OTHERWISE[1], 0.0)


def explain(input_data: Any) -> list[dict[str, Any]]:
    """The rule that gave the answer."""
    names = set(found(input_data, LONGEST, MAIN, CUTS, EXPECTED))
    for feature, answer, evidence in RULES:
        if feature in names:
            return [{"feature": feature, "answer": answer, "evidence": evidence}]
    return [{"feature": None, "answer": OTHERWISE[0], "evidence": OTHERWISE[1]}]'''
"""Answers with the first rule that applies."""

BOTH = (
    _KNOWN
    + _BEST
    + '''\
def ruled(value: Any) -> list[Any]:
    """The first rule that applies, if any."""
    names = set(found(value, LONGEST, MAIN, CUTS, EXPECTED))
    return [rule for rule in RULES if rule[0] in names][:1]


def score(input_data: Any) -> tuple[Any, float]:
    """The answer of a rule or else of the table, and the probability that it is right."""
    names, novelty = known(input_data)
    for feature, answer, evidence in ruled(input_data):
        return answer, probability(evidence, novelty)
    at, evidence = best(scores(names))
    return LABELS[at], probability(evidence, novelty)


def explain(input_data: Any) -> list[dict[str, Any]]:
    """The rule that gave the answer, or the features that spoke most for or against it, with their weights."""
    for feature, answer, evidence in ruled(input_data):
        return [{"feature": feature, "answer": answer, "evidence": evidence}]
    names, novelty = known(input_data)
    return strongest(names, best(scores(names))[0])'''
)
"""Answers with a rule where one applies, with the best label of a table elsewhere."""

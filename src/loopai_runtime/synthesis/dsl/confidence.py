"""How likely a program is right on every input: a logistic model of what tells good programs from lucky ones.

Fitted on the development tasks, without the hold-out, by what the programs learned from the first 1 to 10 examples
did on the remaining ones (tests/bench/transform.py, which also says how it holds on the hold-out).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.dsl.atoms import Atom
from loopai_runtime.synthesis.dsl.columns import shape
from loopai_runtime.synthesis.dsl.costs import constant
from loopai_runtime.synthesis.dsl.program import Runner
from loopai_runtime.synthesis.dsl.search import Program
from loopai_runtime.synthesis.dsl.variants import variants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.synthesis.dsl.conditions import Decision

WEIGHTS: dict[str, float] = {
    "bias": -5.300,
    "conditional": -0.097,
    "branches": -0.104,
    "cost": 1.145,
    "cost_each": -0.252,
    "letters": -0.368,
    "covered": 1.085,
    "positional": -0.948,
    "reads": -0.731,
    "rounds": -0.197,
    "changes": 0.455,
    "landmarks": -0.646,
    "whole": -0.594,
    "pieces": -0.868,
    "examples": 1.059,
    "more": -0.901,
    "kinds": -0.269,
    "one_kind": 1.960,
    "kinds_each": 1.128,
    "input": -0.205,
    "input_spread": 0.019,
    "output_spread": -0.095,
    "outputs": 1.685,
    "digits": -1.040,
    "near_margin": -0.511,
    "far_margin": -0.077,
    "near": 1.104,
    "far": 0.298,
    "answered": -1.458,
    "alike_near": -1.740,
    "alike": 0.939,
    "rivals": 0.211,
    "settled": 0.148,
    "saved": 0.354,
    "output": -0.051,
    "columns": 0.279,
}

FAR = 4.0
"""A runner-up that costs so much more than the best is no rival."""


TIE = 0.02
"""A runner-up within this is as good as the best."""

CLOSE = 2.5
"""A runner-up within this is a second opinion worth asking."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The best program beside its rivals, on inputs like the examples and on stranger ones."""

    asked: list[dict[str, str]]
    answers: list[list[str | None]]
    disagreement: list[float]
    near: float
    far: float
    near_margin: float
    far_margin: float
    answered: float
    alike_near: float
    alike: float
    rival: Program | Decision | None


def standing(
    names: Sequence[str],
    programs: Sequence[Program | Decision],
    rows: Sequence[dict[str, str]],
    unlabelled: Sequence[dict[str, str]],
) -> Standing:
    """Where the programs part on unlabelled and changed inputs, weighed by how much dearer the others are."""
    kinds = set(map(shape, rows))
    asked = [*unlabelled, *variants(names, rows)]
    answers = [list(map(Runner(names, program), asked)) for program in programs]
    best, cost = answers[0], programs[0].cost
    weights = [math.exp(cost - program.cost) for program in programs]
    whole = sum(weights)
    disagreement = [
        sum(weight for weight, given in zip(weights, answers, strict=True) if given[at] != best[at]) / whole
        for at in range(len(asked))
    ]
    near = [at for at, one in enumerate(asked) if best[at] is not None and shape(one) in kinds]
    far = [at for at, one in enumerate(asked) if best[at] is not None and shape(one) not in kinds]
    rival = next(
        (p for p, given in zip(programs, answers, strict=True) if given != best and p.cost - cost < CLOSE), None
    )

    def margin(places: Sequence[int]) -> float:
        parted = [
            p.cost - cost
            for p, given in zip(programs, answers, strict=True)
            if any(given[i] != best[i] for i in places)
        ]
        return min([FAR, *parted])

    return Standing(
        asked,
        answers,
        disagreement,
        1 - _mean([disagreement[at] for at in near]),
        1 - _mean([disagreement[at] for at in far]),
        margin(near),
        margin(far),
        1 - _mean([answer is None for answer in best]),
        _mean([all(given[at] == best[at] for at in near) for given in answers]),
        _mean([given == best for given in answers]),
        rival,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def features(
    programs: Sequence[Program | Decision], stand: Standing, rows: Sequence[dict[str, str]], outputs: Sequence[str]
) -> dict[str, float]:
    """What the probability is read from."""
    distinct = {tuple(row.values()): output for row, output in zip(rows, outputs, strict=True)}
    many = math.log2(len(distinct))
    length = _mean(list(map(len, outputs)))
    return {
        "bias": 1.0,
        **_of_program(programs[0], length),
        **_of_examples(distinct, many, [shape(row) for row in rows]),
        "near_margin": stand.near_margin,
        "far_margin": stand.far_margin,
        "near": -math.log(1.02 - stand.near),
        "far": -math.log(1.02 - stand.far),
        "answered": stand.answered,
        "alike_near": stand.alike_near,
        "alike": stand.alike,
        "rivals": math.log(len(programs)),
        "settled": min(many, 2.0) * stand.near_margin,
        "saved": math.log(
            max(sum(constant(output, 1) for output in distinct.values()), 0.5) / max(programs[0].cost, 0.5)
        ),
        "output": math.log1p(length),
        "columns": float(len(rows[0]) > 1),
    }


def _of_examples(distinct: dict[tuple[str, ...], str], many: float, shapes: Sequence[str]) -> dict[str, float]:
    """How many and how varied the examples are."""
    kinds = math.log2(len(set(shapes)))
    sizes = [len(" | ".join(key)) for key in distinct]
    lengths = list(map(len, distinct.values()))
    return {
        "examples": many,
        "more": max(0.0, many - 1.5),
        "kinds": kinds,
        "one_kind": float(kinds == 0),
        "kinds_each": kinds / max(1.0, many),
        "input": math.log1p(_mean(sizes)),
        "input_spread": math.log1p(max(sizes) - min(sizes)),
        "output_spread": math.log1p(max(lengths) - min(lengths)),
        "outputs": len(set(distinct.values())) / len(distinct),
        "digits": float(any(c.isdigit() for output in distinct.values() for c in output)),
    }


_POSITIONAL = {"positions", "slice", "prefix", "suffix", "drop", "firstk", "lastk"}
_ROUNDS = {"rounding", "step", "range", "linear", "time_step", "scale"}
_CHANGES = {"case", "pad", "zeros", "delete", "replace", "join", "some"}


def _of_program(program: Program | Decision, length: float) -> dict[str, float]:
    """What the program consists of; `length` is that of the outputs."""
    straight = isinstance(program, Program)
    leaves = [program] if isinstance(program, Program) else [p for _, p in program.branches] + [program.otherwise]
    pieces = [piece for leaf in leaves for piece in leaf.pieces]
    atoms = [piece for piece in pieces if isinstance(piece, Atom)]
    traits = {trait for atom in atoms for trait in atom.traits}
    written = "".join(piece for piece in pieces if isinstance(piece, str))
    covered = sum(len(piece.values[0]) for piece in leaves[0].pieces if isinstance(piece, Atom))
    return {
        "conditional": 0.0 if straight else 1.0,
        "branches": 0.0 if straight else math.log2(len(leaves)),
        "cost": math.log(max(program.cost, 0.5)),
        "cost_each": program.cost / max(1.0, length),
        "letters": math.log1p(sum(c.isalnum() for c in written)),
        "covered": min(1.0, covered / max(1.0, length)),
        "positional": float(bool(traits & _POSITIONAL)),
        "reads": float(bool(traits & {"date", "time", "parse"})),
        "rounds": float(bool(traits & _ROUNDS)),
        "changes": float(bool(traits & _CHANGES)),
        "landmarks": float(bool(traits & {"between", "after", "before"})),
        "whole": float("column" in traits and sum(len(atom.traits) for atom in atoms) < 3),
        "pieces": math.log2(max(1, len(pieces))),
    }


def probability(found: dict[str, float]) -> float:
    """The calibrated probability that the program is right on all inputs; half where two readings are as good."""
    z = sum(WEIGHTS.get(name, 0.0) * value for name, value in found.items())
    fitted = 1 / (1 + math.exp(-max(-30.0, min(30.0, z))))
    return min(fitted, 0.5) if found["near_margin"] < TIE else fitted

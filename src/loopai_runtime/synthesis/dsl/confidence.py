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

WEIGHTS: dict[str, float] = {"bias": 0.0}

FAR = 4.0
"""A runner-up that costs so much more than the best is no rival."""


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
        rival,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def features(
    program: Program | Decision, stand: Standing, rows: Sequence[dict[str, str]], outputs: Sequence[str]
) -> dict[str, float]:
    """What the probability is read from."""
    distinct = {tuple(row.values()): output for row, output in zip(rows, outputs, strict=True)}
    shapes = set(map(shape, rows))
    straight = isinstance(program, Program)
    leaves = [program] if isinstance(program, Program) else [p for _, p in program.branches] + [program.otherwise]
    pieces = [piece for leaf in leaves for piece in leaf.pieces]
    traits = [trait for piece in pieces if isinstance(piece, Atom) for trait in piece.traits]
    written = "".join(piece for piece in pieces if isinstance(piece, str))
    table = sum(constant(output, 1, False) for output in distinct.values())
    many = math.log2(len(distinct))
    return {
        "bias": 1.0,
        "examples": many,
        "more": max(0.0, many - 1.5),
        "conditional": 0.0 if straight else 1.0,
        "branches": 0.0 if straight else math.log2(len(leaves)) - many / 2,
        "near_margin": stand.near_margin,
        "far_margin": stand.far_margin,
        "near": -math.log(1.02 - stand.near),
        "far": -math.log(1.02 - stand.far),
        "answered": stand.answered,
        "saved": math.log(max(table, 0.5) / max(program.cost, 0.5)),
        "cost": math.log(max(program.cost, 0.5)),
        "letters": math.log1p(sum(c.isalnum() for c in written)),
        "positions": float(
            sum(trait in ("positions", "slice", "prefix", "suffix", "drop", "firstk", "lastk") for trait in traits)
            > 0
        ),
        "reads": float("date" in traits or "time" in traits or "parse" in traits),
        "rounds": float(
            any(trait in ("rounding", "step", "range", "linear", "time_step", "scale") for trait in traits)
        ),
        "shapes": math.log2(len(shapes)) / max(1.0, many),
        "settled": min(many, 2.0) * stand.near_margin,
        "whole": float(any(trait == "column" for trait in traits) and len(traits) < 3),
        "case": float(
            any(trait in ("case", "pad", "zeros", "delete", "replace", "join", "some") for trait in traits)
        ),
        "between": float(any(trait in ("between", "after", "before") for trait in traits)),
        "alike": math.log1p(abs(len(max(distinct.values(), key=len)) - len(min(distinct.values(), key=len)))),
        "outputs": len(set(distinct.values())) / len(distinct),
        "pieces": math.log2(max(1, len(pieces))),
    }


def probability(found: dict[str, float]) -> float:
    """The calibrated probability that the program is right on all inputs."""
    z = sum(WEIGHTS.get(name, 0.0) * value for name, value in found.items())
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, z))))

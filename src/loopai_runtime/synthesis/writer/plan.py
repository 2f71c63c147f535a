"""Which examples each program may learn of, and which ones judge it: no prompt of a program ever shows the latter.

From 50 examples on, one part is kept from all prompts and decides. Below, programs are written for each fold from
the other folds' rows, several times over (cross-fitting): every example judges, by programs that did not see it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.folds import folds

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Problem

ENOUGH = 50
"""Examples from which one part of them decides."""
JUDGED = 20
"""Judgements that a decision takes at least; rows are judged several times over until there are so many."""
PROGRAMS = 6
MOST_PROGRAMS = 8
_OUTER, _MOST_OUTER = 0.4, 1000
_MOST_SEEN = 1000


class Share(NamedTuple):
    """What one program has: rows that its prompts may show, and rows that judge it."""

    seen: list[int]
    judged: list[int]


def plan(problem: Problem, seed: int) -> list[Share]:
    """A share for each program that is to be written, 4 to 8 of them."""
    if len(set(problem.groups)) < 2:
        return [Share(list(range(len(problem))), [])] * min(4, PROGRAMS)
    return _outer(problem, seed) if len(problem) >= ENOUGH else _crossed(problem, seed)


def _outer(problem: Problem, seed: int) -> list[Share]:
    count = min(int(_OUTER * len(problem)), _MOST_OUTER)
    most = min(len(problem) // count, len(set(problem.groups)))
    parts = folds(problem.codes, problem.groups, most, seed)
    judged = max(parts, key=len)[: 2 * _MOST_OUTER] if len(parts) > 1 else parts[0]
    held = {problem.groups[row] for row in judged}
    rest = [row for row in range(len(problem)) if problem.groups[row] not in held]
    if len(rest) > _MOST_SEEN:
        rest = sorted(random.Random(seed).sample(rest, _MOST_SEEN))  # noqa: S311  a seed, not a secret
    return [Share(rest, judged)] * PROGRAMS


def _crossed(problem: Problem, seed: int) -> list[Share]:
    """As many rounds of folds as it takes to judge often enough; of fewer folds where examples are very few."""
    count, groups = len(problem), len(set(problem.groups))
    rounds = max(2, -(-JUDGED // count))
    parts = min(groups, 3 if rounds <= 2 else 2)
    rounds = min(rounds, MOST_PROGRAMS // parts)
    shares = []
    for number in range(rounds):
        for judged in folds(problem.codes, problem.groups, parts, seed * 1000 + number):
            held = set(judged)
            shares.append(Share([row for row in range(count) if row not in held], judged))
    return shares

"""What each building block costs: the less a program costs, the likelier it is what was meant.

A program costs the sum of its blocks' traits. Set on the development tasks (tests/bench/transform.py, without its
hold-out) so that programs that are right on unseen rows rank before those that only fit.
"""

from __future__ import annotations

COSTS: dict[str, float] = {
    "piece": 0.75,  # every part of a concatenation
    "column": 1.15,
    "word": 1.7,
    "token": 2.35,
    "capsword": 2.75,
    "number": 2.1,
    "split": 1.55,
    "person": 2.2,
    "phone": 2.2,
    "address": 2.2,
    "lines": 1.8,
    "before": 1.9,
    "after": 2.25,
    "between": 2.05,
    "rest": 2.3,
    "prefix": 2.7,
    "suffix": 2.35,
    "slice": 3.95,
    "drop": 2.95,
    "positions": 2.25,
    "index0": 0.0,
    "index1": 0.25,
    "index2": 0.75,
    "index3": 0.5,
    "index4": 0.7,
    "far": 1.2,
    "from_end": 0.15,
    "strip": 0.3,
    "trim": 0.5,
    "case": 0.7,
    "first": 0.9,
    "firstk": 1.55,
    "lastk": 1.9,
    "pad": 1.2,
    "zeros": 0.9,
    "delete": 1.0,
    "replace": 1.2,
    "spaces": 0.7,
    "join": 1.25,
    "some": 0.6,
    "reverse": 1.0,
    "condition": 3.0,
    "date": 0.95,
    "date_part": 0.15,
    "date_rare": 1.55,
    "date_whole": 0.9,
    "time": 1.2,
    "time_part": 0.25,
    "time_step": 1.5,
    "time_shift": 1.0,
    "parse": 1.0,
    "decimals": 0.9,
    "grouping": 0.6,
    "rounding": 0.8,
    "step": 1.0,
    "scale": 1.4,
    "convert": 1.6,
    "linear": 2.35,
    "range": 1.0,
    "base": 2.0,
    "wrap": 0.8,
    "letter": 0.9,
    "seen": 4,
    "digit": 2.15,
    "mark": 0.6,
    "even": 1.2,  # decimals of varying number that happened to be equally many
    "step5": 0.4,
    "rare_class": 0.4,  # a landmark that is a run of capitals or the like
    "edge": 0.3,
    "columns": 1.0,
    "shared": -1.25,  # a further part of a date or time that the program reads anyway
}


def cost(traits: tuple[str, ...]) -> float:
    return sum(COSTS[trait] for trait in traits)


def index_trait(at: int) -> str:
    """How far from its end an index counts."""
    away = at if at >= 0 else -at - 1
    return f"index{away}" if away <= 4 else "far"


def constant(text: str, examples: int, seen: int = 0) -> float:
    """What writing `text` out costs. Marks are cheap; many examples that agree on it make it cheaper.

    `seen` of its words stand in every input too, and are more likely to come from there.
    """
    digits = sum(c.isdigit() for c in text)
    letters = sum(c.isalpha() for c in text)
    marks = len(text) - letters - digits
    doubt = COSTS["letter"] * min(letters, 14) + COSTS["digit"] * digits + COSTS["mark"] * min(marks, 6)
    return 0.5 + (doubt + COSTS["seen"] * seen) / min(examples, 3)

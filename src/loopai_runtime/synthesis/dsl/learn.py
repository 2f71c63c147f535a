"""Programs by example: from a few rows of strings to the cheapest programs that explain all of them.

Atoms are enumerated on a few examples, concatenations of them searched (`search`), and what comes out is checked on
all rows; a row that refutes every program joins the few (counterexample-guided, Solar-Lezama 2006).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from loopai_runtime.synthesis.dsl.atoms import Pool
from loopai_runtime.synthesis.dsl.changes import across, change, joins
from loopai_runtime.synthesis.dsl.conditions import Decision, decide
from loopai_runtime.synthesis.dsl.costs import COSTS, constant, cost
from loopai_runtime.synthesis.dsl.dates import dates, times
from loopai_runtime.synthesis.dsl.numbers import numbers
from loopai_runtime.synthesis.dsl.search import Program, concatenations
from loopai_runtime.synthesis.dsl.slices import slices
from loopai_runtime.synthesis.dsl.views import View, delimiters, parts
from loopai_runtime.synthesis.dsl.program import Runner

Row = dict[str, str]

SEARCHED = 5
KEPT = 12


def straight(names: Sequence[str], rows: Sequence[Row], outputs: Sequence[str], deadline: float) -> list[Program]:
    """The cheapest programs without conditions that are right on all rows."""
    chosen = spread(rows, outputs)
    while True:
        pool = gather(names, [rows[i] for i in chosen], [outputs[i] for i in chosen])
        texts = [" ".join(rows[i].values()) for i in chosen]
        found = concatenations(pool, texts, KEPT, deadline)
        if len(chosen) == len(rows) or not found:
            return found
        kept, refuted = [], []
        for program in found:
            runner = Runner(names, program)
            wrong = next((i for i, row in enumerate(rows) if runner(row) != outputs[i]), None)
            if wrong is None:
                kept.append(program)
            else:
                refuted.append(wrong)
        if kept or time.monotonic() > deadline:
            return kept
        chosen.append(refuted[0])


def spread(rows: Sequence[Row], outputs: Sequence[str]) -> list[int]:
    """A few rows that differ: the first, then whatever brings a new input."""
    chosen: list[int] = []
    seen = set()
    for i, row in enumerate(rows):
        key = tuple(row.values())
        if key not in seen and (outputs[i] or not chosen):
            seen.add(key)
            chosen.append(i)
        if len(chosen) >= SEARCHED:
            break
    return chosen


def gather(names: Sequence[str], rows: Sequence[Row], outputs: Sequence[str]) -> Pool:
    """Every atom that may stand in the outputs."""
    pool = Pool(tuple(outputs))
    views: dict[tuple[str, ...], View] = {}

    def note(view: View) -> None:
        if pool.fits(view.values):
            pool.add(view.values, view.traits, view.source, view.says)
        views.setdefault(view.values, view)

    for name in names:
        values = tuple([row[name] for row in rows])
        if not any(values):
            continue
        note(View(name, values, ("column",), name))
        for view in parts(name, values, name):
            note(view)
        slices(pool, name, values, name)
        if all(values):
            joins(pool, name, values, name, delimiters(values))
    for view in across(pool, names, rows):
        note(view)
    nested: list[View] = []
    for view in sorted(views.values(), key=lambda view: cost(view.traits))[:60]:
        if view.traits[0] in ("column", "token", "number", "capsword") or not all(view.values):
            continue
        for inner in parts(view.source, view.values, view.says, view.traits):
            if inner.values not in views:
                nested.append(inner)
                note(inner)
    full = sorted([view for view in views.values() if all(view.values)], key=lambda view: cost(view.traits))
    numbers(pool, full)
    dates(pool, full[:80])
    times(pool, full[:80])
    firsts = change(pool, full[:120], 2)
    change(pool, [view for view in firsts if len(view.traits) <= 3][:150], 1)
    return pool



def transform_programs(
    names: Sequence[str], rows: Sequence[Row], outputs: Sequence[str], deadline: float
) -> list[Program | Decision]:
    """Straight programs, or else one with conditions, the cheapest first. None where nothing generalises."""
    found = straight(names, rows, outputs, deadline)
    if found:
        return list(found)

    def solve(members: Sequence[int]) -> Program | None:
        wanted = [outputs[i] for i in members]
        same = set(wanted)
        if len(same) == 1:
            text = same.pop()
            return Program((text,) if text else (), COSTS["piece"] + constant(text, 1, False))
        programs = straight(names, [rows[i] for i in members], wanted, deadline)
        return programs[0] if programs else None

    decision = decide(names, rows, outputs, solve, deadline)
    return [decision] if decision else []

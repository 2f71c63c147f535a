"""Programs by example: from a few rows of strings to the cheapest programs that explain all of them.

Atoms are enumerated on a few examples, concatenations of them searched (`search`), and what comes out is checked
on all rows; a row that refutes every program joins the few (counterexample-guided, Solar-Lezama 2006).
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime.synthesis.dsl.atoms import Pool
from loopai_runtime.synthesis.dsl.changes import across, change, joins
from loopai_runtime.synthesis.dsl.columns import Row, row, shape, variables
from loopai_runtime.synthesis.dsl.conditions import Decision, decide
from loopai_runtime.synthesis.dsl.confidence import CLOSE, Standing, features, probability, standing
from loopai_runtime.synthesis.dsl.costs import COSTS, constant, cost
from loopai_runtime.synthesis.dsl.dates import dates, times
from loopai_runtime.synthesis.dsl.emit import emit
from loopai_runtime.synthesis.dsl.numbers import bases, numbers
from loopai_runtime.synthesis.dsl.pieces import pieces
from loopai_runtime.synthesis.dsl.program import Runner
from loopai_runtime.synthesis.dsl.search import Program, concatenations
from loopai_runtime.synthesis.dsl.slices import slices
from loopai_runtime.synthesis.dsl.views import View, delimiters, parts
from loopai_runtime.synthesis.privacy import ANYTHING, Admission
from loopai_runtime.synthesis.strategy import Question

if TYPE_CHECKING:
    from collections.abc import Sequence

SEARCHED = 5
KEPT = 12
MOST_ANSWERS = 4  # that a question offers


def straight(
    names: Sequence[str],
    rows: Sequence[Row],
    outputs: Sequence[str],
    deadline: float,
    admission: Admission = ANYTHING,
) -> list[Program]:
    """The cheapest programs without conditions that are right on all rows."""
    if not admission.admits_outputs([" ".join(one.values()) for one in rows], outputs):
        return []
    chosen = spread(rows, outputs)
    while True:
        pool = gather(names, [rows[i] for i in chosen], [outputs[i] for i in chosen])
        texts = [" ".join(rows[i].values()) for i in chosen]
        found = concatenations(pool, texts, KEPT, deadline, admission)
        if len(chosen) == len(rows) or not found:
            return found
        kept, refuted = [], []
        for program in found:
            runner = Runner(names, program)
            wrong = next((i for i, one in enumerate(rows) if runner(one) != outputs[i]), None)
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
    for i, one in enumerate(rows):
        key = tuple(one.values())
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
        for view in pieces(name, values, name):
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
    bases(pool, full[:20])
    dates(pool, full[:80])
    times(pool, full[:80])
    firsts = change(pool, full[:120], 2)
    cleaned = [view for view in firsts if view.traits in (("column", "delete"), ("column", "wrap"))]
    for view in cleaned[:8]:
        joins(pool, view.source, view.values, view.says, ())
    change(pool, [view for view in firsts if len(view.traits) <= 3][:150], 1)
    return pool


def programs(
    names: Sequence[str],
    rows: Sequence[Row],
    outputs: Sequence[str],
    deadline: float,
    admission: Admission = ANYTHING,
) -> list[Program | Decision]:
    """Straight programs, or else one with conditions, the cheapest first. None where nothing generalises."""
    answers: dict[tuple[str, ...], str] = {}
    if any(
        answers.setdefault(tuple(one.values()), output) != output
        for one, output in zip(rows, outputs, strict=True)
    ):
        return []  # no function gives one input two outputs
    found = straight(names, rows, outputs, deadline, admission)
    if found:
        return list(found)

    def solve(members: Sequence[int]) -> Program | None:
        wanted = [outputs[i] for i in members]
        if len(set(wanted)) == 1 and admission.admits(wanted[0]):
            return Program((wanted[0],) if wanted[0] else (), COSTS["piece"] + constant(wanted[0], 1))
        best = straight(names, [rows[i] for i in members], wanted, deadline, admission)
        return best[0] if best else None

    decision = decide(names, rows, outputs, solve, deadline, admission)
    return [decision] if decision else []


@dataclass(frozen=True)
class Transformation:
    """A program for a task, how far to trust it, and what would settle the doubt."""

    code: str = field(repr=False)
    confidence: float
    form: str
    programs: list[Program | Decision] = field(repr=False)
    question: Question | None
    disagreement: list[float] = field(repr=False)
    features: dict[str, float] = field(repr=False)
    variables: dict[str, str | None] = field(repr=False)
    runner: Runner = field(repr=False)

    def run(self, value: Any) -> str:
        """What the program gives, in this process: it consists of this package's own expressions."""
        return self.runner(row(self.variables, value)) or ""

    @property
    def steps(self) -> int:
        """How many steps the program has, in all its branches."""
        best = self.programs[0]
        leaves = [best] if isinstance(best, Program) else [*(leaf for _, leaf in best.branches), best.otherwise]
        return sum(len(leaf.pieces) for leaf in leaves)

    @property
    def next_input(self) -> int | None:
        """Which unlabelled input to label next: the one on which the best programs disagree most."""
        most = max(self.disagreement, default=0.0)
        return self.disagreement.index(most) if most > 0 else None


def transform(
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    name: str = "task",
    unlabelled: Sequence[Any] = (),
    seconds: float = 10.0,
    admission: Admission = ANYTHING,
) -> Transformation | None:
    """The likeliest program that explains all examples with no constant that is not admitted, or None where none
    generalises."""
    named = variables(inputs)
    if named is None or not inputs or not all(isinstance(output, str) for output in outputs):
        return None
    names = list(named)
    rows = [row(named, value) for value in inputs]
    found = programs(names, rows, outputs, time.monotonic() + seconds, admission)
    if not found:
        return None
    best = found[0]
    others = [row(named, value) for value in unlabelled]
    stand = standing(names, found, rows, others)
    about = features(found, stand, rows, outputs)
    confidence = probability(about)
    shapes = Counter(map(shape, {tuple(one.values()): one for one in rows}.values()))
    rare = sum(times == 1 for times in shapes.values()) / sum(shapes.values())
    code = emit(
        name,
        named,
        best,
        stand.rival,
        len(rows),
        confidence,
        [one for one, times in shapes.most_common(64) if times >= admission.least],
        0.5 + rare / 2,  # kinds seen once estimate how many are yet unseen (Good and Turing)
    )
    return Transformation(
        code,
        confidence,
        "straight" if isinstance(best, Program) else "conditional",
        found,
        _question(named, found, stand, set(map(shape, rows)), unlabelled),
        stand.disagreement[: len(others)],
        about,
        named,
        Runner(names, best),
    )


def _question(
    named: dict[str, str | None],
    found: Sequence[Program | Decision],
    stand: Standing,
    kinds: set[str],
    unlabelled: Sequence[Any],
) -> Question | None:
    """An input that the best program and a rival both answer, differently: a real one, or one that looks so."""
    asked = stand.asked
    rivals = [given for one, given in zip(found, stand.answers, strict=True) if one.cost - found[0].cost <= CLOSE]
    order = sorted(range(len(asked)), key=lambda at: (at >= len(unlabelled), shape(asked[at]) not in kinds))
    for other in rivals[1:]:
        for at in order:
            given, rival = rivals[0][at], other[at]
            if given is not None and rival is not None and given != rival:
                made_up = {prop or "": asked[at][variable] for variable, prop in named.items()}
                value = unlabelled[at] if at < len(unlabelled) else made_up.get("", made_up)
                more = [answers[at] for answers in rivals if answers[at] is not None]
                return Question(value, tuple(dict.fromkeys([given, rival, *more]))[:MOST_ANSWERS])
    return None

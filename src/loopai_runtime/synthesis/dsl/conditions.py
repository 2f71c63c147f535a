"""Conditions: which program applies where, told by what an input looks like.

A branch needs two examples, or it would be an entry of a look-up table; and the whole must be shorter than the
table of the outputs. Both are what makes a condition say more than the examples do.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.costs import COSTS, constant
from loopai_runtime.synthesis.dsl.views import quote, raw
from loopai_runtime.synthesis.privacy import ANYTHING, Admission

if TYPE_CHECKING:
    from loopai_runtime.synthesis.dsl.search import Program

SUPPORT = 2
_TRIED = 60
_DEPTH = 3
_LIMITS = 40


class Test(NamedTuple):
    """A question about an input, with its answer for each example."""

    source: str
    answers: tuple[bool, ...]
    cost: float
    says: str


@dataclass(frozen=True, slots=True)
class Decision:
    """If, else if, ..., else."""

    branches: tuple[tuple[Test, Program], ...]
    otherwise: Program
    cost: float


Solve = Callable[[Sequence[int]], "Program | None"]


def decide(
    names: Sequence[str],
    rows: Sequence[dict[str, str]],
    outputs: Sequence[str],
    solve: Solve,
    deadline: float,
    admission: Admission = ANYTHING,
) -> Decision | None:
    """The shortest decision found, if it is shorter than a look-up table. `solve` writes one branch."""
    memo: dict[tuple[int, ...], Program | None] = {}
    support = max(SUPPORT, admission.least)

    def solved(members: tuple[int, ...]) -> Program | None:
        if members not in memo:
            memo[members] = solve(members) if _distinct_inputs(members, rows) >= support else None
        return memo[members]

    tests = list(_distinct(test for test in _tests(names, rows) if admission.admits_code(test.source)))
    found = _split(tuple(range(len(rows))), tests, rows, solved, _DEPTH, deadline)
    if found is None:
        return None
    table = sum(
        COSTS["piece"] + constant(output, 1)
        for output in {tuple(r.values()): o for r, o in zip(rows, outputs, strict=True)}.values()
    )
    return found if found.cost < table else None


def _split(
    members: tuple[int, ...],
    tests: Sequence[Test],
    rows: Sequence[dict[str, str]],
    solved: Callable[[tuple[int, ...]], Program | None],
    depth: int,
    deadline: float,
) -> Decision | None:
    best: Decision | None = None
    partial: list[tuple[float, Test, Program, tuple[int, ...]]] = []
    tried = 0
    for test in tests:
        yes = tuple([i for i in members if test.answers[i]])
        no = tuple([i for i in members if not test.answers[i]])
        if _distinct_inputs(yes, rows) < SUPPORT or _distinct_inputs(no, rows) < SUPPORT:
            continue
        tried += 1
        if tried > _TRIED or time.monotonic() > deadline or (best and test.cost + COSTS["condition"] >= best.cost):
            break
        first = solved(yes)
        second = solved(no)
        if first and second:
            cost = first.cost + second.cost + test.cost + COSTS["condition"]
            if best is None or cost < best.cost:
                best = Decision(((test, first),), second, cost)
        elif first:
            partial.append((-len(yes), test, first, no))
        elif second:
            partial.append((-len(no), _negated(test), second, yes))
    if best or depth == 1:
        return best
    partial.sort(key=lambda one: (one[0], one[1].cost))
    for _, test, program, rest in partial[:6]:
        if time.monotonic() > deadline:
            break
        below = _split(rest, tests, rows, solved, depth - 1, deadline)
        if below:
            cost = program.cost + test.cost + COSTS["condition"] + below.cost
            if best is None or cost < best.cost:
                best = Decision(((test, program), *below.branches), below.otherwise, cost)
    return best


def _distinct_inputs(members: Sequence[int], rows: Sequence[dict[str, str]]) -> int:
    return len({tuple(rows[i].values()) for i in members})


def _negated(test: Test) -> Test:
    source = f"not {test.source}" if re.fullmatch(r"[\w.]+(\(.*\))?", test.source) else f"not ({test.source})"
    return Test(source, tuple([not answer for answer in test.answers]), test.cost + 0.2, f"not: {test.says}")


def _distinct(tests: Iterator[Test]) -> Iterator[Test]:
    seen = set()
    for test in sorted(tests, key=lambda one: one.cost):
        other = tuple([not answer for answer in test.answers])
        if len(set(test.answers)) == 2 and test.answers not in seen and other not in seen:
            seen.add(test.answers)
            yield test


_CLASSES = [
    (r"\d", "a digit", 0.3),
    (r"[^\W\d_]", "a letter", 0.3),
    (r"[A-Z]", "a capital", 0.4),
    (r"[a-z]", "a small letter", 0.4),
    (r"\s", "white space", 0.3),
]


def _tests(names: Sequence[str], rows: Sequence[dict[str, str]]) -> Iterator[Test]:
    for name in names:
        values = [row[name] for row in rows]

        def ask(source: str, answers: Sequence[object], cost: float, says: str) -> Test:
            return Test(source, tuple(map(bool, answers)), cost, says)

        yield ask(name, values, 0.2, f"{name} is not empty")
        yield from _literal(name, values, ask)
        yield from _thresholds(name, values, ask)
        for pattern, says, cost in _CLASSES:
            yield ask(
                f"re.search({raw(pattern)}, {name})",
                [re.search(pattern, v) for v in values],
                cost,
                f"{name} has {says}",
            )
            yield ask(
                f"re.match({raw(pattern)}, {name})",
                [re.match(pattern, v) for v in values],
                cost + 0.1,
                f"{name} begins with {says}",
            )
            end = pattern + r"\Z"
            yield ask(
                f"re.search({raw(end)}, {name})",
                [re.search(end, v) for v in values],
                cost + 0.2,
                f"{name} ends with {says}",
            )
        for count in sorted({len(v.split()) for v in values})[:6]:
            yield ask(
                f"len({name}.split()) > {count}",
                [len(v.split()) > count for v in values],
                0.5,
                f"{name} has more than {count} words",
            )
        for length in sorted({len(v) for v in values})[:12]:
            yield ask(
                f"len({name}) > {length}",
                [len(v) > length for v in values],
                1.2,
                f"{name} has more than {length} characters",
            )


def _thresholds(name: str, values: Sequence[str], ask: Callable[..., Test]) -> Iterator[Test]:
    """Whether the number in a text reaches a limit: the roundest one between two that the examples have."""
    try:
        numbers = [library.number(value) for value in values]
    except ValueError:
        return
    for low, high in itertools.pairwise(sorted(set(numbers))[:_LIMITS]):
        limit = _roundest(low, high)
        shown = library.plain(limit)
        source = shown if limit == limit.to_integral_value() else f"Decimal({quote(shown)})"
        price = 0.5 + 0.25 * len(limit.normalize().as_tuple().digits)
        yield ask(
            f"number({name}) >= {source}",
            [number >= limit for number in numbers],
            price,
            f"the number in {name} is at least {shown}",
        )


def _roundest(low: Decimal, high: Decimal) -> Decimal:
    """The number above `low` and up to `high` with the fewest digits, of these the one nearest to their middle."""
    middle = (low + high) / 2
    for power in range(high.adjusted() + 1, -13, -1):
        unit = Decimal(1).scaleb(power)
        first = (low / unit).to_integral_value("ROUND_FLOOR") + 1
        last = (high / unit).to_integral_value("ROUND_FLOOR")
        if first <= last:
            return min(max((middle / unit).to_integral_value(), first), last) * unit
    return high


def _literal(name: str, values: Sequence[str], ask: Callable[..., Test]) -> Iterator[Test]:
    if len(set(values)) <= max(2, len(values) // 2):
        for value in sorted(set(values)):
            yield ask(f"{name} == {quote(value)}", [v == value for v in values], 0.6, f"{name} is {quote(value)}")
    found: dict[str, int] = {}
    for value in set(values):
        for text in {*re.findall(r"[^\w\s]|  +|\n", value), *re.findall(r"[^\W_]+\.?", value)}:
            found[text] = found.get(text, 0) + 1
    for text, times in found.items():
        if SUPPORT <= times < len(set(values)):
            price = 0.4 if not text[0].isalnum() else 0.7 + 0.02 * len(text)
            yield ask(
                f"{quote(text)} in {name}", [text in v for v in values], price, f"{name} contains {quote(text)}"
            )
            yield ask(
                f"{name}.startswith({quote(text)})",
                [v.startswith(text) for v in values],
                price + 0.1,
                f"{name} begins with {quote(text)}",
            )
            yield ask(
                f"{name}.endswith({quote(text)})",
                [v.endswith(text) for v in values],
                price + 0.1,
                f"{name} ends with {quote(text)}",
            )
    for length in (1, 2, 3):
        for text in sorted({v[:length] for v in values if len(v) > length}):
            yield ask(
                f"{name}.startswith({quote(text)})",
                [v.startswith(text) for v in values],
                1.2 + 0.1 * length + 0.3 * any(map(str.isdigit, text)),
                f"{name} begins with {quote(text)}",
            )
    for text in sorted({t for v in values for t in re.findall(r"[^\w\s]", v)}):
        for count in (1, 2):
            yield ask(
                f"{name}.count({quote(text)}) > {count}",
                [v.count(text) > count for v in values],
                0.5 + 0.1 * count,
                f"{name} has more than {count} {quote(text)}",
            )

"""Concatenations: the cheapest sequences of atoms and constants that spell every output.

The version space of all concatenations (Gulwani, POPL 2011) is walked on all examples at once: a state is how much
of each output is written. Best-first by cost, keeping several ways to each state, gives the k cheapest programs.
"""

from __future__ import annotations

import heapq
import itertools
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.dsl.atoms import Atom, Pool
from loopai_runtime.synthesis.dsl.costs import COSTS, constant
from loopai_runtime.synthesis.privacy import ANYTHING, Admission

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_ONCE = ("person", "phone", "address")
_POPS = 20_000
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Program:
    """A concatenation of constants and atoms, and what it costs."""

    pieces: tuple[str | Atom, ...]
    cost: float

    @property
    def straight(self) -> bool:
        return True


def concatenations(
    pool: Pool, inputs: Sequence[str], keep: int, deadline: float, admission: Admission = ANYTHING
) -> list[Program]:
    """The `keep` cheapest programs, cheapest first. `inputs` are the examples' whole inputs, as texts."""
    while True:
        found = _cheapest(pool, inputs, keep, deadline, admission)
        atoms = {piece for program in found for piece in program.pieces if isinstance(piece, Atom)}
        refused = {atom for atom in atoms if not _admitted(atom, admission)}
        if not refused:
            return found
        pool.drop(refused)


def _admitted(atom: Atom, admission: Admission) -> bool:
    """Whether a program may contain the texts of an atom."""
    sources = [atom.source, *[source for _, source in atom.lets]]
    return admission.admits(atom.says) and all(map(admission.admits_code, sources))


def _cheapest(
    pool: Pool, inputs: Sequence[str], keep: int, deadline: float, admission: Admission
) -> list[Program]:
    outputs = pool.outputs
    edges = _edges(pool)
    start = (0,) * len(outputs)
    goal = tuple(map(len, outputs))
    count = itertools.count()
    heap: list[tuple[float, int, tuple[int, ...], tuple[str | Atom, ...]]] = [(0.0, next(count), start, ())]
    visits: dict[tuple[int, ...], int] = {}
    found: list[Program] = []
    for step in range(_POPS):
        if not heap or (step % 256 == 255 and time.monotonic() > deadline):
            break
        price, _, at, pieces = heapq.heappop(heap)
        times = visits.get(at, 0)
        if times >= keep:
            continue
        visits[at] = times + 1
        if at == goal:
            if any(isinstance(piece, Atom) for piece in pieces):
                found.append(Program(pieces, price))
                if len(found) >= keep:
                    break
            continue
        for values, same in edges.get(at[0], ()):
            for output, place, value in zip(outputs, at, values, strict=True):
                if not output.startswith(value, place):
                    break
            else:
                after = tuple([place + len(value) for place, value in zip(at, values, strict=True)])
                for extra, atom in same:
                    if any(isinstance(one, Atom) and _shares(one, atom) for one in pieces):
                        extra += COSTS["shared"]
                    heapq.heappush(heap, (price + extra, next(count), after, (*pieces, atom)))
        if not pieces or isinstance(pieces[-1], Atom):
            for text, extra in _constants(outputs, at, inputs, admission):
                after = tuple([place + len(text) for place in at])
                heapq.heappush(heap, (price + extra, next(count), after, (*pieces, text)))
    return found


def _shares(one: Atom, other: Atom) -> bool:
    """Whether two atoms are parts of one date or time, or pieces of one name, phone number or address."""
    if other.lets:
        return one.lets == other.lets
    return other.traits[0] in READ_ONCE and one.traits[0] == other.traits[0]


def _edges(pool: Pool) -> dict[int, list[tuple[tuple[str, ...], list[tuple[float, Atom]]]]]:
    """The atoms by where they may stand in the first output."""
    first = pool.outputs[0]
    edges: dict[int, list[tuple[tuple[str, ...], list[tuple[float, Atom]]]]] = {}
    for values, same in pool.atoms.items():
        priced = [(price + COSTS["piece"], atom) for price, atom in same]
        at = first.find(values[0])
        while at >= 0:
            edges.setdefault(at, []).append((values, priced))
            at = first.find(values[0], at + 1)
    return edges


def _constants(
    outputs: Sequence[str], at: Sequence[int], inputs: Sequence[str], admission: Admission
) -> list[tuple[str, float]]:
    """Every text that all outputs go on with."""
    common = _shared([output[place : place + 60] for output, place in zip(outputs, at, strict=True)])
    found = []
    for end in range(1, len(common) + 1):
        text = common[:end]
        if not admission.admits(text):
            continue
        seen = sum(all(word in value for value in inputs) for word in _WORD.findall(text))
        found.append((text, COSTS["piece"] + constant(text, len(outputs), seen)))
    return found


def _shared(texts: Sequence[str]) -> str:
    """What all texts begin with."""
    low, high = min(texts), max(texts)
    same = next((at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    return low[:same]

"""The building blocks: an atom is a Python expression with what it gives on each example.

Atoms that give the same on every example are one edge of the search (observational equivalence); the cheapest few
of them are kept, since they differ on inputs that nobody has labelled yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.dsl.costs import cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Values = tuple[str, ...]
ALTERNATIVES = 4
"""How many expressions with the same values are kept."""


class Atom(NamedTuple):
    """One expression. `lets` are the assignments that it needs before it, as (name, expression)."""

    source: str
    values: Values
    traits: tuple[str, ...]
    says: str
    lets: tuple[tuple[str, str], ...] = ()

    @property
    def cost(self) -> float:
        return cost(self.traits)


@dataclass(slots=True)
class Pool:
    """The atoms whose values occur in the outputs, by values."""

    outputs: Values
    atoms: dict[Values, list[tuple[float, Atom]]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def fits(self, values: Sequence[str]) -> bool:
        """Whether every value is a part of its output."""
        return all(value and value in output for value, output in zip(values, self.outputs, strict=True))

    def drop(self, refused: Iterable[Atom]) -> None:
        """Forget these atoms."""
        gone = set(refused)
        for values in {atom.values for atom in gone}:
            kept = [pair for pair in self.atoms.pop(values) if pair[1] not in gone]
            if kept:
                self.atoms[values] = kept

    def add(
        self,
        values: Sequence[str],
        traits: tuple[str, ...],
        source: str,
        says: str,
        lets: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Keep an atom that fits, if it is among the cheapest of those with its values."""
        key = tuple(values)
        price = cost(traits)
        same = self.atoms.setdefault(key, [])
        if len(same) >= ALTERNATIVES and price >= same[-1][0]:
            return
        twin = next((i for i, (_, one) in enumerate(same) if one.source == source and one.lets == lets), None)
        if twin is not None:
            if same[twin][0] <= price:
                return
            del same[twin]
        same.append((price, Atom(source, key, traits, says, lets)))
        same.sort(key=lambda pair: pair[0])
        del same[ALTERNATIVES:]

"""Parts by position: fixed counts of characters, and from one landmark of a text to another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.dsl.costs import cost, index_trait
from loopai_runtime.synthesis.dsl.views import CLASSES, COMPILED, delimiters, ordinal, quote, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.synthesis.dsl.atoms import Pool

_POSITIONS = 220
_LONGEST = 300

Place = tuple[float, tuple[str, ...], str, str]
"""What a position costs, its traits, its source, and in words."""


def slices(pool: Pool, source: str, values: Sequence[str], says: str) -> None:
    """Offer every part between two positions that occurs in the outputs."""
    if not all(values) or max(map(len, values)) > _LONGEST:
        return
    _fixed(pool, source, values, says)
    places = _places(source, values)
    starts = sorted(places.items(), key=lambda item: item[1][0])[:_POSITIONS]
    first, goal = values[0], pool.outputs[0]
    by_first: dict[int, list[tuple[tuple[int, ...], Place]]] = {}
    for at, place in starts:
        by_first.setdefault(at[0], []).append((at, place))
    for low, lows in by_first.items():
        for high, highs in by_first.items():
            if low < high and first[low:high] in goal:
                for left in lows:
                    for right in highs:
                        _offer(pool, source, values, says, left, right)


def _offer(
    pool: Pool,
    source: str,
    values: Sequence[str],
    says: str,
    left: tuple[tuple[int, ...], Place],
    right: tuple[tuple[int, ...], Place],
) -> None:
    found = []
    for value, output, low, high in zip(values, pool.outputs, left[0], right[0], strict=True):
        part = value[low:high]
        if not part or part not in output:
            return
        found.append(part)
    (_, low_traits, low_source, low_says), (_, high_traits, high_source, high_says) = left[1], right[1]
    if low_source == "" and high_source == "":
        return
    traits = (*low_traits, *high_traits)
    pool.add(found, traits, f"{source}[{low_source}:{high_source}]", f"{says} from {low_says} to {high_says}")


def _fixed(pool: Pool, source: str, values: Sequence[str], says: str) -> None:
    shortest = min(map(len, values))
    for count in range(1, min(shortest, 30) + 1):
        index = index_trait(count - 1)
        for values_at, trait, code, name in (
            (
                [value[:count] for value in values],
                "prefix",
                f"[:{count}]",
                f"the first {count} characters of {says}",
            ),
            (
                [value[-count:] for value in values],
                "suffix",
                f"[-{count}:]",
                f"the last {count} characters of {says}",
            ),
            (
                [value[count:] for value in values],
                "drop",
                f"[{count}:]",
                f"{says} without its first {count} characters",
            ),
            (
                [value[:-count] for value in values],
                "drop",
                f"[:-{count}]",
                f"{says} without its last {count} characters",
            ),
        ):
            if pool.fits(values_at):
                pool.add(values_at, (trait, index), f"{source}{code}", name)
    for start in range(1, min(shortest, 40)):
        for end in range(start + 1, min(shortest, 40) + 1):
            if values[0][start:end] in pool.outputs[0]:
                found = [value[start:end] for value in values]
                if pool.fits(found):
                    pool.add(
                        found, ("slice",), f"{source}[{start}:{end}]", f"characters {start + 1} to {end} of {says}"
                    )


def _places(source: str, values: Sequence[str]) -> dict[tuple[int, ...], Place]:
    places: dict[tuple[int, ...], Place] = {}

    def note(at: Sequence[int], traits: tuple[str, ...], code: str, says: str) -> None:
        key, price = tuple(at), cost(traits)
        if key not in places or price < places[key][0]:
            places[key] = (price, traits, code, says)

    note([0] * len(values), ("edge",), "", "its start")
    note([len(value) for value in values], ("edge",), "", "its end")
    for name, pattern, trait in CLASSES:
        found = [list(COMPILED[pattern].finditer(value)) for value in values]
        rare = ("rare_class",) if trait == "capsword" else ()
        _landmarks(note, source, found, raw(pattern), name, rare)
    for mark in delimiters(values):
        literal = re.escape(mark).replace("\\ ", " ")
        found = [list(re.finditer(literal, value)) for value in values]
        _landmarks(note, source, found, raw(literal) if "\n" not in mark else quote(mark), quote(mark))
    for count in range(1, 6):
        if count < min(map(len, values)):
            note([count] * len(values), ("prefix",), str(count), f"character {count}")
            note([len(value) - count for value in values], ("suffix",), f"-{count}", f"{count} from the end")
    return places


def _landmarks(
    note: Callable[[Sequence[int], tuple[str, ...], str, str], None],
    source: str,
    found: list[list[re.Match[str]]],
    pattern: str,
    name: str,
    rare: tuple[str, ...] = (),
) -> None:
    shortest = min(map(len, found))
    if not shortest:
        return
    for at in [*range(min(shortest, 4)), *range(-1, -min(shortest, 3) - 1, -1)]:
        traits = ("positions", *rare, index_trait(at), *(("from_end",) if at < 0 else ()))
        code = f"nth_match({pattern}, {source}, {at})"
        note([one[at].start() for one in found], traits, f"{code}.start()", f"the {ordinal(at)} {name}")
        note([one[at].end() for one in found], traits, f"{code}.end()", f"after the {ordinal(at)} {name}")

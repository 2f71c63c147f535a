"""Where an example's value stands in its text, and what was done to it on the way: a date, a number, a case.

A value may stand in several places; learners decide which was meant.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.learners.extract import reading
from loopai_runtime.synthesis.learners.extract.recognise import DATE, NUMBER, PHONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopai_runtime.synthesis.learners.extract.leaves import JSON, Leaf

MOST_PLACES = 24
_DATE_FORMATS = (
    "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%Y%m%d", "%B %-d, %Y", "%-d %B %Y",
    "%d %b %Y", "%b %d, %Y", "%m-%d-%Y", "%-d/%-m/%Y", "%-m/%-d/%Y", "%-d.%-m.%Y", "%d/%m/%y", "%m/%d/%y",
)  # fmt: skip


class Span(NamedTuple):
    start: int
    end: int


class Change(NamedTuple):
    """What turns the text of a span into the value: a function of `reading`, with further arguments."""

    function: str = "unchanged"
    arguments: tuple[str | bool, ...] = ()

    def of(self, text: str) -> JSON:
        return getattr(reading, self.function)(text, *self.arguments)


AS_IT_STANDS = Change()


def changes(leaf: Leaf) -> list[Change]:
    """The changes that can give a field's values, the simplest first."""
    if leaf.kind == "integer":
        return [Change("whole_number")]
    if leaf.kind == "number":
        return [Change("decimal_number")]
    if leaf.kind == "boolean":
        return [Change("truth")]
    names = ("unchanged", "lower", "upper", "capitalised", "one_spaced", "plain_number", "digits")
    dates = [Change("date_as", (written, first)) for written in _DATE_FORMATS for first in (True, False)]
    return [*map(Change, names), *dates]


@cache
def _parts(change: Change) -> re.Pattern[str] | None:
    """Where a change can find something to work on; None: wherever the value itself stands."""
    return {
        "whole_number": NUMBER,
        "decimal_number": NUMBER,
        "truth": re.compile(r"(?i)\b(?:true|false|yes|no|on|off)\b"),
        "plain_number": NUMBER,
        "digits": PHONE,
        "date_as": DATE,
    }.get(change.function)


def places(text: str, value: JSON, change: Change) -> list[Span]:
    """The spans of a text that a change turns into the value; whole words first."""
    found = list(islice(_places(text, value, change), MOST_PLACES))
    return sorted(found, key=lambda span: (not whole(text, span), span))


def _places(text: str, value: JSON, change: Change) -> Iterator[Span]:
    pattern = _parts(change)
    if pattern is not None:
        for found in pattern.finditer(text):
            if (change.of(found[0]) == value and type(change.of(found[0])) is not bool) or change.of(
                found[0]
            ) is value:
                yield Span(*found.span())
    elif isinstance(value, str) and value:
        if change.function == "unchanged":
            at = text.find(value)
            while at >= 0:
                yield Span(at, at + len(value))
                at = text.find(value, at + 1)
        else:
            loose = r"\s+".join(map(re.escape, value.split())) or re.escape(value)
            for found in re.finditer(loose, text, re.IGNORECASE):
                if change.of(found[0]) == value:
                    yield Span(*found.span())


def whole(text: str, span: Span) -> bool:
    """Whether a span cuts no word or number in two."""
    start, end = span
    left = start == 0 or not (text[start - 1].isalnum() and text[start].isalnum())
    return left and (end == len(text) or not (text[end - 1].isalnum() and text[end].isalnum()))


class Source(NamedTuple):
    """Where a field is copied from: which text of the input, and the change; `share` of the values are there."""

    text: int
    change: Change
    share: float


SAMPLE = 200


def source_of(leaf: Leaf, texts: Sequence[Sequence[str]], outputs: Sequence[JSON]) -> Source | None:
    """The text and the change that explain most values; None where the values stand nowhere."""
    rows = [(row, values) for row, output in enumerate(outputs) if (values := leaf.values(output))][:SAMPLE]
    if not rows:
        return None
    held: Counter[tuple[int, int]] = Counter()
    known = changes(leaf)
    for at, change in enumerate(known):
        for number in range(len(texts[0])):
            held[number, -at] = sum(
                all(next(_places(texts[row][number], value, change), None) for value in values)
                for row, values in rows
            )
        if max(held[number, -at] for number in range(len(texts[0]))) == len(rows):
            break
    (number, at), hits = max(held.items(), key=lambda item: (item[1], item[0][1], -item[0][0]))
    return Source(number, known[-at], hits / len(rows)) if hits else None

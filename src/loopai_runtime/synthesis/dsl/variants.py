"""Inputs that nobody gave: the examples' inputs, changed a little. Programs that part on them are not the same."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CHANGES: list[Callable[[str], str]] = [
    lambda text: re.sub(r"\d", lambda digit: str((int(digit.group()) + 3) % 10), text),
    lambda text: re.sub(r"\d(?=\d*)", lambda digit: str(9 - int(digit.group())), text, count=2),
    lambda text: re.sub(r"[^\W\d_]{2,}", lambda word: word.group()[:-1], text, count=1),
    lambda text: re.sub(r"[^\W\d_]{2,}", lambda word: word.group() + word.group()[-2:].lower(), text),
    lambda text: re.sub(r"(\S+) (\S+)", r"\1 \2 \1", text, count=1),
    lambda text: re.sub(r"(\S+) (\S+)", r"\2 \1", text, count=1),
    lambda text: re.sub(r"\d+", lambda run: run.group() + "7", text, count=1),
    lambda text: re.sub(r"\d{2,}", lambda run: run.group()[:-1], text),
    str.swapcase,
    lambda text: text[: len(text) * 2 // 3],
]


def _nudged(run: int) -> Callable[[str], str]:
    """Change the last digit of one run of digits alone, so that equal parts of an input become different ones."""

    def change(text: str) -> str:
        found = list(re.finditer(r"\d+", text))
        if run >= len(found):
            return text
        at = found[run].end() - 1
        digit = int(text[at])
        return text[:at] + str(digit - 1 if digit > 1 else digit + 1) + text[at + 1 :]

    return change


_CHANGES += [_nudged(run) for run in range(3)]
_ROWS = 8


def variants(names: Sequence[str], rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Distinct changed inputs, none of them an example."""
    known = {tuple(row.values()) for row in rows}
    found = {tuple(row.values()): row for row in _changed(names, rows[:_ROWS])}
    return [row for key, row in found.items() if key not in known]


def _changed(names: Sequence[str], rows: Sequence[dict[str, str]]) -> Iterator[dict[str, str]]:
    for row in rows:
        for change in _CHANGES:
            yield {name: change(row[name]) for name in names}
    if len(names) > 1:
        for row, other in itertools.pairwise(rows):
            for name in names:
                yield {**row, name: other[name]}

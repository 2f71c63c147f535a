"""A task's inputs as rows of texts, one variable for each property."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Any

from loopai_runtime.synthesis.dsl import library

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = dict[str, str]
_TAKEN = {
    *vars(library),
    "input_data",
    "columns",
    "steps",
    "second_opinion",
    "answer",
    "shape",
    "run",
    "score",
    "explain",
}
_TAKEN |= {
    "text_of",
    "values",
    "output",
    "confidence",
    "part",
    "word",
    "str",
    "int",
    "len",
    "abs",
    "day",
    "time",
    "slot",
}
_MOST = 12


def variables(inputs: Sequence[Any]) -> dict[str, str | None] | None:
    """A variable for each property of the inputs (`text` for bare strings); None if they are nothing to read."""
    if all(isinstance(value, str) for value in inputs):
        return {"text": None}
    if not all(isinstance(value, dict) for value in inputs):
        return None
    properties = list(dict.fromkeys(name for value in inputs for name in value))
    if not 0 < len(properties) <= _MOST:
        return None
    if any(isinstance(part, (dict, list)) for value in inputs for part in value.values()):
        return None
    named: dict[str, str | None] = {}
    for prop in properties:
        name = re.sub(r"\W+", "_", prop.lower(), flags=re.ASCII).strip("_") or "text"
        if name[0].isdigit() or keyword.iskeyword(name) or name in _TAKEN or re.match(r"(day|time|slot)_\d", name):
            name = f"text_{name}"
        while name in named:
            name += "_"
        named[name] = prop
    return named


def row(named: dict[str, str | None], value: Any) -> Row:
    """An input as texts; what is not there is the empty text."""
    if not isinstance(value, dict):
        return {name: text_of(value) for name in named}
    return {name: text_of(value.get(prop)) for name, prop in named.items()}


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def shape(texts: Row) -> str:
    """What texts look like: words become *, numbers #."""
    return re.sub(r"\d+", "#", re.sub(r"[^\W\d_]+", "*", " | ".join(texts.values())))

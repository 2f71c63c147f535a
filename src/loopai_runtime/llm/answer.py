"""A JSON value out of what a model wrote: bare, in a code fence, or in the middle of prose."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.schemas import Schema

_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_MOST_STARTS = 200  # places in a text at which a value is looked for


def json_of(text: str, schema: Schema, *, wrapped: bool = False) -> Any:
    """The first value in `text` that `schema` accepts. Raises ValueError saying what is wrong with what there is.

    `wrapped`: the model was held to an object whose `answer` is the value.
    """
    fault = "no JSON in it"
    for value in _values(text.strip()):
        if wrapped and isinstance(value, dict) and value.keys() == {"answer"} and schema.accepts(value["answer"]):
            return value["answer"]
        if schema.accepts(value):
            return value
        if fault == "no JSON in it":
            fault = next((str(found) for found in schema.faults(value)), fault)
    raise ValueError(fault)


def _values(text: str) -> Iterator[Any]:
    yield from _parsed(text)
    for block in _FENCE.findall(text):
        yield from _parsed(block.strip())
    yield from _inside(text)
    # A label without its quotes is what small models answer.
    yield text.strip("\"'`*. \n")


def _parsed(text: str) -> Iterator[Any]:
    try:
        yield jsonl.loads(text)
    except InputError:
        return


def _inside(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    position, starts = 0, 0
    while starts < _MOST_STARTS and (match := re.compile(r"[\[{]").search(text, position)):
        starts += 1
        try:
            _, position = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            position = match.start() + 1
            continue
        yield from _parsed(text[match.start() : position])

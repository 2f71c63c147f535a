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
_START = re.compile(r"[\[{]")
_MOST_STARTS = 200  # places in a text at which a value is looked for


def json_of(text: str, schema: Schema, *, wrapped: bool = False) -> Any:
    """The first value in `text` that `schema` accepts. Raises ValueError saying what is wrong with what there is.

    `wrapped`: the model was held to an object whose `answer` is the value.
    """
    fault: str | None = None
    for value in _values(text.strip()):
        if wrapped and isinstance(value, dict) and value.keys() == {"answer"} and schema.accepts(value["answer"]):
            return value["answer"]
        if schema.accepts(value):
            return value
        fault = fault or next((str(found) for found in schema.faults(value)), None)
    # A label without its quotes is what small models answer.
    bare = text.strip("\"'`*. \n")
    if bare and "\n" not in bare and schema.accepts(bare):
        return bare
    raise ValueError(fault or "no JSON in it")


def _values(text: str) -> Iterator[Any]:
    yield from _parsed(text)
    for block in _FENCE.findall(text):
        yield from _parsed(block.strip())
    yield from _inside(text)


def _parsed(text: str) -> Iterator[Any]:
    try:
        yield jsonl.loads(text)
    except InputError:
        return


def _inside(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    position, starts = 0, 0
    while starts < _MOST_STARTS and (match := _START.search(text, position)):
        starts += 1
        try:
            _, position = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            position = match.start() + 1
            continue
        yield from _parsed(text[match.start() : position])

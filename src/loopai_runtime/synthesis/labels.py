"""What the names of labels say: `card_arrival` is about cards that arrive, before any example says so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.synthesis.strategy import JSON, Problem

_WORD = re.compile(r"[a-z]{4}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Named(NamedTuple):
    """A label, its name in plain words, and whether the schema names it: then it needs no example."""

    label: JSON
    words: str
    declared: bool


def named(problem: Problem) -> dict[bytes, Named]:
    """The labels that have names, by their canonical JSON: those of the schema, then those of the examples.

    A code such as `it` or `A1` is no name: it says nothing, or in some language something else.
    """
    found = {jsonl.canonical(label): Named(label, text, True) for label, text in _declared(problem.output_schema)}
    for label in problem.labels:
        if isinstance(label, str):
            found.setdefault(jsonl.canonical(label), Named(label, _words(label), False))
    found = {key: one for key, one in found.items() if not one.words.isascii() or _WORD.search(one.words)}
    for key, (label, _) in problem.signs.hints.items() if problem.signs else ():
        found.setdefault(key, Named(label, "", True))
    return found


def _declared(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Labels of `enum`, and of `oneOf` or `anyOf` with `const`, whose title and description say more."""
    for label in schema.get("enum", []):
        if isinstance(label, str):
            yield label, _words(label)
    for part in [*schema.get("oneOf", []), *schema.get("anyOf", [])]:
        if isinstance(part, dict) and isinstance(part.get("const"), str):
            texts = [part["const"], part.get("title"), part.get("description")]
            yield part["const"], " ".join(_words(text) for text in texts if isinstance(text, str))


def _words(name: str) -> str:
    return _HUMP.sub(" ", name).lower()

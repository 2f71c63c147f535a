"""What inputs and answers look like: JSON Schemas from values, and labels from the ways in which they are written.

A model writes one label in many ways (`Spam`, `spam.`, `"spam"`): one label, under its commonest spelling.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_LABELS = 200
_MOSTLY = 0.95  # of the answers that must have a form for it to be the form of all
_REPEATS = 3  # times that a label occurs, on average
_LONGEST_LABEL = 60
_FENCED = re.compile(r"\A\s*```\w*\n(.*?)\n?```\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers as values of one form. `values[i]` is None where an answer has another form: a refusal, an aside."""

    form: Literal["labels", "json", "text"]
    values: list[Any]
    schema: dict[str, Any]

    @property
    def odd(self) -> int:
        return sum(value is None for value in self.values)


def answers_of(texts: Sequence[str]) -> Answers:
    """The form that nearly all of the answers have, and their values in it."""
    parsed = [_json_of(text) for text in texts]
    objects = [value if isinstance(value, dict | list) else None for value in parsed]
    if texts and sum(value is not None for value in objects) >= _MOSTLY * len(texts):
        return Answers("json", objects, schema_of([value for value in objects if value is not None]))
    labels = _labels(texts)
    if labels is not None:
        return Answers(
            "labels", labels, {"type": "string", "enum": sorted({one for one in labels if one is not None})}
        )
    return Answers("text", [text.strip() for text in texts], {"type": "string"})


def _json_of(text: str) -> Any:
    fenced = _FENCED.match(text)
    body = fenced[1] if fenced else text
    if not body.lstrip().startswith(("{", "[")):
        return None
    try:
        return jsonl.loads(body)
    except InputError:
        return None


def _labels(texts: Sequence[str]) -> list[str | None] | None:
    """The label of each answer, None for the odd ones; None where the answers are no labels."""
    plain = [_plain(text) for text in texts]
    spellings: dict[str, Counter[str]] = {}
    for key, shown in plain:
        spellings.setdefault(key, Counter())[shown] += 1
    counts = {key: sum(own.values()) for key, own in spellings.items()}
    common = {key for key, n in counts.items() if n > 1 and 0 < len(key) <= _LONGEST_LABEL and "\n" not in key}
    covered = sum(counts[key] for key in common)
    if len(common) < 2 or len(common) > MOST_LABELS or covered < _MOSTLY * len(texts):
        return None
    if covered < _REPEATS * len(common):
        return None
    names = {key: min(spellings[key], key=lambda shown: (-spellings[key][shown], shown)) for key in common}
    return [names.get(key) for key, _ in plain]


def _plain(text: str) -> tuple[str, str]:
    """An answer as it is compared, and as it is shown: without quotes, fences, emphasis and a final full stop."""
    shown = text.strip().strip("`*\"' \n").removesuffix(".").strip("`*\"' \n")
    return shown.casefold(), shown


def schema_of(values: Sequence[Any]) -> dict[str, Any]:
    """The JSON Schema of values: types, the properties that all objects have as required, items of lists."""
    kinds = sorted({_kind(value) for value in values})
    if "integer" in kinds and "number" in kinds:
        kinds.remove("integer")
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    objects = [value for value in values if isinstance(value, dict)]
    if objects:
        names = dict.fromkeys(name for value in objects for name in value)
        schema["properties"] = {name: schema_of([v[name] for v in objects if name in v]) for name in names}
        schema["required"] = [name for name in names if all(name in value for value in objects)]
    items = [item for value in values if isinstance(value, list) for item in value]
    if items:
        schema["items"] = schema_of(items)
    return schema


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    kinds = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]

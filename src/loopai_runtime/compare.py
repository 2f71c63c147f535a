"""Whether an output is the right one: exactly, nearly, or in meaning; objects property by property.

    exact      equal as JSON: 1 and 1.0 are, "a" and "A" are not
    fuzzy      texts by their similarity (indel, after case and spaces are evened out), the rest exactly
    semantic   a judge is asked about texts that are not equal, the rest exactly

Numbers may differ by `tolerance`; arrays are lists, in order, or sets. A score is in [0, 1]: of an object the
mean of its properties', of a list the mean of its items', of a set the share of the members that both have
(Jaccard 1901).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.models import CompareConfig, ComparisonMethod, FieldComparison

if TYPE_CHECKING:
    from collections.abc import Mapping

Judge = Callable[[Any, Any], float]
"""How alike an output and the right one are in meaning, from 0 to 1."""

THRESHOLD = 0.9
"""Similarity from which a text counts as the same where nobody says another."""
_ROUNDING = 1e-12  # 0.3 - 0.2 differs from 0.1 by less than anybody means


class Comparison(NamedTuple):
    """Whether it matches, how similar it is, by which method, and an object's properties one by one."""

    match: bool
    score: float
    method: ComparisonMethod
    fields: dict[str, float] | None


class _Rule(NamedTuple):
    """A FieldComparison with nothing left out."""

    method: ComparisonMethod
    threshold: float
    tolerance: float
    sets: bool


class _Alike(NamedTuple):
    match: bool
    score: float


_SAME, _OTHER = _Alike(True, 1.0), _Alike(False, 0.0)


def compare(
    output: Any, right: Any, config: CompareConfig | None = None, judge: Judge | None = None
) -> Comparison:
    """Compare an output with the right one.

    A semantic comparison without a `judge` counts texts as the same only where they are equal. What the judge
    raises passes.
    """
    config = config or CompareConfig()
    rule = _rule(config, None)
    comparer = _Comparer(config, judge)
    try:
        alike = comparer.compare(output, right, rule, "")
    except RecursionError:  # nested as nobody nests; such outputs are never right
        return Comparison(False, 0.0, rule.method, None)
    fields = None
    if isinstance(output, dict) and isinstance(right, dict):
        fields = {name: round(score, 6) for name, score in comparer.top.items()}
    return Comparison(alike.match, round(alike.score, 6), rule.method, fields)


def config_for(config: CompareConfig, output_schema: Mapping[str, Any]) -> CompareConfig:
    """`config`, with arrays as sets where the schema tells that order means nothing: distinct items, or labels."""
    if config.arrays is not None:
        return config
    properties = output_schema.get("properties")
    fields = dict(config.fields)
    for name, schema in (properties if isinstance(properties, dict) else {}).items():
        own = fields.get(name, FieldComparison())
        if own.arrays is None and _holds_labels(schema):
            fields[name] = own.model_copy(update={"arrays": "set"})
    arrays = "set" if _holds_labels(output_schema) else None
    return config.model_copy(update={"fields": fields, "arrays": arrays})


def _holds_labels(schema: Any) -> bool:
    if not isinstance(schema, dict) or schema.get("type") != "array":
        return False
    items = schema.get("items")
    return schema.get("uniqueItems") is True or (isinstance(items, dict) and "enum" in items)


def _rule(own: FieldComparison, above: _Rule | None) -> _Rule:
    """What a property's own rule leaves out is as for what it stands in."""
    above = above or _Rule(ComparisonMethod.EXACT, THRESHOLD, 0.0, sets=False)
    return _Rule(
        ComparisonMethod(own.method) if own.method else above.method,
        above.threshold if own.threshold is None else own.threshold,
        above.tolerance if own.tolerance is None else own.tolerance,
        above.sets if own.arrays is None else own.arrays == "set",
    )


class _Comparer:
    def __init__(self, config: CompareConfig, judge: Judge | None) -> None:
        self._fields = config.fields
        self._judge = judge
        self.top: dict[str, float] = {}

    def compare(self, output: Any, right: Any, rule: _Rule, path: str) -> _Alike:
        if isinstance(output, dict) and isinstance(right, dict):
            return self._objects(output, right, rule, path)
        if isinstance(output, list) and isinstance(right, list):
            lists = self._sets if rule.sets else self._lists
            return lists(output, right, rule, path)
        if jsonl.equal(output, right):
            return _SAME
        if _is_number(output) and _is_number(right):
            return _SAME if _near(output, right, rule.tolerance) else _OTHER
        if isinstance(output, str) and isinstance(right, str):
            return self._texts(output, right, rule)
        return _OTHER

    def _texts(self, output: str, right: str, rule: _Rule) -> _Alike:
        if rule.method is ComparisonMethod.FUZZY:
            score = similarity(output, right)
        elif rule.method is ComparisonMethod.SEMANTIC and self._judge is not None:
            score = min(1.0, max(0.0, self._judge(output, right)))
        else:
            return _OTHER
        return _Alike(score >= rule.threshold, score)

    def _objects(self, output: dict[str, Any], right: dict[str, Any], rule: _Rule, path: str) -> _Alike:
        alike: dict[str, _Alike] = {}
        for name in {**right, **output}:
            inner = f"{path}.{name}" if path else name
            own = _rule(self._fields.get(inner, FieldComparison()), rule)
            both = name in output and name in right
            alike[name] = self.compare(output[name], right[name], own, inner) if both else _OTHER
        if not path:
            self.top = {name: one.score for name, one in alike.items()}
        return _mean(list(alike.values()))

    def _lists(self, output: list[Any], right: list[Any], rule: _Rule, path: str) -> _Alike:
        pairs = [self.compare(a, b, rule, path) for a, b in zip(output, right, strict=False)]
        return _mean(pairs + [_OTHER] * abs(len(output) - len(right)))

    def _sets(self, output: list[Any], right: list[Any], rule: _Rule, path: str) -> _Alike:
        """Each member is paired with the first one left that counts as the same."""
        mine, left = _distinct(output), _distinct(right)
        total = len(left)
        same = 0
        for member in mine:
            at = next((i for i, other in enumerate(left) if self.compare(member, other, rule, path).match), None)
            if at is not None:
                del left[at]
                same += 1
        union = len(mine) + total - same
        return _Alike(not left and same == len(mine), same / union if union else 1.0)


def similarity(a: str, b: str) -> float:
    """How alike two texts are, from 0 to 1: case, width and spaces do not count."""
    from rapidfuzz.fuzz import ratio  # here, as most commands compare nothing

    return float(ratio(_even(a), _even(b))) / 100


def _even(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _mean(parts: list[_Alike]) -> _Alike:
    if not parts:
        return _SAME
    return _Alike(all(part.match for part in parts), sum(part.score for part in parts) / len(parts))


def _distinct(members: list[Any]) -> list[Any]:
    return list({jsonl.canonical(member): member for member in members}.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _near(a: float, b: float, tolerance: float) -> bool:
    try:
        return tolerance > 0 and abs(a - b) <= tolerance + _ROUNDING * max(1.0, abs(a), abs(b))
    except OverflowError:  # a whole number beyond every float
        return False

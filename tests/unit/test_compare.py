"""When an output counts as right."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopai_runtime.compare import compare, config_for, similarity
from loopai_runtime.models import CompareConfig, ComparisonMethod

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
METHODS = st.sampled_from(["exact", "fuzzy", "semantic"])


def config(**given: Any) -> CompareConfig:
    return CompareConfig.model_validate(given)


@given(JSON, METHODS, st.sampled_from(["list", "set"]))
def test_everything_matches_itself(value: Any, method: str, arrays: str) -> None:
    found = compare(value, value, config(method=method, arrays=arrays))
    assert (found.match, found.score) == (True, 1.0)


@given(JSON, JSON, METHODS, st.sampled_from(["list", "set"]))
def test_a_score_is_a_share_and_the_same_both_ways(a: Any, b: Any, method: str, arrays: str) -> None:
    rules = config(method=method, arrays=arrays, threshold=1.0)
    one, other = compare(a, b, rules), compare(b, a, rules)
    assert 0.0 <= one.score <= 1.0
    assert one.match == other.match
    assert one.score == pytest.approx(other.score)


def test_exactly_is_by_value_not_by_spelling() -> None:
    assert compare(1, 1.0).match
    assert not compare(1, True).match
    assert not compare("Spam", "spam").match
    assert not compare("1", 1).match
    assert compare({"a": 1, "b": 2}, {"b": 2, "a": 1}).match
    assert compare("spam", "spam").method is ComparisonMethod.EXACT


def test_fuzzy_evens_out_case_and_spaces_and_has_a_threshold() -> None:
    rules = config(method="fuzzy", threshold=0.9)
    assert compare("  Main Street\n1", "main street 1", rules).match
    near = compare("Main Street 1", "Main Strete 1", rules)
    assert near.match
    assert 0.9 <= near.score < 1
    assert not compare("Main Street 1", "Side Alley 2", rules).match
    assert not compare("Main Street 1", "Main Strete 1", config(method="fuzzy", threshold=0.99)).match
    assert similarity("ＡＢＣ", "abc") == 1.0


def test_numbers_may_differ_by_the_tolerance() -> None:
    rules = config(tolerance=0.01)
    assert compare(0.1 + 0.2, 0.3, rules).match
    assert compare(10.0, 10.01, rules).match
    assert not compare(10.0, 10.02, rules).match
    assert not compare(0.1 + 0.2, 0.3).match
    assert not compare(True, 1.005, rules).match
    assert not compare(10**400, 1.5, rules).match


def test_each_property_has_its_own_rule_and_score() -> None:
    rules = config(
        fields={"name": {"method": "fuzzy"}, "total": {"tolerance": 0.5}, "address.city": {"method": "fuzzy"}}
    )
    right = {"name": "ACME Corp", "total": 10, "id": "x", "address": {"city": "Köln", "zip": "50667"}}
    found = compare(
        {"name": "acme corp", "total": 10.4, "id": "y", "address": {"city": "KÖLN", "zip": "50667"}}, right, rules
    )
    assert found.fields == {"name": 1.0, "total": 1.0, "id": 0.0, "address": 1.0}
    assert not found.match
    assert found.score == 0.75
    assert compare({"a": 1}, {"a": 1, "b": None}).fields == {"a": 1.0, "b": 0.0}
    assert compare("text", "text").fields is None


def test_labels_are_a_set_where_the_schema_says_that_order_means_nothing() -> None:
    schema = {"type": "array", "items": {"enum": ["a", "b", "c"]}}
    rules = config_for(CompareConfig(), schema)
    assert compare(["a", "b", "a"], ["b", "a"], rules).match
    half = compare(["a", "b"], ["b", "c"], rules)
    assert not half.match
    assert half.score == pytest.approx(1 / 3, abs=1e-6)
    assert compare([], [], rules).match
    inner = config_for(
        CompareConfig(), {"type": "object", "properties": {"tags": schema, "steps": {"type": "array"}}}
    )
    assert compare({"tags": ["a", "b"], "steps": [1, 2]}, {"tags": ["b", "a"], "steps": [1, 2]}, inner).match
    assert not compare({"tags": [], "steps": [1, 2]}, {"tags": [], "steps": [2, 1]}, inner).match
    assert not compare(["a", "b"], ["b", "a"], config_for(config(arrays="list"), schema)).match


def test_a_judge_is_asked_only_about_texts_that_differ() -> None:
    asked: list[tuple[Any, Any]] = []

    def judge(output: Any, right: Any) -> float:
        asked.append((output, right))
        return 1.0 if "ten" in output else 0.0

    rules = config(method="semantic")
    right = {"when": "at 10", "who": "Bo", "count": 3}
    assert compare({"when": "at ten", "who": "Bo", "count": 3}, right, rules, judge).match
    assert asked == [("at ten", "at 10")]
    assert not compare({"when": "at ten", "who": "Bo", "count": 4}, right, rules, judge).match
    assert not compare("at ten", "at 10", rules).match


def test_what_is_nested_beyond_reason_is_not_right() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert not compare(deep, [deep]).match

"""CSV cells: what a schema makes of a text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopai_runtime import jsonl
from loopai_runtime.synthesis.cells import converter, types

ROOT = {
    "$defs": {
        "price": {"type": "number"},
        "maybe": {"anyOf": [{"$ref": "#/$defs/price"}, {"type": "null"}]},
        "loop": {"$ref": "#/$defs/loop"},
        "a/b": {"type": "boolean"},
    }
}
KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ({"type": "integer"}, st.integers(-(10**50), 10**50)),
    ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False)),
    ({"type": "boolean"}, st.booleans()),
    ({"type": "null"}, st.none()),
    ({"type": "array"}, st.lists(st.integers() | st.text())),
    ({"type": "object"}, st.dictionaries(st.text(), st.text() | st.none())),
]


@given(st.data())
def test_a_value_written_as_json_comes_back_by_its_type(data: st.DataObject) -> None:
    schema, values = data.draw(st.sampled_from(KINDS))
    value = data.draw(values)
    assert jsonl.equal(converter(schema, "c")(json.dumps(value)), value)


@given(st.text())
def test_a_text_stays_as_it_is(text: str) -> None:
    for schema in ({"type": "string"}, {}, {"type": "string", "enum": ["a"]}, {"const": "x"}):
        assert converter(schema, "c")(text) == text


@given(st.text())
def test_any_text_is_converted_or_refused_in_a_sentence(text: str) -> None:
    for schema, _ in KINDS:
        message = "the column: "
        try:
            jsonl.compact(converter(schema, "the column")(text))
        except ValueError as exc:
            message = str(exc)
        assert message.startswith("the column: ")


@pytest.mark.parametrize(
    ("cell", "schema", "value"),
    [
        (" 7 ", {"type": "integer"}, 7),
        ("+7", {"type": "integer"}, 7),
        ("5.0", {"type": "integer"}, 5),
        ("1e3", {"type": "integer"}, 1000),
        ("12", {"type": "number"}, 12),
        (".5", {"type": "number"}, 0.5),
        ("TRUE", {"type": "boolean"}, True),
        ("", {"type": ["string", "null"]}, None),
        ("null", {"type": ["integer", "null"]}, None),
        ("null", {"type": "string"}, "null"),
        ("5", {"type": ["string", "integer"]}, 5),
        ("12:30", {"type": ["string", "integer"]}, "12:30"),
        ("[1", {"type": ["string", "array"]}, "[1"),
        ("3", {"enum": [1, 3]}, 3),
        ("3", {"enum": ["3", "4"]}, "3"),
        ("5", {"enum": ["5", 6]}, "5"),
        ("6", {"enum": ["5", 6]}, 6),
        ("true", {"const": True}, True),
        ("2.5", {"$ref": "#/$defs/price"}, 2.5),
        ("", {"$ref": "#/$defs/maybe"}, None),
        ("false", {"$ref": "#/$defs/a~1b"}, False),
        ("x", {"$ref": "#/$defs/loop"}, "x"),
        ("x", {"$ref": "#/nowhere"}, "x"),
        ("x", True, "x"),
        ('{"a": 1}', {"properties": {"a": {}}}, {"a": 1}),
    ],
)
def test_a_cell_is_what_the_schema_asks_for(cell: str, schema: Any, value: object) -> None:
    found = converter(schema, "c", ROOT)(cell)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("cell", "schema", "said"),
    [
        ("x", {"type": "integer"}, "age: 'x' is not integer"),
        ("1,000", {"type": "number"}, "is not number"),
        ("1_000", {"type": "integer"}, "is not integer"),
        ("٣", {"type": "integer"}, "is not integer"),
        ("1.5", {"type": "integer"}, "is not integer"),
        ("nan", {"type": "number"}, "is not number"),
        ("1e999", {"type": "number"}, "is not number"),
        ("9" * 5000, {"type": "integer"}, "999…' is not integer"),
        ("yes", {"type": "boolean"}, "is not boolean"),
        ("", {"type": "number"}, "'' is not number"),
        ("[1", {"type": "array"}, "is not array"),
        ('{"a": NaN}', {"type": "object"}, "is not object"),
        ("4", {"enum": [1, 3]}, "'4' is not one of 1, 3"),
        ("x", {"type": ["integer", "null"]}, "is not integer or null"),
    ],
)
def test_a_cell_that_does_not_fit_is_refused(cell: str, schema: Any, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        converter(schema, "age")(cell)
    assert said in str(caught.value)


def test_the_types_of_a_schema_that_does_not_say_are_unknown() -> None:
    assert types({}) == set()
    assert types({"properties": {}}) == {"object"}
    assert types({"oneOf": [{"type": "integer"}, {"items": {}}]}) == {"integer", "array"}

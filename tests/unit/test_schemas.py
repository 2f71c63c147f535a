"""JSON Schemas: compiled or refused, faults with their path, nothing fetched, nothing slow."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from tests.bars import within

from loopai_runtime.schemas import MAX_FAULTS, Schema, SchemaFault

ORDER = Schema(
    {
        "type": "object",
        "properties": {"text": {"type": "string"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
        "required": ["text"],
        "$defs": {"line": {"type": "object", "properties": {"count": {"type": "integer"}}}},
    }
)


def said(schema: dict[str, Any], value: object) -> list[str]:
    return [str(fault) for fault in Schema(schema).faults(value)]


def test_a_fault_has_its_json_path() -> None:
    value = {"text": "x", "lines": [{"count": 1}, {"count": "two"}]}
    assert [(f.path, f.message) for f in ORDER.faults(value)] == [
        ("$.lines[1].count", '"two" is not of type "integer"')
    ]
    assert [str(f) for f in ORDER.faults({})] == ['$: "text" is a required property']
    assert not ORDER.accepts(value)
    assert ORDER.accepts({"text": ""})


def test_at_most_twenty_faults_are_given() -> None:
    assert len(Schema({"items": {"type": "string"}}).faults(list(range(1000)))) == MAX_FAULTS == 20


def test_a_long_value_is_cut_in_the_message() -> None:
    (message,) = said({"enum": ["a", "b"]}, "x" * 50_000)
    assert len(message) < 400
    assert '"a" or "b"' in message


@pytest.mark.parametrize(
    ("schema", "value", "advice"),
    [
        ({"type": "string"}, 5, '; quote it: "5"'),
        ({"type": ["string", "null"]}, True, '; quote it: "true"'),
        ({"enum": ["spam", "123"]}, 123, '; quote it: "123"'),
        ({"enum": [1, 2]}, "1", "; write it without quotes"),
        ({"type": "boolean"}, "true", '"boolean"'),
        ({"type": "number"}, "-1.5", "; write it without quotes"),
        ({"type": "integer"}, "five", '"integer"'),
        ({"enum": ["string"]}, 5, '"string"'),
    ],
)
def test_a_value_that_only_lacks_quotes_is_told_so(schema: dict[str, Any], value: object, advice: str) -> None:
    (message,) = said(schema, value)
    assert message.endswith(advice)


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"type": "strin"}, "$.type", "the types are string, number"),
        ({"properties": {"a b": {"minLength": -1}}}, "$.properties['a b'].minLength", "less than the minimum"),
        ({"required": "text"}, "$.required", 'is not of type "array"'),
        ({"pattern": "("}, "$.pattern", "regex"),
        ({"pattern": "(?=a)b"}, "$.pattern", "no look-around"),
        ({"$ref": "#/$defs/none"}, "$", "does not exist"),
        ({"$schema": 5}, "$.$schema", "no known draft"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_path(schema: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(SchemaFault) as caught:
        Schema(schema)
    assert caught.value.path == path
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["$ref", "$dynamicRef", "$schema", "$id"])
def test_a_schema_never_reaches_for_the_network(key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        host, port = server.getsockname()
        schema = {key: f"http://{host}:{port}/schema"} | ({"$ref": "other"} if key == "$id" else {})
        with pytest.raises(SchemaFault):
            Schema(schema)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "draft",
    [
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
        "http://json-schema.org/draft-04/schema",
    ],
)
def test_the_drafts_in_use_are_known(draft: str) -> None:
    schema = Schema({"$schema": draft, "type": "string"})
    assert schema.accepts("x")
    assert not schema.accepts(1)


def test_a_pattern_cannot_stop_the_process() -> None:
    schema = Schema({"pattern": "^(a+)+$"})
    with within(1):
        assert not schema.accepts(
            "a" * 50_000 + "!"
        )  # where one alternative after another is tried, it never ends


def test_formats_are_checked() -> None:
    assert Schema({"format": "date"}).accepts("2026-11-22")
    assert not Schema({"format": "date"}).accepts("22.11.2026")


def test_a_schema_may_refer_to_itself() -> None:
    tree = Schema({"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": False})
    assert tree.accepts({"child": {"child": {}}})
    assert tree.faults({"child": {"x": 1}})[0].path == "$.child"

"""JSON out of what models write around it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.bars import within

from loopai_runtime.llm.answer import json_of
from loopai_runtime.llm.form import Form
from loopai_runtime.schemas import Schema

LABELS = Schema({"type": "string", "enum": ["spam", "ham"]})
PERSON = Schema({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]})


@pytest.mark.parametrize(
    "text",
    [
        '"spam"',
        "spam",
        " spam.\n",
        "'spam'",
        "**spam**",
        '```json\n"spam"\n```',
        "```\nspam\n```".replace("spam", '"spam"'),
    ],
)
def test_a_label_is_read_with_or_without_its_quotes(text: str) -> None:
    assert json_of(text, LABELS) == "spam"


@pytest.mark.parametrize(
    "text",
    [
        '{"age": 7}',
        'Sure! Here it is:\n```json\n{"age": 7}\n```\nAnything else?',
        'The set {x} has a person {"age": 7}; [1] says so.',
        'First {"age": "seven"} was wrong; it is {"age": 7}.',
        '```python\nprint(1)\n```\n```json\n{"age": 7}\n```',
        '<think>{"name": 1}</think>{"age": 7}',
    ],
)
def test_the_first_value_that_fits_is_taken(text: str) -> None:
    assert json_of(text, PERSON) == {"age": 7}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I cannot do that.", "no JSON"),
        ('{"age": "seven"}', "integer"),
        ("", "no JSON"),
        ('{"age": 7', "no JSON"),
        ('{"age": 1, "age": 2}', "no JSON"),
        ('{"age": NaN}', "no JSON"),
        ("[" * 200_000, "no JSON"),
        ('{"a":' * 100_000, "no JSON"),
        ("```\n" * 50_000, "no JSON"),
        ("`" * 200_000, "no JSON"),
    ],
)
def test_what_does_not_fit_is_said_soon(text: str, said: str) -> None:
    with within(3), pytest.raises(ValueError, match=said):
        json_of(text, PERSON)


@pytest.mark.parametrize("text", ['{"answer": "ham"}', '"ham"', 'It is {"answer": "ham"}', "ham"])
def test_a_value_that_was_put_into_an_object_is_taken_out(text: str) -> None:
    assert Form(LABELS).read(text) == "ham"


def test_models_are_held_to_objects() -> None:
    label, person = Form(LABELS), Form(PERSON)
    assert label.response_format is not None
    assert person.response_format is not None
    assert _schema(label)["properties"]["answer"] == LABELS.schema
    assert _schema(person) == PERSON.schema
    assert '"enum": ["spam", "ham"]' in label.request["content"]


def test_references_would_lead_nowhere_inside_an_object() -> None:
    listed = {"type": "array", "items": {"$ref": "#/$defs/x"}, "$defs": {"x": {"type": "string"}}}
    form = Form(Schema(listed))
    assert form.response_format is None
    assert form.read('["a"]') == ["a"]


def _schema(form: Form) -> dict[str, Any]:
    assert form.response_format is not None
    found: dict[str, Any] = form.response_format["json_schema"]["schema"]
    return found

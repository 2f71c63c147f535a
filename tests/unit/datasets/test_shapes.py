"""Schemas and labels are inferred from values."""

from __future__ import annotations

from typing import Any

import pytest

from loopai_runtime.datasets.shapes import answers_of, schema_of
from loopai_runtime.schemas import Schema


def test_one_label_in_many_spellings_is_one_label() -> None:
    answers = answers_of(
        ["spam"] * 20 + ["Spam", "spam.", '"spam"', "**spam**", "ham", "HAM", "ham"] + ["ham"] * 20
    )
    assert answers.form == "labels"
    assert answers.schema == {"type": "string", "enum": ["ham", "spam"]}
    assert set(answers.values) == {"ham", "spam"}


def test_a_refusal_is_odd_and_no_label() -> None:
    answers = answers_of(["yes", "no"] * 50 + ["I cannot help with that."])
    assert (answers.odd, answers.values[-1]) == (1, None)


def test_objects_are_read_out_of_fences() -> None:
    answers = answers_of(['```json\n{"a": 1}\n```', '{"a": 2.5, "b": null}'] * 20)
    assert answers.form == "json"
    assert answers.schema["required"] == ["a"]
    assert answers.schema["properties"]["a"] == {"type": "number"}


@pytest.mark.parametrize("texts", [[f"a sentence of its own, number {n}" for n in range(50)], ["same"] * 50, []])
def test_what_repeats_too_little_or_never_differs_is_text(texts: list[str]) -> None:
    assert answers_of(texts).form == "text"


@pytest.mark.parametrize(
    "values",
    [
        [{"a": 1, "b": [1, "x"]}, {"a": None}],
        [1, 2.5, True, None, "x", [], {}],
        [[{"k": {"deep": [1]}}], [{"k": {}}]],
    ],
)
def test_values_fit_the_schema_that_was_inferred_from_them(values: list[Any]) -> None:
    schema = Schema(schema_of(values))
    assert all(schema.accepts(value) for value in values)

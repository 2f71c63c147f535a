"""The records: strict names, slugs, the contract's field names against the original's."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from loopai_runtime import models
from loopai_runtime.models import (
    ExecutionRecord,
    ProgramArtifact,
    TaskSpecification,
    TelemetryBatch,
    ValidationRecord,
    is_slug,
    new_id,
    utc_now,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\u2028😀", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
SHARES = st.none() | st.floats(0, 1)
EXECUTIONS = st.builds(
    ExecutionRecord,
    execution_id=st.uuids().map(str),
    task_id=st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True),
    version=st.integers(1, 99),
    input=JSON,
    output=JSON,
    confidence=SHARES,
    pi=SHARES,
    latency_ms=st.floats(0, 1e6),
    timestamp=st.just("2025-10-26T10:00:00.000000Z"),
    deployment_id=st.just("edge-1"),
)
SPEC: dict[str, Any] = {"name": "a", "description": "d", "input_schema": {}, "output_schema": {}}


@given(EXECUTIONS)
def test_an_execution_survives_its_line(record: ExecutionRecord) -> None:
    line = record.model_dump_json(by_alias=True)
    assert json.loads(line)["schema"] == 1
    assert ExecutionRecord.model_validate_json(line) == record


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("spam-detection", True),
        ("0", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("", False),
        ("-a", False),
        ("A", False),
        ("a_b", False),
        ("a b", False),
        ("../x", False),
        ("a/b", False),
        ("a\n", False),
        ("ä", False),
        ("٣", False),
    ],
)
def test_slugs(text: str, good: bool) -> None:
    assert is_slug(text) is good
    if good:
        assert TaskSpecification.model_validate(SPEC | {"name": text}).task_id == text
    else:
        with pytest.raises(ValidationError):
            TaskSpecification.model_validate(SPEC | {"name": text})


def test_an_unknown_field_is_an_error() -> None:
    for model in (ExecutionRecord, ValidationRecord, TelemetryBatch, TaskSpecification, ProgramArtifact):
        with pytest.raises(ValidationError) as caught:
            model.model_validate({"surprise": 1})
        assert ("surprise",) in [error["loc"] for error in caught.value.errors()]


def test_short_names_of_the_schemas_do_not_hide_the_long_ones() -> None:
    short = {"name": "a", "description": "d", "input": {"type": "string"}, "output": {"type": "boolean"}}
    spec = TaskSpecification.model_validate(short)
    assert (spec.input_schema, spec.output_schema) == ({"type": "string"}, {"type": "boolean"})
    assert short["input"] == {"type": "string"}
    with pytest.raises(ValidationError):
        TaskSpecification.model_validate(SPEC | {"input": {}})


def test_the_originals_names_are_mapped_to_fields_that_exist() -> None:
    for record, names in models.ORIGINAL_NAMES.items():
        model: type[BaseModel] = getattr(models, record)
        for original, ours in names.items():
            assert ours in model.model_fields
            assert original not in model.model_fields


def test_times_are_utc_and_end_in_z() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", utc_now())
    assert utc_now() <= utc_now()


def test_ids_are_uuids() -> None:
    assert uuid.UUID(new_id()).version == 4
    assert new_id() != new_id()

"""Transformation through the commands: two readings of the examples, and the input that settles which is meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Loopai = Callable[..., Any]
SPEC = """
name: written-dates
description: Write a date in words
input_schema: {type: object, properties: {text: {type: string}}, required: [text]}
output_schema: {type: string}
examples:
  - {input: {text: 3/3/2026}, output: "March 3, 2026"}
  - {input: {text: 7/7/2025}, output: "July 7, 2025"}
unlabelled_from: [{file: more.jsonl}]
generate: {strategy: dsl}
"""


def test_where_two_readings_fit_the_best_is_kept_as_a_draft_and_the_separating_input_is_named(
    loopai: Loopai, tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    inputs = [{"text": "5/5/2024"}, {"text": "3/4/2024"}]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(one) + "\n" for one in inputs))
    done = loopai("generate", tmp_path / "spec.yaml")
    assert done.code == 3
    assert "two readings fit the examples" in done.err
    assert '{"text": "3/4/2024"}' in done.err
    lines = (loopai.data_dir / "tasks/written-dates/suggestions.jsonl").read_text().splitlines()  # type: ignore[attr-defined]
    first = json.loads(lines[0])
    assert first["input"] == {"text": "3/4/2024"}
    assert first["confidence"] < 0.5

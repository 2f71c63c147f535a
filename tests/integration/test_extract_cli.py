"""Extraction through the commands: from a specification to a program that says how it read each field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Loopai = Callable[..., Any]
EXAMPLES = Path(__file__).parents[2] / "examples" / "log_lines"


def test_the_extraction_template_becomes_a_program(loopai: Loopai, tmp_path: Path) -> None:
    assert loopai("init", tmp_path / "spec.yaml", "--template", "extract").code == 0
    done = loopai("generate", tmp_path / "spec.yaml", "-o", "json")
    assert (done.code, done.json["strategy"], done.json["status"]) == (0, "extract", "active")
    text = {"text": "Order E-7 of 2026-05-01: 9 pieces, total 80.10 EUR"}
    answer = loopai("run", "my-extractor", json.dumps(text)).json
    assert answer == {"order": "E-7", "date": "2026-05-01", "pieces": 9, "total": 80.1}


@pytest.mark.slow
def test_the_log_lines_example_reads_lines_it_has_not_seen_and_says_how(loopai: Loopai) -> None:
    assert loopai("generate", EXAMPLES / "spec.yaml").code == 0
    scored = loopai("evaluate", "log-lines", EXAMPLES / "gold.jsonl", "-o", "json", "--fail-under", "0.95")
    assert scored.code == 0
    line = {"line": "2026-05-02T08:14:07.912Z INFO [checkout-api] req=5 Cart 7 opened"}
    why = loopai("why", "log-lines", json.dumps(line), "-o", "json").json
    read = {step["field"]: step for step in why["why"]}
    assert read["request_id"]["value"] == 5
    assert "format" in read["message"]["rule"]

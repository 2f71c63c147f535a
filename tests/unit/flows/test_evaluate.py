"""How versions are scored, on results made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.errors import GateMissed, InputError, SpecError
from loopai_runtime.files import make_dir, replace_file
from loopai_runtime.flows.evaluate import Evaluation, read_gold, score
from loopai_runtime.flows.execute import Request, Result
from loopai_runtime.layout import Layout
from loopai_runtime.models import ExecutionRecord, ProgramArtifact


def answer(output: Any, abstained: bool | None = None) -> Result:
    record = ExecutionRecord(
        execution_id="x",
        task_id="t",
        version=1,
        input=None,
        output=output,
        abstained=abstained,
        status="success",
        latency_ms=1.0,
        timestamp="2026-11-22T00:00:00Z",
        deployment_id="d",
    )
    return Result(1, Request(None), record.line())


def refused() -> Result:
    return Result(1, Request(None), refused=InputError("not a text"))


def test_accuracy_comes_with_its_wilson_interval() -> None:
    result = score(1, [answer("a")] * 8 + [answer("b")] * 2, ["a"] * 10)
    assert result.accuracy["value"] == 0.8
    assert result.accuracy["low"] == pytest.approx(0.4902, abs=1e-4)
    assert result.accuracy["high"] == pytest.approx(0.9433, abs=1e-4)


def test_precision_recall_and_f1_by_label() -> None:
    result = score(1, [answer(x) for x in "aaabb"], list("aabbb"))
    by_label = {s.label: s for s in result.labels}
    assert by_label["a"].precision == pytest.approx(2 / 3)
    assert by_label["a"].recall == 1.0
    assert by_label["b"].f1 == pytest.approx(0.8)
    assert result.confusion == [{"expected": "b", "output": "a", "count": 1}]


def test_an_abstained_answer_is_neither_right_nor_wrong() -> None:
    result = score(1, [answer("a"), answer(None, abstained=True)], ["a", "b"])
    assert (result.answered, result.rows) == (1, 2)
    assert result.accuracy["value"] == 1.0
    assert result.accuracy["n"] == 1


def test_a_refused_or_failed_row_is_wrong() -> None:
    result = score(1, [answer("a"), refused()], ["a", "a"])
    assert result.errors == 1
    assert result.accuracy["value"] == 0.5


def test_outputs_are_compared_as_json_values() -> None:
    assert score(1, [answer(1.0), answer(True), answer({"b": 1, "a": 2})], [1, 1, {"a": 2, "b": 1}]).right == [
        True,
        False,
        True,
    ]


def test_a_gate_names_the_version_that_misses_it() -> None:
    evaluation = Evaluation([score(3, [answer("a"), answer("b")], ["a", "a"])], [])
    evaluation.require(0.5)
    with pytest.raises(GateMissed, match=r"v3 is right on 50\.0%"):
        evaluation.require(0.9)


TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


@pytest.fixture
def gold(tmp_path: Path) -> Callable[..., list[str]]:
    """Writes a file of labelled rows for a task that maps its own; returns the faults that are found in it."""
    layout = Layout(tmp_path / "data")
    spec = {
        "name": "spam",
        "description": "d",
        "input_schema": TEXT,
        "output_schema": {"enum": ["spam", "ham"]},
        "examples_from": [
            {"file": "old.csv", "input": {"text": "message"}, "output": "kind"},
            {"file": "train.csv", "input": {"text": "body"}, "output": "label"},
        ],
    }
    replace_file(make_dir(layout.task("spam")) / "spec.yaml", json.dumps(spec).encode())
    artifact = ProgramArtifact.model_construct(
        task_id="spam", input_schema=TEXT, output_schema=spec["output_schema"]
    )

    def faults(name: str, text: str) -> list[str]:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SpecError) as caught:
            read_gold(path, artifact, layout, "utf-8")
        return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]

    return faults


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("g.csv", "body,label\nhi,ham\nbuy,eggs\n", "3"),
        ("g.csv", "body,label\nbuy,eggs\n", "2"),
        ("g.jsonl", '{"body": "hi", "label": "ham"}\n{"body": "buy", "label": "eggs"}\n', "2"),
        ("g.jsonl", '{"body": "buy", "label": "eggs"}\n', "1"),
        ("g.jsonl", '{"input": {"text": "buy"}, "output": "eggs"}\n', "1"),
        ("g.csv", "text,output\nbuy,eggs\n", "2"),
    ],
)
def test_faults_of_gold_rows_are_those_of_the_mapping_that_fits_their_columns(
    gold: Callable[..., list[str]], name: str, text: str, line: str
) -> None:
    (fault,) = gold(name, text)
    assert fault.startswith(f"{line}: $.output: ")
    assert "eggs" in fault


def test_gold_rows_whose_columns_fit_nothing_are_judged_by_the_plain_rule(
    gold: Callable[..., list[str]],
) -> None:
    assert gold("g.csv", "a,b\n1,2\n") == ["1: no column 'output'; there are 'a', 'b'"]
    assert "no key 'input' in the row" in gold("g.jsonl", '{"a": 1}\n')[0]

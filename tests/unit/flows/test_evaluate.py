"""How versions are scored, on results made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from loopai_runtime.errors import GateMissed, InputError
from loopai_runtime.flows.evaluate import Evaluation, score
from loopai_runtime.flows.execute import Request, Result
from loopai_runtime.models import ExecutionRecord


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
    return Result(1, Request(None), record)


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

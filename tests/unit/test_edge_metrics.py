"""What the edge tells its platform of the executions since it told last."""

from __future__ import annotations

from typing import Any

from loopai_runtime.edge.metrics import Metrics
from loopai_runtime.flows.execute import Result


def executed(took_ms: float, status: str = "success", version: int = 1) -> Result:
    record: dict[str, Any] = {
        "task_id": "spam", "version": version, "latency_ms": took_ms, "status": status, "sampled": False,
    }  # fmt: skip
    return Result(version, record=record)


def test_each_execution_is_told_of_once() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.watch(executed(0.2, "error" if number < 5 else "success"))
    (first,) = metrics.recent()
    assert (first["task_id"], first["version"], first["count"], first["errors"]) == ("spam", 1, 100, 5)
    assert metrics.recent() == []
    metrics.watch(executed(0.2, "timeout"))
    metrics.watch(executed(0.2, version=2))
    told = [(each["version"], each["count"], each["errors"]) for each in metrics.recent()]
    assert told == [(1, 1, 1), (2, 1, 0)]


def test_quantiles_lie_between_the_bounds_that_the_executions_lie_between() -> None:
    metrics = Metrics()
    for _ in range(980):
        metrics.watch(executed(0.2))
    for _ in range(20):
        metrics.watch(executed(8.0))
    (told,) = metrics.recent()
    assert 0.1 <= told["p50_ms"] <= 0.25
    assert 5.0 <= told["p99_ms"] <= 10.0


def test_what_is_beyond_every_bound_is_told_as_the_last() -> None:
    metrics = Metrics()
    metrics.watch(executed(5000.0))
    assert metrics.recent()[0]["p99_ms"] == 1000.0

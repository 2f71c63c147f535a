"""Executions to log, for tests."""

from __future__ import annotations

import random
from typing import Any

from loopai_runtime.models import new_id

DAY = "2026-03-04"  # long closed


def execution(
    n: int = 0, *, day: str = DAY, rng: random.Random | None = None, task_id: str = "spam", **changes: Any
) -> dict[str, Any]:
    """A valid record; with `rng` a varied one."""
    rng = rng or random.Random(n)
    status = changes.get("status") or rng.choices(("success", "error", "timeout"), (90, 7, 3))[0]
    abstained = status == "success" and rng.random() < 0.1
    record: dict[str, Any] = {
        "schema": 1,
        "execution_id": new_id(),
        "task_id": task_id,
        "version": rng.choice((1, 2, 3)),
        "input": {"text": f"Ünïcode \n text {n}", "status": "error"},
        "output": rng.choice(("spam", "ham", True, {"a": 1}, 7))
        if status == "success" and not abstained
        else None,
        "source": "none" if abstained else "program",
        "status": status,
        "latency_ms": round(rng.lognormvariate(-1, 1), 4),
        "timestamp": f"{day}T{rng.randrange(24):02}:{rng.randrange(60):02}:07.123456Z",
        "sampled": rng.random() < 0.05,
        "pi": 0.05,
        "deployment_id": "edge-1",
    }
    if status == "success":
        record |= {"confidence": round(rng.random(), 3), "abstained": abstained}
    else:
        record["error"] = {"type": rng.choice(("ValueError", "Timeout")), "message": "no"}
    if rng.random() < 0.3:
        record |= {"rollout_id": "r1", "arm": rng.choice(("incumbent", "candidate"))}
    return record | changes

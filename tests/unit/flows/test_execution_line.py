"""The line of an execution is what the record's model says it is."""

from __future__ import annotations

from typing import Any

import pytest
from tests.versions import artifact

from loopai_runtime.flows.execute import Request, Service
from loopai_runtime.models import AbstainThreshold, ExecutionRecord
from loopai_runtime.sampling import Plan, Sampler
from loopai_runtime.sandbox import Outcome, ProgramFault

SUCCESS = Outcome("success", "spam", 0.8, wall_ms=0.1234567)
OUTCOMES = {
    "success": SUCCESS,
    "without confidence": Outcome("success", "ham", None, wall_ms=0.1),
    "error": Outcome("error", error=ProgramFault("KeyError", "'x'", 7), wall_ms=0.2),
    "error without a line": Outcome("error", error=ProgramFault("Crash", "ended")),
    "timeout": Outcome("timeout", error=ProgramFault("Timeout", "slow"), stopped_by="timeout", wall_ms=1000.0),
    "memory": Outcome("error", error=ProgramFault("MemoryError", "MemoryError"), stopped_by="memory"),
    "forbidden output": Outcome("success", "eggs", 0.9),
}


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.parametrize(
    "abstain", [None, AbstainThreshold(threshold=0.85, target_accuracy=0.98, confidence=0.95)]
)
@pytest.mark.parametrize("sampling", [None, Sampler(Plan(rate=0.5), b"key")])
def test_every_line_is_the_models_own(outcome: Outcome, abstain: Any, sampling: Any) -> None:
    service = Service(artifact(abstain=abstain), "edge-1", sampling)
    line = service.finish(Request({"text": "hi"}), outcome).record
    assert line is not None
    again = ExecutionRecord.model_validate(line).line()
    assert again == line
    assert list(again) == list(line)


def test_the_runtime_abstains_below_the_threshold() -> None:
    policy = AbstainThreshold(threshold=0.85, target_accuracy=0.98, confidence=0.95)
    result = Service(artifact(abstain=policy), "edge-1").finish(Request({}), SUCCESS)
    assert (result.output, result.abstained, result.ok) == (None, True, True)
    assert result.record is not None
    assert result.record["source"] == "none"


def test_only_an_answer_of_the_programs_own_is_chosen() -> None:
    policy = AbstainThreshold(threshold=0.85, target_accuracy=0.98, confidence=0.95)
    always = Sampler(Plan(rate=1.0), b"key")
    kinds = {
        "answer": Service(artifact(), "edge-1", always).finish(Request({}), SUCCESS),
        "abstained": Service(artifact(abstain=policy), "edge-1", always).finish(Request({}), SUCCESS),
        "error": Service(artifact(), "edge-1", always).finish(Request({}), OUTCOMES["error"]),
        "timeout": Service(artifact(), "edge-1", always).finish(Request({}), OUTCOMES["timeout"]),
    }
    chosen = {
        kind: (result.record["sampled"], result.record["pi"]) for kind, result in kinds.items() if result.record
    }
    assert chosen == {
        "answer": (True, 1.0), "abstained": (False, 0.0), "error": (False, 0.0), "timeout": (False, 0.0),
    }  # fmt: skip

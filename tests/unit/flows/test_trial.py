"""Two versions of a task on one stream of requests: whose answer leaves, and what is seen of the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.versions import artifact

from loopai_runtime.datasets.shadow import Arm
from loopai_runtime.flows import trial as trials
from loopai_runtime.flows.execute import Request, Result, Service
from loopai_runtime.flows.trial import Trial, drawn, side_of
from loopai_runtime.models import ProgramArtifact, utc_now
from loopai_runtime.rollout import Failures
from loopai_runtime.rollouts import Rollout
from loopai_runtime.sandbox import Outcome

INCUMBENT, CANDIDATE = 1, 2
ANYTHING: dict[str, Any] = {"type": "object"}
TEXTS = ANYTHING | {"properties": {"text": {"type": "string"}}}
Done = Callable[[Outcome], None]


class Sandbox:
    """Calls wait here until the test answers them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes, Done]] = []
        self.room = True

    def submit(self, key: str, payload: bytes, done: Done) -> None:
        self.calls.append((key, payload, done))

    def answer(self, outcome: Outcome) -> None:
        self.calls.pop(0)[2](outcome)


class Stage:
    """A trial, its sandbox and its versions."""

    def __init__(self, stage: int = 50, *, at_once: int = 1, **changes: Any) -> None:
        now = utc_now()
        self.rollout = Rollout("r-1", "spam", CANDIDATE, INCUMBENT, now, now, now, stage=stage, **changes)
        self.sandbox = Sandbox()
        self.reasons: list[str] = []
        artifacts: dict[Arm, ProgramArtifact] = {
            "incumbent": artifact(version=INCUMBENT, input_schema=ANYTHING),
            "candidate": artifact(version=CANDIDATE, input_schema=TEXTS),
        }
        self.services = {arm: Service(each, "here") for arm, each in artifacts.items()}
        self.trial = Trial(
            self.rollout,
            artifacts,
            self.sandbox.submit,
            lambda: self.sandbox.room,
            self.reasons.append,
            at_once=at_once,
        )

    def served(self, request: Request, outcome: Outcome) -> Result:
        """A request as the server would answer it."""
        arm = self.trial.arm_of(request)
        result = self.services[arm].finish(request, outcome)
        self.trial.answered(arm, request, b"{}", side_of(result, outcome), result)
        return result


def says(output: str, wall_ms: float = 0.1, cpu_ms: float | None = None) -> Outcome:
    return Outcome("success", output, wall_ms=wall_ms, cpu_ms=wall_ms if cpu_ms is None else cpu_ms)


FAILS = Outcome("error")


def texts(count: int) -> list[Request]:
    return [Request({"text": f"text {number}"}) for number in range(count)]


def test_the_share_is_kept_and_grows_without_anybody_changing_back() -> None:
    requests = texts(4000)
    at = {stage: [Stage(stage).trial.arm_of(each) for each in requests] for stage in (0, 10, 50, 100)}
    assert set(at[0]) == {"incumbent"}
    assert set(at[100]) == {"candidate"}
    assert 0.08 < at[10].count("candidate") / len(requests) < 0.12
    assert 0.47 < at[50].count("candidate") / len(requests) < 0.53
    assert all(later == "candidate" for now, later in zip(at[10], at[50], strict=True) if now == "candidate")


def test_a_key_meets_one_version_whatever_it_asks() -> None:
    trial = Stage(50).trial
    arms = {trial.arm_of(request._replace(key="customer 7")) for request in texts(200)}
    assert len(arms) == 1
    assert drawn("r-1", b'"customer 7"') == drawn("r-1", b'"customer 7"') != drawn("r-2", b'"customer 7"')


def test_the_other_version_runs_after_the_answer_and_equal_answers_are_counted_alone() -> None:
    stage = Stage(0)
    stage.served(Request({"text": "a"}), says("ham"))
    assert [key for key, _, _ in stage.sandbox.calls] == ["spam@2"]
    stage.sandbox.answer(says("ham"))
    seen, pairs = stage.trial.drain()
    assert (seen.shadowed, seen.differed, pairs) == (1, 0, [])


def test_where_they_part_the_pair_is_kept_with_both_answers() -> None:
    stage = Stage(100)
    result = stage.served(Request({"text": "a"}), says("spam"))
    assert [key for key, _, _ in stage.sandbox.calls] == ["spam@1"]
    stage.sandbox.answer(says("ham"))
    seen, (pair,) = stage.trial.drain()
    assert (seen.shadowed, seen.differed) == (1, 1)
    assert result.record is not None
    assert (pair.execution_id, pair.input, pair.served) == (
        result.record["execution_id"],
        {"text": "a"},
        "candidate",
    )
    assert (pair.incumbent["output"], pair.candidate["output"]) == ("ham", "spam")
    assert stage.trial.drain()[1] == []


def test_five_failures_of_the_candidate_alone_end_it_at_once() -> None:
    stage = Stage(10)
    for request in texts(5):
        result = stage.services["incumbent"].finish(request, says("ham"))
        stage.trial.answered("incumbent", request, b"{}", side_of(result, says("ham")), result)
        assert not stage.trial.is_broken
        stage.sandbox.answer(FAILS)
    assert stage.trial.is_broken
    assert len(stage.reasons) == 1
    assert "failed 5 times" in stage.reasons[0]
    assert {stage.trial.arm_of(request) for request in texts(100)} == {"incumbent"}


def test_failures_of_both_are_the_inputs_fault() -> None:
    stage = Stage(0)
    for request in texts(50):
        stage.served(request, FAILS)
        stage.sandbox.answer(FAILS)
    seen, pairs = stage.trial.drain()
    assert (seen.differed, seen.errors, pairs) == (0, Failures(), [])
    assert not stage.trial.is_broken


def test_what_was_seen_before_a_restart_counts_for_the_fuse() -> None:
    stage = Stage(0, shadowed=100, differed=4, errors=Failures(0, 4))
    stage.served(Request({"text": "a"}), says("ham"))
    stage.sandbox.answer(FAILS)
    assert stage.trial.is_broken


def test_a_slow_candidate_is_out_within_200_requests_and_a_slow_machine_is_not_its_fault() -> None:
    slow, both, waited = Stage(0), Stage(0), Stage(0)
    for request in texts(200):
        slow.served(request, says("ham", 0.1))
        slow.sandbox.answer(says("ham", 30.0))
        both.served(request, says("ham", 30.0))
        both.sandbox.answer(says("ham", 30.0))
        waited.served(request, says("ham", 0.1))
        waited.sandbox.answer(says("ham", 30.0, cpu_ms=0.2))
        if slow.trial.is_broken:
            break
    assert slow.trial.is_broken
    assert "slower" in slow.reasons[0]
    assert not both.trial.is_broken
    assert not waited.trial.is_broken


def test_shadows_wait_for_room_and_too_many_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "MOST_WAITING", 3)
    stage = Stage(0)
    stage.sandbox.room = False
    for request in texts(10):
        stage.served(request, says("ham"))
    assert not stage.sandbox.calls
    stage.sandbox.room = True
    seen, _ = stage.trial.drain()
    assert seen.dropped == 7
    while stage.sandbox.calls:
        stage.sandbox.answer(says("ham"))
    assert stage.trial.drain()[0].shadowed == 3


def test_no_more_shadows_run_together_than_may() -> None:
    stage = Stage(0, at_once=2)
    for request in texts(10):
        stage.served(request, says("ham"))
    assert len(stage.sandbox.calls) == 2


def test_what_the_candidates_schema_refuses_is_a_failure_of_its() -> None:
    stage = Stage(0)
    request = Request({"text": 7})
    result = stage.services["incumbent"].finish(request, says("ham"))
    stage.trial.answered("incumbent", request, b"{}", side_of(result, says("ham")), result)
    seen, (pair,) = stage.trial.drain()
    assert (seen.errors, pair.candidate["status"]) == (Failures(0, 1), "error")

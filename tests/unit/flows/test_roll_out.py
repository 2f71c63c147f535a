"""A rollout from its start to its end: what it takes, what is kept, what is told, and what a kill leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_server import add

from loopai_runtime import rollouts
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.config import Config
from loopai_runtime.datasets import shadow, shadow_labels
from loopai_runtime.datasets.shadow_labels import Said
from loopai_runtime.errors import Busy, GateMissed, NotFound, StorageError, UsageError
from loopai_runtime.events import verify
from loopai_runtime.flows import roll_out
from loopai_runtime.flows.referee import AT_ONCE, Referee
from loopai_runtime.layout import Layout
from loopai_runtime.models import VersionStatus
from loopai_runtime.rollout import Failures
from loopai_runtime.rollouts import Rollout, Seen
from loopai_runtime.testing import ScriptedOracle

TASK = "mail"
AT = "2026-03-04T00:00:00.000000Z"


def config(**more: Any) -> Config:
    flags = {"rollout.min_dwell_sec": 10, "rollout.watch_hours": 1, "rollout.max_labels": 60} | more
    return Config.load(flags=flags, environ={})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """mail@1 serves, mail@2 is validated."""
    layout = Layout(tmp_path / "data")
    add(layout, TASK, "def run(x):\n    return 'one'\n")
    add(layout, TASK, "def run(x):\n    return 'two'\n", activate=False)
    return layout


def active(layout: Layout) -> int | None:
    return ArtifactStore(layout).active_version(TASK)


def events(layout: Layout) -> list[str]:
    lines = [json.loads(line) for path in layout.audit.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    return [line["kind"] for line in lines]


def say(layout: Layout, rollout: Rollout, *labels: int) -> None:
    """The oracle has judged some more requests."""
    first = len(shadow_labels.read(layout, TASK, rollout.rollout_id))
    said = [Said(f"e{first + n}", label, "right", AT) for n, label in enumerate(labels)]  # type: ignore[arg-type]
    shadow_labels.append(layout, TASK, rollout.rollout_id, said)


def see(
    layout: Layout, rollout: Rollout, seconds: float = 11, shadowed: int = 200, differed: int = 40, **more: Any
) -> Rollout:
    seen = Seen(seconds, shadowed, differed, **more)
    after = roll_out.observe(layout, config(), TASK, rollout.rollout_id, seen)
    assert after is not None
    return after


def test_a_better_version_goes_over_its_stages_and_is_watched_and_promoted(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    assert roll_out.trial(layout, TASK) == (made.rollout_id, 2, 1, 0)
    say(layout, made, *[1] * 40)
    stages = []
    while made.state == "running":
        made = see(layout, made)
        stages.append(made.stage)
    assert stages == [10, 50, 100, 100]
    assert (made.state, made.share, active(layout)) == ("watching", 1.0, 2)
    assert roll_out.trial(layout, TASK) == (made.rollout_id, 2, 1, 100)
    made = see(layout, made, seconds=3599)
    assert made.state == "watching"
    made = see(layout, made, seconds=2)
    assert (made.state, made.is_under_way, active(layout)) == ("promoted", False, 2)
    assert roll_out.trial(layout, TASK) is None
    advanced = ["rollout.advanced"] * 3
    assert events(layout) == ["rollout.started", *advanced, "rollout.promoted"]
    assert [change.event for change in made.history] == ["started", "advanced", "advanced", "advanced", "promoted"]
    assert verify(layout) == []


def test_no_stage_is_left_before_its_time_or_without_labels(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    assert see(layout, made, seconds=60).stage == 0
    say(layout, made, *[1] * 40)
    made = see(layout, made, seconds=1)
    assert made.stage == 10
    for _ in range(9):
        made = see(layout, made, seconds=1)
    assert made.stage == 10
    assert see(layout, made, seconds=2).stage == 50


def test_no_data_is_never_success(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    made = see(layout, made, seconds=1e6, shadowed=0, differed=0)
    assert (made.state, made.stage, made.reason) == ("running", 0, "nothing was shadowed yet")


def test_a_worse_version_is_rolled_back(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    say(layout, made, *[-1] * 12)
    made = see(layout, made, seconds=1)
    assert (made.state, made.share, active(layout)) == ("rolled_back", 0.0, 1)
    assert "its answers are worse" in made.reason
    assert events(layout) == ["rollout.started", "rollout.rolled_back"]


def test_a_version_that_fails_alone_is_rolled_back_without_labels(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    made = see(layout, made, seconds=1, shadowed=9, differed=5, errors=Failures(0, 5))
    assert (made.state, "failed 5 times" in made.reason) == ("rolled_back", True)


def test_while_it_is_watched_it_is_still_rolled_back(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    for _ in range(4):
        made = roll_out.promote(layout, config(), TASK, "I am sure")
    assert (made.state, active(layout)) == ("watching", 2)
    say(layout, made, *[-1] * 12)
    made = see(layout, made)
    assert (made.state, active(layout)) == ("rolled_back", 1)
    assert ArtifactStore(layout).state(TASK).history[-1].reason == f"rollout: {made.reason}"


def test_the_next_version_ends_the_watch_of_the_one_before(layout: Layout) -> None:
    add(layout, TASK, "def run(x):\n    return 'three'\n", activate=False)
    roll_out.start(layout, config(), "mail@2")
    for _ in range(4):
        roll_out.promote(layout, config(), TASK, "I am sure")
    made = roll_out.start(layout, config(), "mail@3")
    assert (made.incumbent, made.stage, active(layout)) == (2, 0, 2)


def test_undecided_at_its_cap_it_is_inconclusive_and_only_after_its_time(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    say(layout, made, *[1, -1] * 40)
    assert see(layout, made, seconds=1).state == "running"
    made = see(layout, made)
    assert (made.state, made.reason) == ("rolled_back", "inconclusive after 60 labels")


def test_a_version_chosen_by_hand_meanwhile_ends_it(layout: Layout) -> None:
    add(layout, TASK, "def run(x):\n    return 'three'\n", activate=False)
    made = roll_out.start(layout, config(), "mail@2")
    with layout.lock(TASK):
        ArtifactStore(layout).activate(TASK, 3)
    made = see(layout, made)
    assert (made.state, made.reason, active(layout)) == ("aborted", "v3 serves by somebody's hand", 3)


def test_a_person_promotes_and_aborts(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    assert roll_out.promote(layout, config(), TASK, "looks well").stage == 10
    ended = roll_out.abort(layout, config(), TASK, "second thoughts", by="http")
    assert (ended.state, ended.history[-1].by, active(layout)) == ("aborted", "http", 1)
    for act in (roll_out.abort, roll_out.promote):
        with pytest.raises(UsageError, match="is over: it is aborted"):
            act(layout, config(), TASK, "again")
    assert roll_out.roll_back(layout, config(), TASK, made.rollout_id, "late") is None
    again = roll_out.start(layout, config(), "mail@2")
    assert again.rollout_id != made.rollout_id


def test_what_cannot_be_tried_is_refused(layout: Layout) -> None:
    with pytest.raises(UsageError, match="serves already"):
        roll_out.start(layout, config(), "mail@1")
    with pytest.raises(NotFound):
        roll_out.start(layout, config(), "mail@7")
    with pytest.raises(NotFound):
        roll_out.status(layout, TASK)
    store = ArtifactStore(layout)
    draft = store.add(store.read("mail@1").artifact, "def run(x):\n    return 'draft'\n", VersionStatus.DRAFT)
    with pytest.raises(GateMissed, match="is draft"):
        roll_out.start(layout, config(), f"mail@{draft.version}")
    roll_out.start(layout, config(), "mail@2")
    with pytest.raises(Busy, match="v2 is under way"):
        roll_out.start(layout, config(), "mail@2")


def test_a_kill_between_the_switch_and_its_record_ends_well(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    for _ in range(3):
        made = roll_out.promote(layout, config(), TASK, "go")
    with layout.lock(TASK):
        ArtifactStore(layout).activate(TASK, 2)
    made = see(layout, made, seconds=0)
    assert (made.state, active(layout)) == ("watching", 2)


def test_another_rollouts_numbers_are_not_taken(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    after = roll_out.observe(layout, config(), TASK, "another", Seen(5, 100, 10))
    assert after is not None
    assert (after.shadowed, after.rollout_id) == (0, made.rollout_id)


def test_a_state_is_read_back_as_it_was_and_damage_is_said(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    say(layout, made, 1, 0, -1)
    after = see(layout, made, errors=Failures(1, 2), over_latency=3, dropped=4)
    assert rollouts.load(layout, TASK) == after
    assert rollouts.all_of(layout) == [after]
    assert after.labelled == (1, 0, -1)
    layout.rollout(TASK).write_bytes(b'{"schema": 1}')
    with pytest.raises(StorageError, match="no rollout's state"):
        rollouts.load(layout, TASK)


# --- the oracle


def pair(n: int, incumbent: Any, candidate: Any, **candidates: Any) -> shadow.Pair:
    def side(output: Any, **more: Any) -> dict[str, Any]:
        return {"output": output, "status": "success", "latency_ms": 0.1} | more

    return shadow.Pair(
        f"e{n}", AT, {"text": f"text {n}"}, "incumbent", side(incumbent), side(candidate, **candidates)
    )


def test_the_oracle_says_who_is_right_once_for_each_request(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    pairs = [
        pair(0, "right", "wrong"),
        pair(1, "wrong", "right"),
        pair(2, "wrong", "worse"),
        pair(3, "right", None, abstained=True),
        pair(4, "wrong", None, status="error"),
    ]
    shadow.append(layout, TASK, made.rollout_id, pairs)
    with ScriptedOracle(lambda _asked: (200, {"output": "right"})) as oracle:
        known = config(**{"oracle.kind": "http", "oracle.url": oracle.url})
        for expected in ((True, 5), (False, 0)):
            assert Referee(layout, known, made).judge(pairs) == expected
        assert len(oracle.asked) == 5
    assert [one.label for one in shadow_labels.read(layout, TASK, made.rollout_id)] == [-1, 1, 0, -1, 0]
    shown = roll_out.disagreements(layout, made, 2)
    assert [(one["execution_id"], one["oracle"], one["label"]) for one in shown] == [
        ("e4", "right", 0),
        ("e3", "right", -1),
    ]


def test_no_more_labels_are_spent_than_allowed_and_what_has_no_answer_lets_others_pass(layout: Layout) -> None:
    made = replace(roll_out.start(layout, config(), "mail@2"), max_labels=AT_ONCE + 3)
    pairs = [pair(n, "right", "wrong") for n in range(3 * AT_ONCE)]

    def answer(asked: Any) -> tuple[int, Any]:
        number = int(asked["input"]["text"].split()[1])
        return (400, {}) if number < AT_ONCE else (200, {"output": "right"})

    with ScriptedOracle(answer) as oracle:
        referee = Referee(layout, config(**{"oracle.kind": "http", "oracle.url": oracle.url}), made)
        assert referee.judge(pairs) == (True, 0)
        assert referee.judge(pairs) == (True, AT_ONCE)
        assert referee.judge(pairs) == (True, 3)
        assert referee.judge(pairs) == (False, 0)
    said = shadow_labels.read(layout, TASK, made.rollout_id)
    assert [one.execution_id for one in said] == [f"e{n}" for n in range(AT_ONCE, 2 * AT_ONCE + 3)]


def test_without_an_oracle_nobody_is_asked(layout: Layout) -> None:
    made = roll_out.start(layout, config(), "mail@2")
    assert Referee(layout, config(), made).judge([pair(0, "a", "b")]) == (False, 0)

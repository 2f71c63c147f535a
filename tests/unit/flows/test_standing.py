"""What is said of a rollout: its evidence, what is missing, and when a decision is due."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loopai_runtime.cli.rolloutview import bar, duration
from loopai_runtime.flows.standing import Outlook, evidence_of, outlook_of, shown
from loopai_runtime.layout import Layout
from loopai_runtime.rollout import decide
from loopai_runtime.rollouts import Rollout

BEGUN, NOW = "2026-03-04T05:00:00.000000Z", "2026-03-04T06:00:00.000000Z"
SEEN = Rollout(
    "one", "spam", 3, 2, BEGUN, NOW, BEGUN,
    stage=10, dwell_s=3600.0, shadowed=1000, differed=100, labelled=(1, 1, -1, 1, 0, 1, 1, 1, -1, 1),
)  # fmt: skip


def test_where_nothing_was_seen_nothing_can_be_foreseen() -> None:
    nothing = Rollout("one", "spam", 3, 2, BEGUN, NOW, BEGUN)
    assert outlook_of(nothing) is None
    found = evidence_of(nothing)
    assert (found["e_value"], found["e_value_worse"], found["labels"], found["differing"]) == (1.0, 1.0, 0, None)
    assert (found["next"], found["why"]) == ("hold", "nothing was shadowed yet")
    json.dumps(shown(Layout(Path("/nowhere")), nothing), allow_nan=False)


def test_a_good_candidate_is_foreseen_to_be_promoted_after_as_much_again_as_it_takes() -> None:
    outlook = outlook_of(SEEN)
    assert outlook is not None
    assert outlook.action == "promote"
    times = 1 + outlook.in_s / 3600
    labels = SEEN.labelled * 20
    enough = replace(
        SEEN,
        shadowed=round(1000 * times),
        differed=round(100 * times),
        labelled=labels[: round(len(SEEN.labelled) * times)],
    )
    assert decide(enough.decision_state(), enough.evidence()).action == "promote"
    assert decide(SEEN.decision_state(), SEEN.evidence()).action == "hold"


def test_what_has_evidence_enough_waits_for_the_rest_of_its_stage() -> None:
    early = replace(SEEN, labelled=(1,) * 40, dwell_s=600.0)
    assert outlook_of(early) == Outlook("promote", 3000.0)
    assert evidence_of(early)["why"] == "600 of 3600 seconds at 10 %"


def test_a_bad_candidate_is_foreseen_to_be_rolled_back_and_a_torn_one_too() -> None:
    bad = outlook_of(replace(SEEN, labelled=(-1, -1, 0, 1, -1, -1)))
    assert bad is not None
    assert bad.action == "roll_back"
    torn = outlook_of(replace(SEEN, differed=500, labelled=(1, -1, -1, 1, 1, 1, -1, -1) * 4))
    assert torn is not None
    assert torn.action == "roll_back"
    assert torn.in_s > bad.in_s


def test_labels_are_told_by_whom_they_are_for() -> None:
    found = evidence_of(SEEN)
    assert (found["better"], found["worse"], found["neither"]) == (7, 2, 1)
    assert (found["labels"], found["labels_left"], found["labels_wanted"]) == (10, 990, 10)
    assert found["waiting_for_labels"] == 90
    assert found["differing"] == 0.1 < found["differing_at_most"] < 0.2


def test_what_is_over_has_no_outlook() -> None:
    for state in ("watching", "promoted", "rolled_back", "aborted"):
        assert evidence_of(replace(SEEN, state=state))["outlook"] is None
    assert evidence_of(replace(SEEN, state="watching", watch_s=7.0))["dwell_wanted_s"] == 7.0


@pytest.mark.parametrize(
    ("e_value", "filled", "says"), [(0.2, 0, "0.2"), (1.0, 0, "1"), (20**0.5, 15, "4.47"), (1e200, 30, "over")]
)
def test_a_bar_grows_with_the_logarithm(e_value: float, filled: int, says: str) -> None:
    drawn = bar(e_value, 20.0)
    assert drawn.count("#") == filled
    assert f"e-value {says}" in drawn
    assert len(drawn.split("]")[0]) == 31


def test_times_are_told_in_a_unit_that_fits() -> None:
    assert [duration(s) for s in (0, 59.6, 119, 121, 7300, 2e5)] == [
        "0 s",
        "60 s",
        "119 s",
        "2.02 min",
        "2.03 h",
        "2.31 d",
    ]

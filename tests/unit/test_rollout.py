"""When a candidate is promoted, held or rolled back."""

from __future__ import annotations

import math
import random
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from loopai_runtime.evalues import highest_share, independence, mean_above, share_above
from loopai_runtime.rollout import Decision, Evidence, Failures, State, decide

STATE = State(10, 0.0, min_labels=20, min_dwell_s=60, max_labels=1000)
SEEN = Evidence(now=100.0, shadowed=1000, differed=100, labelled=(1,) * 60)


def test_nothing_seen_is_never_success() -> None:
    for state in (STATE, replace(STATE, min_labels=0, min_dwell_s=0)):
        decision = decide(state, Evidence(1e9, 0, 0))
        assert (decision.action, decision.share) == ("hold", 10)


def test_a_better_candidate_climbs_stage_by_stage() -> None:
    shares = [decide(replace(STATE, stage=stage), SEEN).share for stage in (0, 10, 50, 100)]
    assert shares == [10, 50, 100, 100]
    assert {decide(replace(STATE, stage=stage), SEEN).action for stage in (0, 10, 50, 100)} == {"promote"}
    assert decide(STATE, SEEN, stages=(1, 10, 25, 100)).share == 25


def test_a_promotion_waits_for_labels_and_for_time() -> None:
    few = decide(STATE, replace(SEEN, labelled=(1,) * 19))
    early = decide(STATE, replace(SEEN, now=59.0))
    assert (few.action, few.reason) == ("hold", "19 of 20 labels")
    assert (early.action, early.reason) == ("hold", "59 of 60 seconds at 10 %")


def test_a_clock_that_jumps_promotes_nothing() -> None:
    assert decide(STATE, replace(SEEN, now=-1e9)).action == "hold"
    assert decide(STATE, replace(SEEN, now=1e12, labelled=())).action == "hold"
    assert decide(STATE, replace(SEEN, now=math.nan)).action == "hold"


def test_the_contract_names_these_fields_and_no_more() -> None:
    names = {kind: [field.name for field in fields(kind)] for kind in (State, Evidence, Failures, Decision)}
    assert names[State] == [
        "stage", "stage_started_at", "delta", "alpha", "min_labels", "min_dwell_s", "max_labels",
    ]  # fmt: skip
    assert names[Evidence] == ["now", "shadowed", "differed", "labelled", "errors", "over_latency"]
    assert names[Failures] == ["incumbent", "candidate"]
    assert names[Decision] == ["action", "share", "e_value", "reason"]
    for one in (STATE, SEEN, Failures(), decide(STATE, SEEN)):
        with pytest.raises(FrozenInstanceError):
            setattr(one, fields(one)[0].name, 1)


@pytest.mark.parametrize("state", [STATE, replace(STATE, min_labels=0, min_dwell_s=0.0), replace(STATE, stage=0)])
@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(0.0, 0, 0),
        Evidence(-1e9, 0, 0),
        Evidence(1e300, 0, 0, ()),
        Evidence(math.inf, 0, 0),
        Evidence(100.0, 100_000, 100_000),
        Evidence(100.0, 0, 0, (1,) * 100),
        Evidence(100.0, 10, 0, (1,) * 10),
    ],
)
def test_what_was_not_seen_promotes_nothing_whatever_the_clock_says(state: State, evidence: Evidence) -> None:
    decision = decide(state, evidence)
    assert (decision.action, decision.share) == ("hold", state.stage)
    assert decision.reason
    assert math.isfinite(decision.e_value)


def test_failures_may_come_as_json_has_them() -> None:
    assert decide(STATE, Evidence(1.0, 5, 0, errors={"incumbent": 0, "candidate": 5})).action == "roll_back"  # type: ignore[arg-type]


def test_a_list_of_labels_will_do_as_well() -> None:
    assert decide(STATE, replace(SEEN, labelled=[1] * 60)) == decide(STATE, SEEN)  # type: ignore[arg-type]


def test_evidence_at_its_very_largest_is_still_a_number() -> None:
    for labels in ((1,) * 100_000, (-1,) * 100_000):
        decision = decide(replace(STATE, max_labels=10**6), Evidence(1e6, 10**6, 10**5, labels))
        assert math.isfinite(decision.e_value)
        assert decision.action == ("promote" if labels[0] == 1 else "roll_back")


def test_equal_outputs_are_evidence_that_needs_no_label() -> None:
    assert decide(STATE, Evidence(100.0, 1000, 0)).action == "promote"
    assert decide(STATE, Evidence(100.0, 50, 0)).action == "hold"


def test_differing_outputs_without_a_label_promote_nothing() -> None:
    assert decide(STATE, Evidence(100.0, 100_000, 40)).action == "hold"


def test_a_worse_candidate_is_rolled_back_at_once() -> None:
    decision = decide(STATE, replace(SEEN, now=1.0, labelled=(-1,) * 15))
    assert (decision.action, decision.share) == ("roll_back", 0)
    assert "worse" in decision.reason


def test_an_undecided_rollout_ends_as_inconclusive_when_its_labels_are_spent() -> None:
    torn = Evidence(100.0, 3000, 1000, (1, -1) * 500)
    assert decide(STATE, replace(torn, now=30.0)).action == "hold"
    decision = decide(STATE, torn)
    assert (decision.action, decision.reason) == ("roll_back", "inconclusive after 1000 labels")


def test_five_failures_where_the_incumbent_did_not_fail_are_enough() -> None:
    assert decide(STATE, Evidence(1.0, 5, 0, (), Failures(0, 5))).action == "roll_back"
    assert decide(STATE, Evidence(1.0, 5, 0, (), Failures(0, 4))).action == "hold"


def test_failures_of_both_alike_are_not_held_against_the_candidate() -> None:
    assert decide(STATE, Evidence(1.0, 5000, 40, (), Failures(20, 20))).action == "hold"
    assert decide(STATE, Evidence(1.0, 5000, 40, (), Failures(5, 25))).action == "roll_back"


def test_a_slow_candidate_is_out_within_two_hundred_requests() -> None:
    assert decide(STATE, Evidence(1.0, 200, 0, over_latency=190)).action == "roll_back"
    assert decide(STATE, Evidence(1.0, 20, 0, over_latency=10)).action == "roll_back"
    assert decide(STATE, Evidence(1.0, 200, 0, over_latency=2)).action == "hold"
    assert decide(STATE, Evidence(1.0, 1, 0, over_latency=1)).action == "hold"  # one hiccup


def test_evidence_does_not_grow_under_the_hypothesis() -> None:
    draws = [-1] * 6 + [1] * 4
    expected = sum(
        math.comb(10, k) * 0.6 ** (10 - k) * 0.4**k * _unordered(k) for k in range(11)
    )  # what ten draws of mean -0.2 are expected to be worth
    assert expected <= 1.0
    assert mean_above(draws, -0.2) < 3
    assert mean_above([1] * 30, -0.2) > 100 > 1 > mean_above([-1] * 30, -0.2)
    assert share_above(0, 100, 0.02) < 1 < share_above(30, 70, 0.02)


def _unordered(k: int) -> float:
    """The mean over some orders, as bursts count for less."""
    draw = random.Random(k)
    draws = [1] * k + [-1] * (10 - k)
    total = 0.0
    for _ in range(50):
        draw.shuffle(draws)
        total += mean_above(draws, -0.2) / 50
    return total


def test_draws_in_bursts_count_as_fewer() -> None:
    draw = random.Random(0)
    single = [draw.choice([-1, 1]) for _ in range(300)]
    bursts = [value for value in single[:100] for _ in range(3)]
    assert independence(single) > 0.7
    assert 0.25 < independence(bursts) < 0.45
    assert independence([1] * 9) == independence([]) == 1.0


def test_the_bound_on_a_share_holds_at_all_times() -> None:
    draw, broken = random.Random(0), 0
    for _ in range(200):
        hits = 0
        for n in range(1, 400):
            hits += draw.random() < 0.1
            if n % 7 == 0 and highest_share(hits, n - hits, 0.05) < 0.1:
                broken += 1
                break
    assert broken <= 0.05 * 200
    assert highest_share(0, 0, 0.05) == 1.0
    assert highest_share(100, 900, 0.05) < 0.14

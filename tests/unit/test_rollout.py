"""When a candidate is promoted, held or rolled back, and how often that is wrong."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tests.bars import SOAK

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


Stream = Iterator[tuple[int, int]]
"""How many requests were shadowed until outputs differed, and the label then."""


def stream(draw: random.Random, differing: float, better: float, noise: float = 0.0, burst: float = 0.0) -> Stream:
    neither = 0.1
    won = (1 - neither + better / differing) / 2
    label = 0
    while True:
        gap = math.ceil(math.log1p(-draw.random()) / math.log1p(-differing)) or 1
        if not (burst and label and draw.random() < burst):  # else the same again
            at = draw.random()
            label = 1 if at < won else -1 if at < 1 - neither else 0
        said = draw.choice([-1, 1]) if label == 0 else -label
        yield gap, said if draw.random() < noise else label


def ours(flow: Stream) -> tuple[str, int]:
    """What is decided in the end, and after how many labels."""
    shadowed, labels = 0, []
    for gap, label in flow:
        shadowed += gap
        labels.append(label)
        if len(labels) % (5 if len(labels) < 100 else 25) == 0:
            decision = decide(STATE, Evidence(100.0, shadowed, len(labels), tuple(labels)))
            if decision.action != "hold":
                said = "inconclusive" if "inconclusive" in decision.reason else decision.action
                return said, len(labels)
    raise AssertionError


def means_at_three_looks(flow: Stream) -> tuple[str, int]:
    total = 0
    for n, (_, label) in enumerate(flow, 1):
        total += label
        if n in (20, 60, 180) and abs(total) > 1.645 * math.sqrt(n):
            return ("promote" if total > 0 else "roll_back"), n
        if n == 180:
            return ("promote" if total >= 0 else "roll_back"), n
    raise AssertionError


def threshold(flow: Stream) -> tuple[str, int]:
    """Promote where 85 % of a hundred labelled answers were not the worse ones."""
    good = sum(label >= 0 for _, (_, label) in zip(range(100), flow, strict=False))
    return ("promote" if good >= 85 else "roll_back"), 100


def share(
    rule: Callable[[Stream], tuple[str, int]], said: str, replicas: int, **world: float
) -> tuple[float, float]:
    """How often a rule ends so, and the median of labels it took."""
    ends = [rule(stream(random.Random(seed), **world)) for seed in range(replicas)]  # type: ignore[arg-type]
    return sum(end == said for end, _ in ends) / replicas, statistics.median(n for _, n in ends)


@pytest.mark.slow
@pytest.mark.parametrize("differing", [0.06, 0.12, 0.3])
def test_error_and_power_are_as_promised(differing: float) -> None:
    replicas = max(100, int(2000 * SOAK))
    slack = 3 * math.sqrt(0.05 * 0.95 / replicas) if SOAK < 1 else 0.0
    worse, _ = share(ours, "promote", replicas, differing=differing, better=-0.02)
    equal, _ = share(ours, "roll_back", replicas, differing=differing, better=0.0)
    assert worse <= 0.065 + slack
    assert equal <= 0.065 + slack
    for better, said in ((0.05, "promote"), (-0.05, "roll_back")):
        power, labels = share(ours, said, replicas, differing=differing, better=better)
        assert power >= 0.95 - slack
        assert labels <= (100 if differing <= 0.12 else 400)


@pytest.mark.slow
@pytest.mark.parametrize("differing", [0.06, 0.12, 0.3])
def test_a_noisy_oracle_and_correlated_inputs_cost_little(differing: float) -> None:
    replicas = max(100, int(2000 * SOAK))
    slack = 3 * math.sqrt(0.08 * 0.92 / replicas) if SOAK < 1 else 0.0
    for world in ({"noise": 0.05}, {"burst": 0.3}, {"noise": 0.05, "burst": 0.3}):
        worse, _ = share(ours, "promote", replicas, differing=differing, better=-0.02, **world)
        equal, _ = share(ours, "roll_back", replicas, differing=differing, better=0.0, **world)
        assert worse <= 0.08 + slack, world
        assert equal <= 0.08 + slack, world


@pytest.mark.slow
def test_the_naive_rules_are_wrong_more_often_on_the_same_streams() -> None:
    replicas = max(200, int(2000 * SOAK))
    for rule in (means_at_three_looks, threshold):
        worse, _ = share(rule, "promote", replicas, differing=0.3, better=-0.02)
        better, _ = share(rule, "roll_back", replicas, differing=0.3, better=0.05)
        assert max(worse, better) > 0.065, (worse, better)


@pytest.mark.slow
def test_a_version_that_crashes_on_half_of_the_inputs_is_out_within_twenty_requests() -> None:
    replicas = max(200, int(1000 * SOAK))
    out = 0
    for seed in range(replicas):
        draw, crashed = random.Random(seed), 0
        for n in range(1, 21):
            crashed += draw.random() < 0.5
            decision: Decision = decide(STATE, Evidence(float(n), n, 0, (), Failures(0, crashed)))
            if decision.action == "roll_back":
                out += 1
                break
    assert out >= 0.98 * replicas

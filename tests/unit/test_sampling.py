"""Which executions are chosen: with the probability that is recorded, in the shares that a strategy promises."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.validation import simulation
from tests.unit.validation.simulation import MIDNIGHT

from loopai_runtime.sampling import NEVER, Pace, Plan, Sampler, Seen, Strata, expected_weight
from loopai_runtime.sampling.pace import DAY_S, labels_for
from loopai_runtime.sampling.weights import cluster
from loopai_runtime.validation import estimate

STRATEGIES = ("random", "uncertainty", "stratified", "temporal", "adaptive")
ALL = "uncertainty+stratified+temporal+adaptive"


def pis(strategy: str, size: int = 4000, rate: float = 0.05) -> tuple[list[float], simulation.World]:
    world = simulation.world(size, 0.9, "calibrated", 1)
    sampler = Sampler(simulation.plan(strategy, rate, size), b"key")
    return [sampler.choose(one).pi for one in world.seen], world


def test_plain_sampling_takes_its_share_and_says_its_probability() -> None:
    sampler = Sampler(Plan(rate=0.2), b"key")
    chosen = [sampler.choose(Seen(f"id-{n}")) for n in range(20_000)]
    assert {choice.pi for choice in chosen} == {0.2}
    assert 3800 < sum(choice.sampled for choice in chosen) < 4200


@pytest.mark.parametrize("strategy", [*STRATEGIES, ALL])
def test_whoever_has_the_key_can_tell_again_what_was_chosen(strategy: str) -> None:
    world = simulation.world(1500, 0.9, "calibrated", 2)

    def chosen(key: bytes) -> list[bool]:
        sampler = Sampler(simulation.plan(strategy, 0.1, 1500), key)
        return [sampler.choose(one).sampled for one in world.seen]

    assert chosen(b"key") == chosen(b"key")
    assert chosen(b"key") != chosen(b"another")


@pytest.mark.parametrize("strategy", [*STRATEGIES, ALL])
def test_the_recorded_probability_is_the_one_that_was_used(strategy: str) -> None:
    world = simulation.world(300, 0.9, "calibrated", 3)
    expected = drawn = spread = 0.0
    for n in range(60):
        sampler = Sampler(simulation.plan(strategy, 0.1, 300), b"key %d" % n)
        for one in world.seen:
            sampled, pi = sampler.choose(one)
            drawn, expected, spread = drawn + sampled, expected + pi, spread + pi * (1 - pi)
    assert abs(drawn - expected) < 3.5 * spread**0.5


@pytest.mark.parametrize("strategy", ["uncertainty", "stratified", "uncertainty+stratified"])
def test_weights_move_probabilities_within_bounds_and_keep_the_mean_rate(strategy: str) -> None:
    found, _ = pis(strategy)
    assert 0.04 < sum(found) / len(found) < 0.06
    assert min(found) >= 0.005
    assert max(found) <= 0.5


def test_the_less_sure_a_program_is_the_more_it_is_checked() -> None:
    found, world = pis("uncertainty")
    unsure = [pi for pi, one in zip(found, world.seen, strict=True) if (one.confidence or 0) < 0.7]
    sure = [pi for pi, one in zip(found, world.seen, strict=True) if (one.confidence or 0) > 0.98]
    assert min(unsure[20:]) > 2 * max(sure[20:])


def test_a_program_without_confidences_is_checked_evenly() -> None:
    sampler = Sampler(Plan(("uncertainty",), rate=0.1), b"key")
    assert {sampler.choose(Seen(str(n))).pi for n in range(100)} == {0.1}


def test_a_process_for_one_input_knows_the_mean_weight_from_the_reference() -> None:
    plan = Plan(("uncertainty",), rate=0.1)
    mean = expected_weight(plan, {"confidence": [0] * 8 + [0.5, 0.5]})
    assert mean == pytest.approx((0.15 * 0.85) ** 0.5 / 2 + (0.05 * 0.95) ** 0.5 / 2)
    unsure = Sampler(plan, b"key", mean=mean).choose(Seen("a", confidence=0.5)).pi
    sure = Sampler(plan, b"key", mean=mean).choose(Seen("a", confidence=0.99)).pi
    assert unsure > 0.15 > 0.06 > sure
    assert expected_weight(plan, {}) is None


def test_every_stratum_gets_about_as_many() -> None:
    found, world = pis("stratified", 20_000)
    expected: Counter[str] = Counter()
    for pi, one in zip(found, world.seen, strict=True):
        expected[one.output] += pi  # type: ignore[assignment]
    rarest, commonest = expected["praise"], expected["invoice"]  # 2 % and 70 % of the traffic
    assert commonest < 4 * rarest


def test_outputs_that_never_repeat_are_one_stratum_and_fill_no_memory() -> None:
    strata = Strata()
    weights = [strata.weight(f"text {n}", {"text": "hello"}) for n in range(30_000)]
    assert len(strata._counts) <= 257
    assert max(weights) <= 10
    assert weights[-1] < 1


def test_alike_inputs_share_a_cluster_and_others_are_spread() -> None:
    assert cluster({"text": "Where is my refund"}) == cluster({"text": "Where is my refund", "n": 4})
    assert len({cluster(word) for word in ("apple", "pear", "plum", "fig", "lime", "kiwi", "date")}) > 2


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda t: st.lists(t) | st.dictionaries(st.text(), t)
    )
)
def test_any_input_and_output_can_be_chosen(value: object) -> None:
    sampler = Sampler(Plan(("uncertainty", "stratified"), rate=0.1), b"key")
    for _ in range(2):
        assert 0 < sampler.choose(Seen("id", value, value, 0.4)).pi <= 1


def test_a_new_version_is_checked_more_and_ever_less_so() -> None:
    sampler = Sampler(Plan(("temporal",), 0.05, changed_at=1000.0, boost=5, half_life_s=60), b"key")
    found = [sampler.choose(Seen("id", at=at)).pi for at in (999.0, 1000.0, 1060.0, 1120.0, 9999.0)]
    assert found == pytest.approx([0.05, 0.25, 0.15, 0.1, 0.05])
    assert Sampler(Plan(("temporal",), 0.2, changed_at=0.0, boost=50), b"key").choose(Seen("id")).pi == 1.0


def traffic(draw: random.Random, days: int) -> list[float]:
    """Twice as much at noon as at midnight, and a burst."""
    times = []
    for day in range(days):
        for _ in range(6000):
            at = draw.random() * DAY_S
            if draw.random() < (0.75 - 0.25 * abs(at / DAY_S - 0.5) * 2):
                times.append(MIDNIGHT + day * DAY_S + at)
        times += [MIDNIGHT + day * DAY_S + 36_000 + draw.random() * 300 for _ in range(1500)]
    return sorted(times)


def test_a_budget_lasts_all_day_and_is_kept() -> None:
    sampler = Sampler(Plan(("adaptive",), rate=0.2, labels_per_day=200), b"key")
    taken: Counter[int] = Counter()
    evening: Counter[int] = Counter()
    for n, at in enumerate(traffic(random.Random(4), 3)):
        sampled, pi = sampler.choose(Seen(str(n), at=at))
        day, second = divmod(at - MIDNIGHT, DAY_S)
        taken[int(day)] += sampled
        evening[int(day)] += sampled and second > 64_800
        assert pi > 0.001
    assert all(120 < taken[day] <= 215 for day in range(3))
    assert all(evening[day] >= 15 for day in range(3))


def test_a_restart_remembers_what_the_log_says_was_spent() -> None:
    noon = MIDNIGHT + DAY_S / 2
    fresh = Pace(200, most=0.2, spent=0, per_second=0.1, at=noon)
    late = Pace(200, most=0.2, spent=150, per_second=0.1, at=noon)
    assert late.rate(noon) < fresh.rate(noon) / 3
    spent = Pace(200, most=0.2, spent=900, per_second=0.1, at=noon)
    assert spent.rate(noon) == pytest.approx(0.1 * 200 / (0.1 * DAY_S), rel=0.1)
    assert spent.rate(noon + DAY_S) > 10 * spent.rate(noon) or spent.rate(noon + DAY_S) == 0.2


def test_without_a_budget_left_nothing_is_chosen() -> None:
    sampler = Sampler(Plan(("adaptive",), rate=0.2, labels_per_day=0), b"key")
    assert {sampler.choose(Seen(str(n))) for n in range(100)} == {NEVER}


def test_the_labels_for_a_precision_are_those_of_the_textbook() -> None:
    assert labels_for(0.01, 0.9, 7) == pytest.approx(1.96**2 * 0.09 / 0.01**2 / 7)
    assert labels_for(0.01, 1.0, 7) > 20


def test_samplers_that_know_nothing_of_each_other_leave_the_estimate_right() -> None:
    """Three processes, each started anew again and again: their probabilities differ, and are right."""
    off = []
    for replica in range(25):
        world = simulation.world(1500, 0.85, "calibrated", replica % 5)
        plan = simulation.plan("uncertainty+stratified", 0.15, 1500)
        checked = []
        for part in range(3):
            for start in range(part, 1500, 300):
                sampler = Sampler(plan, b"key %d" % replica)
                for at in range(start, min(start + 300, 1500), 3):
                    sampled, pi = sampler.choose(world.seen[at])
                    if sampled:
                        checked.append(estimate.Checked(world.right[at], pi, world.seen[at].confidence))
        off.append((estimate.accuracy(checked).value or 0.0) - world.accuracy)
    assert abs(sum(off) / len(off)) < 0.025

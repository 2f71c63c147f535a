"""How often a rollout is decided wrongly, by simulation: the rate of differing outputs is never known to it."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from tests.bars import SOAK
from tests.rollouts import TARGET_MS, World, climbing, crash, means_at_three_looks, ours, share, slow, threshold

REPLICAS = max(100, round(2000 * SOAK))


def at_most(bar: float) -> float:
    """The bar as such where all replicas run; with fewer, three deviations of chance above it."""
    return bar + (3 * math.sqrt(bar * (1 - bar) / REPLICAS) if SOAK < 1 else 0.0)


def test_a_world_is_what_it_says() -> None:
    for world in (World(0.3, 0.05), World(0.12, -0.02, burst=0.3), World(0.02, -0.02)):
        flow, requests, total = world.labels(random.Random(7)), 0, 0
        for _ in range(30_000):
            gap, label = next(flow)
            requests, total = requests + gap, total + label
        assert 30_000 / requests == pytest.approx(world.differing, rel=0.05)
        assert total / requests == pytest.approx(world.better, abs=0.006)


@pytest.mark.slow
@pytest.mark.parametrize("differing", [0.02, 0.06, 0.12, 0.3])
def test_a_candidate_worse_by_exactly_delta_is_hardly_ever_promoted(differing: float) -> None:
    assert share(ours, "promote", REPLICAS, World(differing, -0.02))[0] <= at_most(0.065)


@pytest.mark.slow
@pytest.mark.parametrize("differing", [0.02, 0.06, 0.12, 0.3])
def test_a_candidate_as_good_as_the_incumbent_is_hardly_ever_called_worse(differing: float) -> None:
    assert share(ours, "roll_back", REPLICAS, World(differing, 0.0))[0] <= at_most(0.065)


@pytest.mark.slow
@pytest.mark.parametrize(("differing", "most"), [(0.06, 100), (0.12, 100), (0.3, 400)])
@pytest.mark.parametrize(("better", "said"), [(0.05, "promote"), (-0.05, "roll_back")])
def test_five_points_are_seen_with_few_labels(differing: float, most: int, better: float, said: str) -> None:
    power, labels = share(ours, said, REPLICAS, World(differing, better))
    assert 1 - power <= at_most(0.05)
    assert labels <= most


@pytest.mark.slow
@pytest.mark.parametrize(("better", "said"), [(0.05, "promote"), (-0.05, "roll_back")])
def test_a_climb_through_all_stages_ends_as_the_first_does(better: float, said: str) -> None:
    power, labels = share(climbing, said, REPLICAS, World(0.12, better))
    assert 1 - power <= at_most(0.05)
    assert labels <= 150
    assert share(climbing, "promote", REPLICAS, World(0.12, -0.02))[0] <= at_most(0.065)


@pytest.mark.slow
@pytest.mark.parametrize("differing", [0.06, 0.12, 0.3])
@pytest.mark.parametrize(("noise", "burst"), [(0.05, 0.0), (0.0, 0.3), (0.05, 0.3)])
def test_a_noisy_oracle_and_correlated_inputs_cost_little(differing: float, noise: float, burst: float) -> None:
    worse, equal = World(differing, -0.02, noise, burst), World(differing, 0.0, noise, burst)
    assert share(ours, "promote", REPLICAS, worse)[0] <= at_most(0.08)
    assert share(ours, "roll_back", REPLICAS, equal)[0] <= at_most(0.08)


@pytest.mark.slow
def test_the_naive_rules_are_wrong_more_often_on_the_same_streams() -> None:
    for rule in (means_at_three_looks, threshold):
        promoted, _ = share(rule, "promote", REPLICAS, World(0.3, -0.02))
        refused, _ = share(rule, "roll_back", REPLICAS, World(0.3, 0.05))
        assert max(promoted, refused) > 2 * 0.065, rule.__name__


@pytest.mark.slow
def test_a_version_that_crashes_on_half_of_the_inputs_is_out_within_twenty_requests() -> None:
    runs = max(200, round(1000 * SOAK))
    out = [crash(random.Random(seed), 0.5, 20) for seed in range(runs)]
    assert sum(n is not None for n in out) >= 0.98 * runs


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0])
def test_a_version_three_times_slower_than_its_target_is_out_within_two_hundred(spread: float) -> None:
    runs = max(50, round(1000 * SOAK))
    for median in (
        3 * TARGET_MS,
        3 * TARGET_MS / math.exp(2.326 * spread),
    ):  # of its median, of its 99th percentile
        out = [slow(random.Random(seed), median, spread, 200) for seed in range(runs)]
        assert sum(n is not None for n in out) >= 0.98 * runs
    assert statistics.median(n or 201 for n in out) < 200


@pytest.mark.slow
def test_a_version_at_its_latency_target_is_left_in() -> None:
    runs = max(50, round(1000 * SOAK))
    median = TARGET_MS / math.exp(2.326 * 0.5)
    assert sum(slow(random.Random(seed), median, 0.5, 200) is not None for seed in range(runs)) <= 0.05 * runs

"""95 % intervals hold the accuracy 95 times in 100, whatever chose the executions: measured on simulated traffic."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.bars import SOAK
from tests.unit.validation import simulation
from tests.unit.validation.simulation import Kind, World

from loopai_runtime.validation import estimate
from loopai_runtime.validation.estimate import Checked, Estimate, Population

STRATEGIES = [
    "random",
    "uncertainty",
    "stratified",
    "temporal",
    "adaptive",
    "uncertainty+temporal",
    "uncertainty+stratified",
    "stratified+temporal+adaptive",
    "uncertainty+stratified+temporal+adaptive",
]
REPLICAS = round(1000 * SOAK)
A_WORLD = 20  # replicas on the same executions, with other keys

Estimator = Callable[[list[Checked], Population], Estimate]


def coverage(
    replicas: int, of: Callable[[int], World], strategy: str, rate: float, estimator: Estimator
) -> tuple[float, float]:
    """How often the interval holds the accuracy, and how far the value is off on average."""
    held, off = 0, 0.0
    for replica in range(replicas):
        if replica % A_WORLD == 0:
            world = of(replica)
            population, truth = world.population(), world.accuracy
        plan = simulation.plan(strategy, rate, len(world.seen))
        found = estimator(simulation.checked(world, plan, b"key %d" % replica), population)
        held += found.low <= truth <= found.high
        off += (found.value or 0.0) - truth
    return held / replicas, off / replicas


def slack(replicas: int) -> float:
    """What chance alone moves a coverage of 95 % by, three standard deviations."""
    return 3 * (0.95 * 0.05 / replicas) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["overconfident", "misleading"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_covered_whatever_the_confidences_say(strategy: str, kind: Kind) -> None:
    held, off = coverage(
        REPLICAS, lambda seed: simulation.world(2500, 0.9, kind, seed), strategy, 0.12, estimate.accuracy
    )
    assert 0.93 - slack(REPLICAS) < held < 0.97 + slack(REPLICAS)
    assert abs(off) < 0.015


@pytest.mark.parametrize("strategy", ["random", "uncertainty", "uncertainty+stratified+temporal+adaptive"])
def test_intervals_hold_the_accuracy(strategy: str) -> None:
    held, off = coverage(
        60, lambda seed: simulation.world(1000, 0.9, "overconfident", seed), strategy, 0.15, estimate.accuracy
    )
    assert held >= 0.95 - slack(60)
    assert abs(off) < 0.025


def naive(checked: list[Checked], _population: Population) -> Estimate:
    """As if all had been chosen alike."""
    return estimate.accuracy([one._replace(pi=0.05) for one in checked])


def test_the_plain_mean_of_uncertain_executions_is_wrong_and_sure_of_it() -> None:
    def of(seed: int) -> World:
        return simulation.world(8000, 0.85, "calibrated", seed, sureness=3)

    held, off = coverage(20, of, "uncertainty", 0.1, naive)
    assert held == 0
    assert off == pytest.approx(-0.08, abs=0.02)
    held, off = coverage(20, of, "uncertainty", 0.1, estimate.accuracy)
    assert held >= 0.85
    assert abs(off) < 0.005


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["calibrated", "misleading"])
@pytest.mark.parametrize("strategy", ["random", "uncertainty", "stratified", STRATEGIES[-1]])
@pytest.mark.parametrize(("size", "accuracy", "rate"), [(1000, 0.9, 0.05), (500, 0.99, 0.1), (4000, 0.99, 0.05)])
def test_few_labels_and_rare_errors_are_covered_too(
    strategy: str, kind: Kind, size: int, accuracy: float, rate: float
) -> None:
    """Here an interval may well be wider than it had to be; too narrow it must not be."""
    held, _ = coverage(
        REPLICAS, lambda seed: simulation.world(size, accuracy, kind, seed), strategy, rate, estimate.accuracy
    )
    assert held > 0.92 - slack(REPLICAS)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random", "uncertainty", "stratified+temporal+adaptive"])
def test_whoever_looks_every_hour_is_never_wrong_19_times_in_20(strategy: str) -> None:
    replicas, wrong = max(20, REPLICAS // 2), 0
    for replica in range(replicas):
        world = simulation.world(2000, 0.9, "calibrated", replica)
        plan = simulation.plan(strategy, 0.1, 2000)
        checked = simulation.checked(world, plan, b"key %d" % replica)
        looks = [estimate.accuracy(checked[: n + 1], method="hajek").always() for n in range(4, len(checked), 12)]
        wrong += any(not low <= 0.9 <= high for low, high in looks)
    assert wrong / replicas <= 0.05 + slack(replicas)

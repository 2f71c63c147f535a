"""Simulated rollouts: streams of requests on which two versions differ, and rules that decide about them.

Nothing here tells a rule how often outputs differ: it sees shadowed requests, differing ones and labels, as a
rollout does.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from loopai_runtime.rollout import Evidence, Failures, State, decide

STATE = State(10, 0.0, min_labels=20, min_dwell_s=60, max_labels=1000)
NEITHER = 0.1  # of differing outputs: both wrong
TARGET_MS = 10.0

Label = Literal[-1, 0, 1]
End = tuple[str, int]
"""promote | roll_back | inconclusive, and the labels that were spent."""


@dataclass(frozen=True)
class World:
    """Outputs differ on a share `differing` of the requests, and the candidate's accuracy is higher by `better`.

    `noise`: an oracle is wrong that often. `burst`: a request is the one before again, with that probability.
    """

    differing: float
    better: float
    noise: float = 0.0
    burst: float = 0.0

    def labels(self, draw: random.Random) -> Iterator[tuple[int, Label]]:
        """Requests up to and with the next on which outputs differ, and what the oracle says of it."""
        neither = min(NEITHER, 1 - abs(self.better) / self.differing)
        won = (1 - neither + self.better / self.differing) / 2
        new = (1 - self.burst) * self.differing
        truth: Label | None = None
        while True:
            gap = 1
            if truth is None or draw.random() >= self.burst:
                if draw.random() >= self.differing:  # equal now, and until a new request differs
                    gap = 2 + math.floor(math.log1p(-draw.random()) / math.log1p(-new))
                at = draw.random()
                truth = 1 if at < won else -1 if at < 1 - neither else 0
            wrong: Label = draw.choice([-1, 1]) if truth == 0 else -1 if truth == 1 else 1
            yield gap, wrong if draw.random() < self.noise else truth


Rule = Callable[[Iterator[tuple[int, Label]]], End]


def ours(flow: Iterator[tuple[int, Label]]) -> End:
    """`decide`, looked at after each label, later after some: the first that it says counts."""
    shadowed = 0
    labels: list[Label] = []
    for gap, label in flow:
        shadowed += gap
        labels.append(label)
        if looked_at(len(labels)):
            decision = decide(STATE, Evidence(100.0, shadowed, len(labels), tuple(labels)))
            if decision.action != "hold":
                return ended(decision.action, decision.reason), len(labels)
    raise AssertionError


def looked_at(labels: int) -> bool:
    return labels % (1 if labels <= 50 else 5 if labels <= 200 else 25) == 0


def climbing(flow: Iterator[tuple[int, Label]]) -> End:
    """The same through all stages, each of 300 requests at the least, one a second."""
    shadowed, state = 0, replace(STATE, min_dwell_s=300.0)
    labels: list[Label] = []
    for gap, label in flow:
        shadowed += gap
        labels.append(label)
        if not looked_at(len(labels)):
            continue
        decision = decide(state, Evidence(float(shadowed), shadowed, len(labels), tuple(labels)))
        if decision.action == "roll_back" or (decision.action == "promote" and state.stage == 100):
            return ended(decision.action, decision.reason), len(labels)
        if decision.action == "promote":
            state = replace(state, stage=decision.share, stage_started_at=float(shadowed))
    raise AssertionError


def means_at_three_looks(flow: Iterator[tuple[int, Label]]) -> End:
    """A test of the means at 5 %, after 20, 60 and 180 labels; in the end the higher mean."""
    total = 0
    for n, (_, label) in enumerate(flow, 1):
        total += label
        if n in (20, 60, 180) and abs(total) > 1.645 * math.sqrt(n):
            return ("promote" if total > 0 else "roll_back"), n
        if n == 180:
            return ("promote" if total >= 0 else "roll_back"), n
    raise AssertionError


def threshold(flow: Iterator[tuple[int, Label]]) -> End:
    """Promote where on 85 % of a hundred labelled requests the candidate was not the worse one."""
    good = sum(label >= 0 for _, (_, label) in zip(range(100), flow, strict=False))
    return ("promote" if good >= 85 else "roll_back"), 100


def ended(action: str, reason: str) -> str:
    return "inconclusive" if "inconclusive" in reason else action


def ends(rule: Rule, replicas: int, world: World) -> list[End]:
    return [rule(world.labels(random.Random(seed))) for seed in range(replicas)]


def share(rule: Rule, said: str, replicas: int, world: World) -> tuple[float, float]:
    """How often a rule ends so in this world, and the median of labels it took."""
    found = ends(rule, replicas, world)
    return sum(end == said for end, _ in found) / replicas, statistics.median(n for _, n in found)


def crash(draw: random.Random, share_of_inputs: float, most: int) -> int | None:
    """After how many of its requests a version that crashes so often is out, if within `most`."""
    crashed = 0
    for n in range(1, most + 1):
        crashed += draw.random() < share_of_inputs
        if decide(STATE, Evidence(float(n), n, 0, (), Failures(0, crashed))).action == "roll_back":
            return n
    return None


def slow(draw: random.Random, median_ms: float, spread: float, most: int) -> int | None:
    """The same for one whose latency is log-normal with this median, its logarithm spread so."""
    over = 0
    for n in range(1, most + 1):
        over += draw.lognormvariate(math.log(median_ms), spread) > TARGET_MS
        if decide(STATE, Evidence(float(n), n, 0, over_latency=over)).action == "roll_back":
            return n
    return None

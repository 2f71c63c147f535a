"""Populations of executions whose right answers are known, sampled as a server samples them."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

from loopai_runtime.sampling import Plan, Sampler, Seen
from loopai_runtime.validation.estimate import Checked, Population

DAY_S = 86_400.0
MIDNIGHT = 20_000 * DAY_S
LABELS = ("invoice", "complaint", "order", "praise")
WORDS = ("late", "card", "refund", "please", "help", "broken", "thanks", "where")

Kind = Literal["calibrated", "overconfident", "unrelated", "misleading"]


class World(NamedTuple):
    """Executions over a day, and whether each one's output is right."""

    seen: list[Seen]
    right: list[bool]

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right)

    def population(self) -> Population:
        return Population.of(one.confidence for one in self.seen)


def world(size: int, accuracy: float, kind: Kind, seed: int, sureness: float = 6.0) -> World:
    """Confidences that tell how likely an output is right, or too little of it, nothing, or the contrary; the
    smaller `sureness`, the nearer they are to 0 and 1."""
    draw = random.Random(seed)
    seen, right = [], []
    for n in range(size):
        chance = draw.betavariate(sureness * accuracy, sureness * (1 - accuracy))
        label = draw.choices(LABELS, (0.7, 0.2, 0.08, 0.02))[0]
        if kind == "calibrated":
            confidence = chance
        elif kind == "overconfident":
            confidence = chance**0.3
        else:
            confidence = draw.betavariate(5, 2)
            chance = accuracy if kind == "unrelated" else 1 - (1 - accuracy) * min(1.0, 2 * confidence**2)
        text = f"{draw.choice(WORDS)} {draw.choice(WORDS)}"
        seen.append(Seen(f"{seed}-{n}", {"text": text}, label, confidence, MIDNIGHT + DAY_S * (n + 0.5) / size))
        right.append(draw.random() < chance)
    return World(seen, right)


def checked(of: World, plan: Plan, key: bytes) -> list[Checked]:
    """What a sampler with this key chooses of them, checked."""
    sampler = Sampler(plan, key)
    found = []
    for one, right in zip(of.seen, of.right, strict=True):
        sampled, pi = sampler.choose(one)
        if sampled:
            found.append(Checked(right, pi, one.confidence))
    return found


def plan(strategy: str, rate: float, size: int) -> Plan:
    """Labels a day as the rate would have them; the version began to serve at midnight."""
    names = tuple(strategy.split("+"))
    budget = rate * size if "adaptive" in names else None
    return Plan(names, rate=0.2 if budget else rate, labels_per_day=budget, changed_at=MIDNIGHT, half_life_s=7200)

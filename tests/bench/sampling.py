"""What a choice costs on the request path, and an estimate in a report: python tests/bench/sampling.py"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from loopai_runtime.models import new_id
from loopai_runtime.sampling import Plan, Sampler, Seen
from loopai_runtime.validation.estimate import Checked, Population, accuracy

CHOICES, CHECKS, TIMES = 20_000, 100_000, 5
STRATEGIES = ("random", "uncertainty", "stratified", "temporal", "adaptive")
WORDS = ["refund", "order", "late", "card", "pin", "money", "please", "help", "account", "transfer"]


def best(work: Callable[[], object]) -> float:
    """The least processor seconds of several runs."""
    found = []
    for _ in range(TIMES):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def executions() -> list[Seen]:
    """Texts of 40 words, 77 labels, one execution every 0.8 seconds."""
    draw = random.Random(1)
    texts = [" ".join(draw.choices(WORDS, k=40)) for _ in range(1000)]
    return [
        Seen(new_id(), {"text": texts[n % 1000]}, f"label {n % 77}", draw.random(), 1e9 + 0.8 * n)
        for n in range(CHOICES)
    ]


def main() -> None:
    seen = executions()
    for strategy in (*STRATEGIES, "+".join(STRATEGIES[1:])):
        names = tuple(strategy.split("+"))
        budget = 500 if "adaptive" in names else None
        sampler = Sampler(Plan(names, 0.05, labels_per_day=budget, changed_at=1e9), b"k" * 32)
        took = best(lambda sampler=sampler: [sampler.choose(one) for one in seen])  # type: ignore[misc]
        print(f"choose, {strategy:42} {took / CHOICES * 1e6:6.2f} µs")
    draw = random.Random(2)
    checked = [Checked(draw.random() < 0.9, draw.choice((0.01, 0.05, 0.2)), draw.random()) for _ in range(CHECKS)]
    spread = Population(2_000_000, (100_000,) * 20)
    took = best(lambda: accuracy(checked, spread))
    print(f"estimate of {CHECKS:,} checks, doubly robust      {took * 1000:6.0f} ms")


if __name__ == "__main__":
    main()

"""How often rollouts are decided wrongly, and after how many labels: python -m tests.bench.rollout [REPLICAS]"""

from __future__ import annotations

import random
import statistics
import sys

from tests.rollouts import TARGET_MS, World, climbing, crash, ends, means_at_three_looks, ours, slow, threshold

WORLDS = [
    World(differing, better, noise, burst)
    for differing in (0.06, 0.12, 0.3)
    for better in (-0.05, -0.02, 0.0, 0.05)
    for noise, burst in ((0.0, 0.0), (0.05, 0.0), (0.0, 0.3), (0.05, 0.3))
    if not (noise or burst) or better in (-0.02, 0.0)
]


def main() -> None:
    replicas = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("differing better noise burst  rule                    promoted  rolled back  median labels")
    for world in WORLDS:
        rules = (ours, climbing, means_at_three_looks, threshold) if not (world.noise or world.burst) else (ours,)
        for rule in rules:
            found = ends(rule, replicas, world)
            promoted, back = (sum(end == said for end, _ in found) / replicas for said in ("promote", "roll_back"))
            labels = statistics.median(n for _, n in found)
            name = f"{world.differing:9.0%} {world.better:+6.0%} {world.noise:5.0%} {world.burst:5.0%}"
            print(f"{name}  {rule.__name__:22} {promoted:9.2%} {back:12.2%} {labels:14.0f}", flush=True)
    for often in (0.3, 0.5, 1.0):
        out = [crash(random.Random(seed), often, 20) for seed in range(1000)]
        within = sum(n is not None for n in out) / 1000
        print(f"crashes on {often:.0%}: out within 20 requests in {within:.1%}")
    for spread in (0.1, 0.5, 1.0):
        for name, median in (("median", 3 * TARGET_MS), ("p99", 3 * TARGET_MS / 2.71828 ** (2.326 * spread))):
            out = [slow(random.Random(seed), median, spread, 200) for seed in range(1000)]
            seen = sorted(n or 201 for n in out)
            within = sum(n is not None for n in out) / 1000
            print(f"{name} 3x its target, spread {spread}: out within 200 in {within:.1%}, median {seen[500]}")


if __name__ == "__main__":
    main()

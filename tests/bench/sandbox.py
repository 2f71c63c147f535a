"""What the sandbox costs and how it holds under load: `python -m tests.bench.sandbox`.

Restricted against plain time per call (rotated order, rules and linear, short and long input); respawn of an
executor; good requests through the asynchronous pool at a fixed rate while a bad one arrives every two seconds
(a hang, a huge integer, a catastrophic pattern, a loop that swallows exceptions), beside the same run without.
LOOPAI_SOAK scales the lengths; 1 is the full count.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import shared_data
from tests.bars import SOAK

from loopai_runtime.sandbox import policy
from loopai_runtime.sandbox.facades import facade_import
from loopai_runtime.sandbox.freeze import freeze
from loopai_runtime.sandbox.language import BUILTINS
from loopai_runtime.sandbox.pool import Pool, SyncPool, to_payload
from loopai_runtime.sandbox.records import Outcome, Program
from loopai_runtime.synthesis.strategy import Calibration, Problem
from loopai_runtime.synthesis.synthesize import strategies

RATE = 4000
BAD = {
    "hang": "def run(x):\n    while True:\n        pass\n",
    "big integer": "def run(x):\n    n = 7\n    while True:\n        n = n * n\n",
    "pattern": "import re\ndef run(x):\n    return bool(re.match('(a+)+$', 'a' * 60 + 'b'))\n",
    "swallow": "def run(x):\n    while True:\n        try:\n            while True:\n                pass\n"
    "        except Exception:\n            pass\n",
}
GOOD = "def run(x):\n    return 'spam' if 'win' in x['text'].lower() else 'ham'\n"


def emitted() -> dict[str, str]:
    """A readable rule program and a linear one, learned from real messages."""
    rows = shared_data.rows("sms_spam", "train")
    inputs, outputs = [row["input"] for row in rows], [row["output"] for row in rows]
    problem = Problem("sms", {}, {}, inputs, outputs, range(len(rows)))
    made = {n: f for s in strategies() for n, f in zip(s.names, s.fit(problem, range(len(rows)), 0), strict=True)}
    return {name: made[name].emit(problem, Calibration(1.0, 0.0, 0.0)) for name in ("keywords", "linear")}


def restricted(source: str) -> Callable[[Any], Any]:
    compiled = policy.compile_restricted(source, "program.py")
    namespace: dict[str, Any] = {"__name__": "program", "__builtins__": {**BUILTINS, "__import__": facade_import}}
    exec(compiled.code, namespace)
    freeze(namespace, compiled.read_only)
    run: Callable[[Any], Any] = namespace["run"]
    return run


def plain(source: str) -> Callable[[Any], Any]:
    namespace: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, "program.py", "exec"), namespace)
    run: Callable[[Any], Any] = namespace["run"]
    return run


def overhead() -> None:
    print("| program | input | plain µs | restricted / plain |\n|---|---|---|---|")
    texts = [row["input"]["text"] for row in shared_data.rows("sms_spam", "test")[:200]]
    long = [{"text": (" ".join(texts[i : i + 20]))[:1000]} for i in range(50)]
    for name, source in emitted().items():
        for kind, inputs in (("short", [{"text": text} for text in texts]), ("1000 characters", long)):
            both = {"plain": plain(source), "restricted": restricted(source)}
            times: dict[str, list[float]] = {"plain": [], "restricted": []}
            for turn in range(41):
                for way in sorted(both, reverse=bool(turn % 2)):
                    started = time.perf_counter()
                    for value in inputs:
                        both[way](value)
                    times[way].append((time.perf_counter() - started) / len(inputs) * 1e6)
            base = statistics.median(times["plain"])
            ratio = statistics.median(b / a for a, b in zip(times["plain"], times["restricted"], strict=True))
            print(f"| {name} | {kind} | {base:.1f} | {ratio:.3f} |", flush=True)


def respawn() -> None:
    """From the kill of an executor to the answer of the one that takes its place, and to a new one being ready."""
    took = []
    with SyncPool(1) as pool:
        pool.load(Program("p", GOOD))
        pool.call("p", {"text": "x"})
        template = pool._births._process.pid  # type: ignore[union-attr]
        for _ in range(max(10, round(200 * SOAK))):
            children = Path(f"/proc/{template}/task/{template}/children").read_text().split()
            before = pool.restarts
            started = time.perf_counter()
            os.kill(int(children[0]), signal.SIGKILL)
            scheduler = pool._scheduler
            pool._loop.run_until(
                lambda scheduler=scheduler, n=before: (
                    scheduler.restarts > n  # type: ignore[misc]
                    and all(e.is_ready and not e.turns for e in scheduler.executors.values())
                )
            )
            took.append((time.perf_counter() - started) * 1000)
    print(f"\nrespawn: median {statistics.median(took):.1f} ms, worst {max(took):.1f} ms of {len(took)}")


async def load(seconds: float, bad: bool, seed: int) -> tuple[list[float], int, list[float]]:
    """Latencies of good requests from their scheduled times in ms, how many failed, latencies of the bad ones."""
    latencies: list[float] = []
    failed = 0
    bad_took: list[float] = []
    draw = random.Random(seed)
    payload = to_payload({"text": "win a prize"})

    def good_done(scheduled: float, outcome: Outcome) -> None:
        nonlocal failed
        failed += outcome.output != "spam"
        latencies.append((time.monotonic() - scheduled) * 1000)

    def bad_done(sent: float, outcome: Outcome) -> None:
        bad_took.append(time.monotonic() - sent)

    async with Pool(2) as pool:
        await pool.load(Program("good", GOOD))
        for name, source in BAD.items():
            await pool.load(Program(name, source))
        await pool.call("good", {"text": "x"})
        started = time.monotonic()
        sent, next_bad, total = 0, started + 1.0, round(seconds * RATE)
        while sent < total:
            now = time.monotonic()
            while sent < total and started + sent / RATE <= now:
                scheduled = started + sent / RATE
                pool.submit("good", payload, lambda out, at=scheduled: good_done(at, out))  # type: ignore[misc]
                sent += 1
            if bad and now >= next_bad:
                next_bad += 2.0
                pool.submit(draw.choice(list(BAD)), b"1", lambda out, at=now: bad_done(at, out))  # type: ignore[misc]
            await asyncio.sleep(0.0005)
        while len(latencies) < total:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.5 if bad else 0)
    return latencies, failed, bad_took


def hangs() -> None:
    seconds, runs = max(3.0, 60 * SOAK), 5 if SOAK >= 1 else 1
    print(f"\n{RATE:,} good requests a second for {seconds:g} s, medians of {runs}:\n")
    print("| | failed | p50 ms | p99 ms | p99.9 ms | bad ones, slowest s |\n|---|---|---|---|---|---|")
    for bad in (False, True):
        rows = []
        for seed in range(runs):
            latencies, failed, took = asyncio.run(load(seconds, bad, seed))
            latencies.sort()
            at = [latencies[round(len(latencies) * q) - 1] for q in (0.5, 0.99, 0.999)]
            rows.append([failed, *at, max(took, default=0.0)])
        middle = [statistics.median(column) for column in zip(*rows, strict=True)]
        name = "one bad every 2 s" if bad else "none bad"
        worst = max(row[0] for row in rows)
        print(
            f"| {name} | {worst} | {middle[1]:.2f} | {middle[2]:.2f} | {middle[3]:.2f} | {middle[4]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    overhead()
    respawn()
    hangs()

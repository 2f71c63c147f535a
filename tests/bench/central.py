"""The platform as a real process: its start, executions at a steady rate, and a push to a crowd.

python -m tests.bench.central [start|execute|push] [--rate 100] [--seconds 30] [--clients 2000] [--rounds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import nursery
from tests.bench.hub import Listener, Measured, cpu_s, rss_kb
from tests.integration.central.conftest import PlatformProcess, running
from tests.integration.test_server import SPAM

from loopai_runtime.flows.bench import Load, percentile, run_load

nursery.alone = True
PER_KEY = 100  # connections that a hub lets one user have


def execute(platform: PlatformProcess, rate: float, seconds: float) -> Load:
    """Open loop over 32 connections: latencies count from when a request was due."""
    platform.upload("spam", SPAM)
    _, key = platform.key("execute")
    place = {"host": "127.0.0.1", "port": int(platform.url.rpartition(":")[2]), "task_id": "spam"}
    inputs = [{"text": f"you win {number}"} for number in range(100)]
    run_load(**place, inputs=inputs, rate=rate, seconds=2, connections=32, api_key=key)  # type: ignore[arg-type]
    return run_load(**place, inputs=inputs, rate=rate, seconds=seconds, connections=32, api_key=key)  # type: ignore[arg-type]


def push(platform: PlatformProcess, clients: int, rounds: int) -> Measured:
    """From the start of an upload's request until the last client of the task's group has the news."""
    platform.upload("crowd", SPAM)
    keys = []
    for number in range(-(-clients // PER_KEY)):
        platform.deploy(f"edge-{number}", "crowd")
        keys.append(platform.key("read", "telemetry", deployment=f"edge-{number}")[1])
    return asyncio.run(_push(platform, keys, clients, rounds))


def start(times: int) -> list[float]:
    """Seconds from the command to the first answer of /readyz, from a clean directory each time."""
    took = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as place:
            began = time.perf_counter()
            with running(Path(place) / "data") as platform:
                assert platform.call("GET", "/readyz")[1] == {"ready": True}
                took.append(time.perf_counter() - began)
    return took


async def _push(platform: PlatformProcess, keys: list[str], clients: int, rounds: int) -> Measured:
    loop, waiting, arrived = asyncio.get_running_loop(), clients, asyncio.Event()
    port, pid = int(platform.url.rpartition(":")[2]), platform.process.pid

    def one() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            arrived.set()

    def listener(number: int) -> Listener:
        # Its key has put it into the group already; the answer, whatever it is, says that it is connected.
        join = '"SubscribeTask","arguments":["crowd"]'
        return Listener(
            one,
            one,
            path="/hubs/loopai",
            token=keys[number // PER_KEY],
            join=join,
            target="OnNewArtifactAvailable",
        )

    before, began = rss_kb(pid), time.perf_counter()
    made: list[Listener] = []
    for start in range(0, clients, 50):
        batch = [
            loop.create_connection(lambda number=number: listener(number), "127.0.0.1", port)  # type: ignore[misc]
            for number in range(start, min(start + 50, clients))
        ]
        made += [protocol for _, protocol in await asyncio.gather(*batch)]
    await asyncio.wait_for(arrived.wait(), 300)
    connecting_s, kb = time.perf_counter() - began, (rss_kb(pid) - before) / clients
    took, busy = [], 0.0
    for number in range(rounds):
        waiting = clients
        arrived.clear()
        used, began = cpu_s(pid), time.perf_counter()
        code = f"def run(x):\n    return '{number} {began}'\n"
        await asyncio.to_thread(platform.upload, "crowd", code)
        await asyncio.wait_for(arrived.wait(), 300)
        took.append(time.perf_counter() - began)
        busy += cpu_s(pid) - used
        await asyncio.sleep(0.05)
    for each in made:
        each.transport.abort()
    return Measured(clients, took, connecting_s, kb, busy / rounds)


def summary(load: Load) -> str:
    p50, p99, most = (percentile(load.latencies_ms, share) for share in (0.5, 0.99, 1.0))
    return (
        f"{load.rate:g}/s for {load.seconds:g} s: {len(load.latencies_ms)} answered, {load.failed} failed, "
        f"{load.unanswered} unanswered; p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {most:.2f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["start", "execute", "push"])
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    asked: Any = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if asked.part in (None, "start"):
        took = start(asked.rounds)
        print(f"ready after {statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f})", flush=True)
    if asked.part == "start":
        return
    with tempfile.TemporaryDirectory() as place, running(Path(place) / "data") as platform:
        if asked.part != "push":
            print(summary(execute(platform, asked.rate, asked.seconds)), flush=True)
        if asked.part != "execute":
            measured = push(platform, asked.clients, asked.rounds)
            print(measured, f"(median {statistics.median(measured.rounds) * 1000:.0f} ms)", flush=True)


if __name__ == "__main__":
    main()

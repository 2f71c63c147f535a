"""Analytics against the bars: rollups, `analyze` from them, SQL over raw logs, retention.

    python -m tests.bench.analytics [--executions 2000000] [--quick]

Writes a week of executions into a temporary directory, and measures the commands as processes of their own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson

from loopai_runtime import jsonl
from loopai_runtime.config import Config
from loopai_runtime.crypto import Appender, Vault
from loopai_runtime.datasets import raw, retention, stats
from loopai_runtime.files import make_dir
from loopai_runtime.layout import Layout
from loopai_runtime.models import new_id

TASK = "spam"
DAYS = 7
SQL = "SELECT version, status, count(*) AS n, avg(latency_ms) AS mean FROM executions GROUP BY ALL ORDER BY ALL"
WORDS = [
    "buy",
    "now",
    "free",
    "offer",
    "meeting",
    "tomorrow",
    "invoice",
    "attached",
    "please",
    "find",
    "the",
    "report",
    "win",
    "prize",
    "hello",
    "team",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=2_000_000)
    parser.add_argument("--quick", action="store_true", help="a fiftieth of it")
    given = parser.parse_args()
    n = given.executions // 50 if given.quick else given.executions
    with tempfile.TemporaryDirectory() as place:
        layout = Layout(place)
        window = stats.last_days(DAYS)
        write(layout, window, n // DAYS)
        size = sum(part.size() for parts in raw.days(layout, TASK).values() for part in parts)
        print(f"{n // DAYS * DAYS} executions in {DAYS} days, {size / 1e6:.0f} MB")
        rollups(layout, window)
        exactness(layout, window)
        commands(layout, "plain")
        compress(layout)
        commands(layout, "six days gzipped")
    encryption()


def write(layout: Layout, window: list[str], per_day: int) -> None:
    """Records as a server writes them: one in 500 an error, 5 % sampled, texts of twelve words."""
    rng = random.Random(1)
    make_dir(layout.executions(TASK))
    for at, day in enumerate(window):
        with layout.executions(TASK, day).open("wb") as file:
            for i in range(per_day):
                second = i * 86_399 // per_day
                time_ = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
                failed = rng.random() < 0.002
                record = {
                    "schema": 1,
                    "execution_id": new_id(),
                    "task_id": TASK,
                    "version": 1 + (at > 3),
                    "input": {"text": " ".join(rng.choices(WORDS, k=12))},
                    "output": None if failed else rng.choice(("spam", "ham", "ham")),
                    **({} if failed else {"confidence": round(1 - rng.random() ** 3 / 2, 6)}),
                    "source": "program",
                    "status": "error" if failed else "success",
                    **({"error": {"type": "ValueError", "message": "no", "line": 3}} if failed else {}),
                    "latency_ms": round(rng.lognormvariate(-1.5, 0.5), 4),
                    "timestamp": f"{day}T{time_}.{rng.randrange(10**6):06}Z",
                    "sampled": rng.random() < 0.05,
                    "pi": 0.05,
                    "deployment_id": "edge-1234abcd",
                }
                file.write(orjson.dumps(record) + b"\n")


def rollups(layout: Layout, window: list[str]) -> None:
    cpu, started = time.process_time(), time.perf_counter()
    counted = sum(day.counts.total().count for day in stats.window(layout, TASK, window))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - started
    say("rollup", f"{counted / cpu:,.0f} records/s of one core ({counted / wall:,.0f}/s by the clock)", "20,000/s")


def exactness(layout: Layout, window: list[str]) -> None:
    """The last day's rollup against one naive pass over its file."""
    day = window[-1]
    statuses: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    latencies: list[float] = []
    for line in raw.lines(layout, TASK, [day]):
        record = json.loads(line)
        statuses[record["status"]] += 1
        labels[str(record["output"])] += 1
        latencies.append(record["latency_ms"])
    latencies.sort()
    rolled_up = stats.daily(layout, TASK, day).counts
    total = rolled_up.total()
    same = (total.count, total.errors) == (statuses.total(), statuses["error"])
    same &= all(group.count == labels[label] for label, group in rolled_up.by_label.items())
    worst = 0.0
    for share in (0.5, 0.95, 0.99):
        right = latencies[math.floor(share * (len(latencies) - 1))]
        worst = max(worst, abs((total.latency.quantile(share) or 0) - right) / right)
    say("rollup = one pass", f"counts {'equal' if same else 'DIFFER'}, quantiles off by {worst:.2%}", "equal, 1 %")


def commands(layout: Layout, state: str) -> None:
    if state == "plain":
        for by in ("day", "version", "label", "hour"):
            say(f"analyze --by {by}", *timed(layout, ["analyze", TASK, "--by", by, "-o", "json"]), "0.5 s")
    bar = "3 s, 300 MB" if state == "plain" else "6 s, 300 MB"
    say(f"analyze --sql, {state}", *timed(layout, ["analyze", TASK, "--sql", SQL, "-o", "json"], 3), bar)
    text = "SELECT count(*) AS n FROM executions WHERE input->>'text' LIKE '%win prize%'"
    say("  … of the inputs' text", *timed(layout, ["analyze", TASK, "--sql", text, "-o", "json"], 3), bar)


def timed(layout: Layout, command: list[str], times: int = 5) -> list[str]:
    """The median by the clock of new processes, the processor time, and the most memory that one had."""
    walls, cpus = [], []
    environment = os.environ | {"LOOPAI_DATA_DIR": str(layout.root)}
    for _ in range(times):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-m", "loopai_runtime", *command], env=environment, check=True, stdout=-3)
        walls.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    peak = after.ru_maxrss / 1024
    return [f"{statistics.median(walls):.2f} s (processor {statistics.median(cpus):.2f} s, at most {peak:.0f} MB)"]


def compress(layout: Layout) -> None:
    started = time.perf_counter()
    steps = list(retention.keep(layout, Config()))
    freed = sum(step.freed for step in steps)
    say(
        "prune",
        f"{len(steps)} days compressed in {time.perf_counter() - started:.1f} s, {freed / 1e6:.0f} MB less",
        "",
    )


def encryption() -> None:
    """A record a frame, which is the dearest: a server under load has many in one."""
    record = b'{"schema":1,"execution_id":"0bda3226-d0bd-453c-9107-634aa3c53ad7"' + b"x" * 315 + b"}\n"
    writer, n = Vault([os.urandom(32)]).writer(), 100_000
    started = time.process_time()
    for _ in range(n):
        writer.frame(record)
    say(
        "encryption",
        f"{(time.process_time() - started) / n * 1e6:.1f} µs for a record of {len(record)} bytes",
        "5 µs",
    )
    with tempfile.TemporaryDirectory() as place:
        plain = jsonl.open_to_append(Path(place, "plain"))
        shared = Appender(Vault([os.urandom(32)]), Path(place, "shared"))
        more = cpu_us(lambda: shared.append(record)) - cpu_us(lambda: jsonl.append_more(plain, record))
        os.close(plain)
        os.close(shared.descriptor)
    say("an input that waits, encrypted", f"{more:.1f} µs more than plain", "5 µs")


def cpu_us(work: Callable[[], object], n: int = 5000) -> float:
    """Processor time of one call, the best of several rounds."""
    rounds = []
    for _ in range(9):
        started = time.process_time()
        for _ in range(n):
            work()
        rounds.append((time.process_time() - started) / n * 1e6)
    return min(rounds)


def say(what: str, found: str, bar: str) -> None:
    print(f"{what:<34} {found:<70} {f'bar {bar}' if bar else ''}", flush=True)


if __name__ == "__main__":
    main()

"""How well fields are extracted from rows not seen: `python -m tests.bench.extract`.

Tables in Markdown, then how often more examples were worse, and calls on long texts. Logs: field accuracy and rows right in every field, at 3, 10 and 30 examples. Slots: exact-span
F1 over the fields that have a value, at 20, 100, 500 and all examples. Each program is run as it was written. Sets
marked * were kept out of all tuning. `--quick` takes few sets, sizes and draws. Nothing here asserts: the bars are
in docs/benchmarks.md, beside the last numbers.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests import shared_data

from loopai_runtime.synthesis.learners.extract import Extract
from loopai_runtime.synthesis.strategy import Calibration, Problem

Rows = list[dict[str, Any]]
LOGS = [
    f"log_{name}" for name in ["android", "apache", "hdfs", "linux", "proxifier", "zookeeper", "hpc", "openssh"]
]
SLOTS = ["snips_bookrestaurant", "restaurant8k", "snips_playmusic"]
HELD_OUT = {"log_hpc", "log_openssh", "snips_playmusic"}
ALL = 1_000_000
TESTED = 1000


class Measured(NamedTuple):
    """A program on test rows: shares, microseconds of a processor a call, bytes, and seconds learning took."""

    field: float
    row: float
    f1: float
    microseconds: float
    bytes: int
    seconds: float


def measure(name: str, rows: Rows, test: Rows) -> Measured:
    problem = Problem(name, {}, {}, *columns(rows), groups=list(range(len(rows))))
    started = time.perf_counter()
    source = Extract().fit(problem, range(len(problem)), 0)[0].emit(problem, Calibration(1.0, 0.0, 0.0))
    seconds = time.perf_counter() - started
    program: dict[str, Any] = {}
    exec(compile(source, "program.py", "exec"), program)
    started = time.process_time()
    answers = [program["run"](row["input"]) for row in test]
    microseconds = (time.process_time() - started) / len(test) * 1e6
    return Measured(*scores(answers, [row["output"] for row in test]), microseconds, len(source.encode()), seconds)


def columns(rows: Rows) -> tuple[list[Any], list[Any]]:
    return [row["input"] for row in rows], [row["output"] for row in rows]


def scores(answers: Rows, wanted: Rows) -> tuple[float, float, float]:
    """Field accuracy, rows right in every field, and F1 over fields that have a value."""
    fields = right = rows = true = found = there = 0
    for answer, output in zip(answers, wanted, strict=True):
        same = [answer.get(name, "") == value for name, value in output.items()]
        fields, right, rows = fields + len(same), right + sum(same), rows + all(same)
        for name, value in output.items():
            got = answer.get(name, "")
            true += got == value != ""
            found += got != ""
            there += value != ""
    return right / fields, rows / len(wanted), 2 * true / max(1, found + there)


def some(rows: Rows, n: int, seed: int) -> Rows:
    return random.Random(f"{n}/{seed}").sample(rows, min(n, len(rows)))


def mean(measured: list[Measured]) -> Measured:
    return Measured(*[statistics.mean(column) for column in zip(*measured, strict=True)])


def table(names: Iterable[str], sizes: list[int], draws: int, what: str) -> None:
    heads = [f"{'all' if n == ALL else n} examples" for n in sizes]
    print(f"\n| set | {' | '.join(heads)} | µs/call | KB | learning s |\n|---|{'---|' * (len(sizes) + 3)}")
    for name in names:
        train, test = (shared_data.rows(f"extract_{name}", part) for part in ("train", "test"))
        cells = []
        for n in sizes:
            count = draws if n < 500 else min(draws, 2) if n == 500 else 1
            one = mean([measure(name, some(train, n, seed), test[:TESTED]) for seed in range(count)])
            cells.append(f"{one.field:.4f} / {one.row:.4f}" if what == "log" else f"{one.f1:.3f}")
        mark = " *" if name in HELD_OUT else ""
        print(
            f"| {name}{mark} | {' | '.join(cells)} | {one.microseconds:.0f} | {one.bytes / 1000:.0f} "
            f"| {one.seconds:.1f} |",
            flush=True,
        )


def nested(names: Iterable[str], sizes: list[int], draws: int, what: str) -> None:
    """How often a program from more examples, the fewer among them, was worse on the same 400 test rows."""
    steps, drops = 0, []
    for name in names:
        train, test = (shared_data.rows(f"extract_{name}", part) for part in ("train", "test"))
        for seed in range(draws):
            order = some(train, len(train), seed)
            measured = [measure(name, order[:n], test[:400]) for n in sizes]
            worth = [one.row if what == "log" else one.f1 for one in measured]
            steps += len(worth) - 1
            drops += [f"{name} {b - a:+.3f}" for a, b in itertools.pairwise(worth) if b < a - 1e-9]
    shown = f" ({', '.join(drops)})" if drops else ""
    print(
        f"\nNested {what} examples, {sizes}: worse with more in {len(drops)} of {steps} steps{shown}.", flush=True
    )


def long_calls() -> None:
    """Microseconds of a call on 1,000 characters: a log line, and texts of a tagger's own kind and of another."""
    texts = {name: texts_of(name) for name in ("log_linux", *SLOTS[:2])}
    for name, other in ((LOGS[3], LOGS[3]), (SLOTS[0], SLOTS[0]), (SLOTS[0], SLOTS[1]), (SLOTS[1], SLOTS[0])):
        rows = some(shared_data.rows(f"extract_{name}", "train"), 500, 0)
        problem = Problem(name, {}, {}, *columns(rows), groups=list(range(len(rows))))
        source = Extract().fit(problem, range(len(problem)), 0)[0].emit(problem, Calibration(1.0, 0.0, 0.0))
        program: dict[str, Any] = {}
        exec(compile(source, "program.py", "exec"), program)
        key = next(key for key, value in rows[0]["input"].items() if isinstance(value, str))
        value = {**rows[0]["input"], key: texts[other]}
        spent = []
        for _ in range(200):
            started = time.process_time()
            program["run"](value)
            spent.append((time.process_time() - started) * 1e6)
        print(f"{name}, 1,000 characters of {other}: {statistics.median(spent):.0f} µs, at best {min(spent):.0f}")


def texts_of(name: str) -> str:
    """A thousand characters of test inputs."""
    rows = shared_data.rows(f"extract_{name}", "test")
    return " ".join(value for row in rows for value in row["input"].values() if isinstance(value, str))[:1000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", help=f"slots alone, of so many examples ({ALL}: all)")
    arguments = parser.parse_args()
    if arguments.sizes:
        table(SLOTS, arguments.sizes, arguments.draws, "slots")
        long_calls()
    elif arguments.quick:
        table(LOGS, [10], 1, "log")
        table(SLOTS[:1], [20, 100], 1, "slots")
    else:
        table(LOGS, [3, 10, 30], arguments.draws, "log")
        table(SLOTS, [20, 100, 500, ALL], arguments.draws, "slots")
        nested(LOGS, [3, 5, 10, 20, 30, 60], arguments.draws, "log")
        nested(SLOTS, [20, 50, 100, 200, 400], 2, "slot")
        long_calls()


if __name__ == "__main__":
    main()

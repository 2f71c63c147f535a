"""Two processes spend from one day's money, are killed in the middle, and never pass its limit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bars import SOAK

from loopai_runtime.layout import Layout
from loopai_runtime.ledger import nano, read

# Spends as it is told, a command line a run: sets aside, then settles for less, for nothing, or never.
SPENDS = """
import json, random, sys
from loopai_runtime.errors import CapReached
from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Ledger
from loopai_runtime.llm import Spent
for line in sys.stdin:
    told = json.loads(line)
    dice = random.Random(told["seed"])
    purse = Ledger(Layout(told["place"]), "t", max_usd_per_command=told["command"], max_usd_per_day=told["day"])
    calls = refused = 0
    for _ in range(told["calls"]):
        most = dice.random() * told["largest"]
        try:
            name = purse.reserve(most, purpose="write", model="m")
        except CapReached:
            refused += 1
            continue
        calls += 1
        end = dice.random()
        if end < 0.8:
            usd = most * dice.choice((1.0, dice.random(), 0.0))
            purse.settle(name, Spent("m", 1, 1, usd, False, 0.0))
        elif end < 0.9:
            purse.settle(name, None)
    print(json.dumps([calls, refused, purse.spent_usd]), flush=True)
"""


class Pair:
    """Two processes that spend at the same time; one that was killed is started anew."""

    def __init__(self) -> None:
        self._both: list[subprocess.Popen[str]] = [self._start(), self._start()]

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SPENDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, orders: list[dict[str, Any]], kill_after_s: float | None) -> list[list[float] | None]:
        for process, order in zip(self._both, orders, strict=True):
            assert process.stdin
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            self._both[0].send_signal(signal.SIGKILL)
        answers: list[list[float] | None] = []
        for process in self._both:
            assert process.stdout
            line = process.stdout.readline()
            answers.append(json.loads(line) if line else None)
        if kill_after_s is not None:
            self._both[0].communicate()
            self._both[0] = self._start()
        return answers

    def close(self) -> None:
        for process in self._both:
            process.communicate()


def most_at_once(place: Path) -> int:
    """The most nano-dollars that were spent or set aside at any moment, as the file has it."""
    held: dict[str, int] = {}
    most = 0
    for path in sorted((place / "ledger").glob("*.jsonl")):
        for raw in path.read_bytes().splitlines():
            line = json.loads(raw)
            held[line["id"]] = nano(line.get("usd", line.get("most_usd")))
            most = max(most, sum(held.values()))
    return most


def spend(runs: int, place: Path) -> tuple[int, int]:
    """Random runs; answers how many calls were made and how many refused."""
    dice = random.Random(20)
    pair, calls, refused = Pair(), 0, 0
    try:
        for number in range(runs):
            root = place / str(number)
            day = dice.choice((0.01, 1.0, 5.0)) * dice.random()
            order = {"place": str(root), "day": day, "calls": dice.randrange(1, 25)}
            order |= {
                "largest": day * dice.choice((0.05, 0.3, 1.2)),
                "command": day * dice.choice((0.3, 0.6, 2.0)),
            }
            orders = [order | {"seed": dice.random()} for _ in range(2)]
            kill_after_s = dice.random() / 50 if dice.random() < 0.1 else None
            for answer in pair.run(orders, kill_after_s):
                if answer is not None:
                    calls, refused = calls + int(answer[0]), refused + int(answer[1])
                    assert answer[2] <= order["command"] + 1e-12
            assert most_at_once(root) <= nano(day)
            assert sum(nano(entry.usd) for entry in read(Layout(root))) <= nano(day)
    finally:
        pair.close()
    return calls, refused


def test_two_processes_never_pass_the_limit_of_a_day(tmp_path: Path) -> None:
    calls, refused = spend(10, tmp_path)
    assert calls > 30
    assert refused > 10


@pytest.mark.slow
def test_nor_in_hundreds_of_runs(tmp_path: Path) -> None:
    runs = round(4000 * SOAK)
    calls, refused = spend(runs, tmp_path)
    assert calls > 3 * runs
    assert refused > runs

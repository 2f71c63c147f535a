"""Deferring: the oracle is waited for by threads of its own, never by whoever serves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bars import TIMED, within

from loopai_runtime.datasets import labels
from loopai_runtime.errors import OracleError
from loopai_runtime.flows.defer import Deferral
from loopai_runtime.layout import Layout
from loopai_runtime.validation.oracle import Answer, Verdict


class Gated:
    """An oracle that answers once its gate opens."""

    kind = name = "gated"

    def __init__(self, is_open: bool = False) -> None:
        self.gate = threading.Event()
        self.asked: list[Any] = []
        self.most = self.now = 0
        self._lock = threading.Lock()
        if is_open:
            self.gate.set()

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        with self._lock:
            self.asked += inputs
            self.now += 1
            self.most = max(self.most, self.now)
        self.gate.wait(120)
        with self._lock:
            self.now -= 1
        if inputs[0] == "raise":
            raise ZeroDivisionError("a fault of ours")
        return [OracleError("no") if value == "none" else Verdict(f"right for {value}") for value in inputs]


def deferral(oracle: Gated, tmp_path: Path, max_wait_s: float = 10, concurrency: int = 2) -> Deferral:
    return Deferral(oracle, Layout(tmp_path), "t", max_wait_s=max_wait_s, concurrency=concurrency)


def test_an_answer_becomes_a_label_and_a_failure_does_not(tmp_path: Path) -> None:
    beside = deferral(Gated(is_open=True), tmp_path)
    futures = [beside.ask(value, f"e-{value}") for value in ("a", "none", "raise", "b")]
    answers = [future.result(120) for future in futures]
    assert [type(answer) for answer in answers] == [Verdict, OracleError, OracleError, Verdict]
    kept = {one.input: one for one in labels.read(Layout(tmp_path), "t")}
    assert kept.keys() == {"a", "b"}
    assert (kept["a"].source, kept["a"].oracle, kept["a"].execution_id) == ("oracle", "gated", "e-a")
    beside.close()


def test_no_more_are_asked_at_once_than_it_may(tmp_path: Path) -> None:
    oracle = Gated()
    beside = deferral(oracle, tmp_path, concurrency=3)
    futures = [beside.ask(n, "e") for n in range(20)]
    while oracle.now < 3:
        time.sleep(0.001)
    oracle.gate.set()
    assert all(isinstance(future.result(120), Verdict) for future in futures)
    assert oracle.most == 3


def test_a_loop_never_waits_longer_than_it_may_and_goes_on_meanwhile(tmp_path: Path) -> None:
    oracle = Gated()

    async def serve() -> tuple[list[Answer], float]:
        loop = asyncio.get_running_loop()
        beside = deferral(oracle, tmp_path, max_wait_s=0.3)
        answers: list[Answer] = []
        done = asyncio.Event()
        longest, last = 0.0, loop.time()
        for n in range(5):
            beside.ask_from(loop, n, "e", lambda a: (answers.append(a), len(answers) == 5 and done.set()))  # type: ignore[func-returns-value]
        while not done.is_set():
            await asyncio.sleep(0.005)
            longest, last = max(longest, loop.time() - last), loop.time()
        return answers, longest

    with within(5):
        answers, longest = asyncio.run(serve())
    assert all("within 0.3 s" in str(answer) for answer in answers)
    assert not TIMED or longest < 0.25
    oracle.gate.set()
    while len(list(labels.read(Layout(tmp_path), "t"))) < 2:  # what was under way is still worth a label
        time.sleep(0.005)
    assert set(oracle.asked) == {0, 1}  # whose time was over before its turn is not asked


def test_beyond_what_can_be_answered_in_time_nobody_is_kept_waiting(tmp_path: Path) -> None:
    oracle = Gated()

    async def serve() -> list[Answer]:
        loop = asyncio.get_running_loop()
        beside = deferral(oracle, tmp_path, max_wait_s=120, concurrency=1)
        answers: list[Answer] = []
        for n in range(100):
            beside.ask_from(loop, n, "e", answers.append)
        await asyncio.sleep(0.01)
        early = list(answers)
        oracle.gate.set()
        while len(answers) < 100:
            await asyncio.sleep(0.005)
        return early

    early = asyncio.run(serve())
    assert len(early) == 83
    assert all("too many inputs wait" in str(answer) for answer in early)

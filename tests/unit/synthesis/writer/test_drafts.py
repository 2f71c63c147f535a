"""Rounds of asking and repairing, with a model that is a function: what happens between the calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from loopai_runtime.errors import CapReached, ModelError
from loopai_runtime.sandbox import SyncPool
from loopai_runtime.synthesis.strategy import Problem
from loopai_runtime.synthesis.writer.angles import angles
from loopai_runtime.synthesis.writer.drafts import AT_ONCE, Draft, Workshop, briefed
from loopai_runtime.synthesis.writer.parallel import at_once
from loopai_runtime.synthesis.writer.plan import plan
from loopai_runtime.synthesis.writer.runs import Bench

TASK = Problem(
    "parity",
    {},
    {"enum": ["even", "odd"]},
    [{"n": at} for at in range(12)],
    ["even" if at % 2 == 0 else "odd" for at in range(12)],
    list(range(12)),
)
RIGHT = "```python\ndef answer(x):\n    return ('odd' if x['n'] % 2 else 'even'), 0.9\n```"
WRONG = "```python\ndef answer(x):\n    return 'even', 0.9\n```"


class Plays:
    """A model that answers from a function of the messages; it counts what is under way together."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[list[dict[str, str]]] = []
        self.most = self._now = 0
        self._lock = threading.Lock()

    def ask(self, messages: Any, **options: Any) -> Any:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.asked.append(list(messages))
        try:
            return SimpleNamespace(text=self.answer(messages, len(self.asked)))
        finally:
            with self._lock:
                self._now -= 1

    def most_usd(self, messages: Any, max_tokens: int) -> float:
        return 0.0


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with SyncPool(workers=1) as pool:
        yield Bench(pool, lambda output: output in ("even", "odd"), 500)


def written(bench: Bench, answer: Any) -> tuple[list[Draft], Workshop, Plays]:
    model = Plays(answer)
    shares = plan(TASK, 0)
    drafts = briefed(TASK, shares, angles("classify", len(shares)), 0)
    shop = Workshop(
        TASK, model, bench.runner(TASK), 0, told=TASK, hide=lambda value: value, tell=lambda _line: None
    )
    shop.write(drafts)
    return drafts, shop, model


def test_right_at_once_is_asked_once(bench: Bench) -> None:
    drafts, shop, model = written(bench, lambda _m, _n: RIGHT)
    assert len(model.asked) == len(drafts) == 6
    assert all(draft.best and draft.best.hits == len(draft.share.seen) for draft in drafts)
    assert shop.stopped is None


def test_a_repair_sees_its_last_program_and_its_failures(bench: Bench) -> None:
    drafts, _, model = written(bench, lambda m, _n: RIGHT if len(m) > 2 else WRONG)
    assert len(model.asked) == 2 * len(drafts)
    last = model.asked[-1]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "user"]
    assert "return 'even'" in last[2]["content"]
    assert '"odd" was taken for "even"' in last[3]["content"]


def test_a_program_that_never_runs_is_repaired_three_times(bench: Bench) -> None:
    drafts, _, model = written(
        bench, lambda _m, _n: "```python\nimport os\n\n\ndef answer(x):\n    return os.x\n```"
    )
    assert len(model.asked) == 4 * len(drafts)
    assert all(draft.best is None and "os is not offered" in draft.faults[0] for draft in drafts)


def test_a_repair_that_does_not_help_is_the_last(bench: Bench) -> None:
    drafts, _, model = written(bench, lambda _m, _n: WRONG)
    assert len(model.asked) == 2 * len(drafts)
    assert all(draft.best is not None for draft in drafts)


def test_a_repair_that_makes_it_worse_is_not_kept(bench: Bench) -> None:
    worse = WRONG.replace("'even'", "None")
    drafts, _, _ = written(bench, lambda m, _n: worse if len(m) > 2 else WRONG)
    assert all(draft.best and "'even'" in draft.best.source.text for draft in drafts)


def test_money_that_ends_keeps_what_is_there(bench: Bench) -> None:
    def answer(_messages: Any, number: int) -> str:
        if number > 3:
            raise CapReached("the limit is reached")
        return RIGHT

    drafts, shop, _ = written(bench, answer)
    assert sum(draft.best is not None for draft in drafts) == 3
    assert shop.stopped == "the limit is reached"


def test_one_failing_call_does_not_stop_the_others(bench: Bench) -> None:
    def answer(_messages: Any, number: int) -> str:
        if number == 2:
            raise ModelError("late")
        return RIGHT

    drafts, shop, _ = written(bench, answer)
    assert sum(draft.best is not None for draft in drafts) == len(drafts) - 1
    assert shop.stopped is None


def test_an_interrupt_keeps_what_runs(bench: Bench) -> None:
    def answer(messages: Any, _number: int) -> str:
        if len(messages) > 2:
            raise KeyboardInterrupt
        return WRONG

    drafts, shop, _ = written(bench, answer)
    assert all(draft.best for draft in drafts)
    assert shop.stopped == "interrupted"


def test_no_more_calls_are_under_way_than_allowed_and_results_keep_their_order() -> None:
    under_way: set[int] = set()
    most = []

    def call(item: int) -> int:
        under_way.add(item)
        most.append(len(under_way))
        time.sleep(0.002)
        under_way.discard(item)
        return item * 2

    assert at_once(AT_ONCE, call, range(20)) == [at * 2 for at in range(20)]
    assert max(most) <= AT_ONCE
    assert at_once(AT_ONCE, call, []) == []

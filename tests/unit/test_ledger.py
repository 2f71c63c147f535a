"""The ledger: limits that hold, lines that survive, and what counts when nobody knows."""

from __future__ import annotations

import math
import stat
from pathlib import Path

import pytest

from loopai_runtime import ledger
from loopai_runtime.errors import CapReached
from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Budget, Ledger, nano, read
from loopai_runtime.llm import Spent


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def purse(layout: Layout, per_command: float = math.inf, per_day: float | None = None, **more: object) -> Ledger:
    return Ledger(layout, "spam", max_usd_per_command=per_command, max_usd_per_day=per_day, **more)  # type: ignore[arg-type]


def spent(usd: float) -> Spent:
    return Spent("m", 10, 5, usd, False, 0.5)


def reserve(one: Ledger, usd: float, purpose: str = "write") -> str:
    return one.reserve(usd, purpose=purpose, model="m")


def test_what_was_not_spent_is_given_back(layout: Layout) -> None:
    one = purse(layout, per_command=1.0)
    for _ in range(6):
        one.settle(reserve(one, 0.5), spent(0.1))
    assert one.spent_usd == pytest.approx(0.6)
    with pytest.raises(CapReached, match=r"limit of \$1 leaves \$0.4, and the next call may cost \$0.5"):
        reserve(one, 0.5)


def test_ten_dimes_are_a_dollar(layout: Layout) -> None:
    one = purse(layout, per_command=1.0, per_day=1.0)
    for _ in range(10):
        reserve(one, 0.1)
    with pytest.raises(CapReached):
        reserve(one, 1e-9)


def test_a_call_that_was_not_made_costs_nothing(layout: Layout) -> None:
    one = purse(layout, per_command=1.0, per_day=1.0)
    one.settle(reserve(one, 1.0), None)
    assert one.spent_usd == 0
    reserve(one, 1.0)
    assert [entry.state for entry in read(layout)] == ["released", "reserved"]


@pytest.mark.parametrize("limits", [{"per_command": 0.0}, {"per_day": 0.0}])
def test_a_limit_of_nothing_allows_not_even_what_is_free(layout: Layout, limits: dict[str, float]) -> None:
    with pytest.raises(CapReached, match="is 0"):
        reserve(purse(layout, **limits), 0.0)
    assert read(layout) == []


def test_the_day_is_shared_by_commands_and_what_one_left_open_counts(layout: Layout) -> None:
    died = purse(layout, per_day=1.0)
    reserve(died, 0.7)
    another = purse(layout, per_day=1.0)
    with pytest.raises(CapReached, match="today's limit"):
        reserve(another, 0.4)
    assert reserve(another, 0.3)


def test_a_day_ends(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    one = purse(layout, per_day=1.0)
    days = iter(["2026-01-01", "2026-01-02"])
    monkeypatch.setattr(ledger.time, "strftime", lambda *_: next(days))
    late = reserve(one, 1.0)
    reserve(one, 1.0)
    one.settle(late, spent(0.25))
    assert [(entry.state, entry.usd) for entry in read(layout)] == [("spent", 0.25), ("reserved", 1.0)]
    assert len(read(layout, ["2026-01-01"])) == 1


def test_a_budget_is_of_one_task_and_some_purposes(layout: Layout) -> None:
    budget = Budget("oracle.max_usd_per_day", 0.5, frozenset({"defer"}))
    reserve(purse(layout), 9.0, "write")
    reserve(Ledger(layout, "other", max_usd_per_command=math.inf), 9.0, purpose="defer")
    one = purse(layout, budget=budget)
    reserve(one, 0.5, "defer")
    with pytest.raises(CapReached, match=r"today's limit of \$0.5") as caught:
        reserve(one, 0.1, "defer")
    assert caught.value.hint == "raise oracle.max_usd_per_day"


def test_more_than_was_set_aside_counts_in_full(layout: Layout) -> None:
    one = purse(layout, per_command=1.0, per_day=1.0)
    one.settle(reserve(one, 0.5), spent(3.0))
    with pytest.raises(CapReached):
        reserve(one, 0.0001)
    with pytest.raises(CapReached):
        reserve(purse(layout, per_day=1.0), 0.0001)


def test_entries_say_what_for_and_how_much(layout: Layout) -> None:
    one = purse(layout)
    one.settle(reserve(one, 0.5, "repair"), spent(0.25))
    (entry,) = read(layout)
    assert (entry.task_id, entry.purpose, entry.model, entry.most_usd, entry.usd) == (
        "spam",
        "repair",
        "m",
        0.5,
        0.25,
    )
    assert (entry.prompt_tokens, entry.completion_tokens, entry.seconds) == (10, 5, 0.5)


def test_files_are_for_their_owner_alone(layout: Layout) -> None:
    reserve(purse(layout), 0.1)
    (path,) = layout.ledger.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"state": "spent", "id": "unknown", "usd": -5}',
        b'{"state": "reserved", "id": "x", "at": "", "task_id": null, "command": "", "purpose": "", "model": "", "most_usd": "1"}',
        b'{"state": "reserved", "id": "x", "at": "", "task_id": null, "command": "", "purpose": "", "model": "", "most_usd": -1}',
        b'{"state": "reser',
    ],
)
def test_a_damaged_line_is_skipped(layout: Layout, line: bytes) -> None:
    first = purse(layout, per_day=1.0)
    reserve(first, 0.6)
    (path,) = layout.ledger.iterdir()
    with path.open("ab") as file:
        file.write(line + (b"" if line.endswith(b"reser") else b"\n"))
    one = purse(layout, per_day=1.0)
    with pytest.raises(CapReached):
        reserve(one, 0.5)
    reserve(one, 0.4)
    reserve(first, 0.0)  # and who had read a part of the torn line goes on
    assert [entry.usd for entry in read(layout)] == [0.6, 0.4, 0.0]


def test_settling_a_reservation_twice_is_an_error(layout: Layout) -> None:
    one = purse(layout)
    name = reserve(one, 0.1)
    one.settle(name, None)
    with pytest.raises(KeyError):
        one.settle(name, None)


@pytest.mark.parametrize(
    ("usd", "whole"), [(0.1, 10**8), (1e-10, 1), (0.0, 0), (1.5e-7, 150), (0.1 + 0.2, 3 * 10**8)]
)
def test_money_is_rounded_up_to_whole_nano_dollars(usd: float, whole: int) -> None:
    assert nano(usd) == whole

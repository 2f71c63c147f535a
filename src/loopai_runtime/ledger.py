"""The ledger: every call to a model, what was set aside for it and what it took, a file a UTC day.

A reservation is a line, and so is its settlement. Both are appended under one lock, so that any number of
processes together stay below a day's limits. What a process that died has not settled counts as spent until its
day ends, since nobody knows what the provider charged.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.errors import CapReached
from loopai_runtime.files import make_dir, only_one, storage_errors
from loopai_runtime.models import new_id, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from loopai_runtime.layout import Layout
    from loopai_runtime.llm.endpoint import Spent

NANO = 1_000_000_000


def nano(usd: float) -> int:
    """US dollars as whole nano-dollars, rounded up, so that sums are exact and never too small."""
    exact = usd * NANO
    return math.ceil(exact - 1e-3)  # what floats leave of a whole number is no part of the price


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. `usd` is what counts: what it took, or everything set aside while that is not known."""

    id: str
    at: str
    task_id: str | None
    command: str
    purpose: str
    model: str
    most_usd: float
    usd: float
    state: str = "reserved"  # reserved, spent, released
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def settled(self, line: dict[str, Any]) -> Entry:
        """Raises KeyError, ValueError, TypeError for a line that settles nothing."""
        return replace(
            self,
            state=str(line["state"]),
            usd=_not_negative(line["usd"]),
            prompt_tokens=int(line["prompt_tokens"]),
            completion_tokens=int(line["completion_tokens"]),
            seconds=float(line["seconds"]),
        )


def _reserved(line: dict[str, Any]) -> Entry:
    known = {name: line[name] for name in ("id", "at", "task_id", "command", "purpose", "model")}
    most = _not_negative(line["most_usd"])
    return Entry(**known, most_usd=most, usd=most)


def _not_negative(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError("not an amount")
    return float(value)


class _Tail:
    """One day's file, read on from where it was left. Yields each call as it is reserved and as it is settled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._open: dict[str, Entry] = {}

    def news(self) -> Iterator[tuple[Entry | None, Entry]]:
        """The call as it was, None if it is new, and as it is now. Raises StorageError."""
        with storage_errors(self.path):
            try:
                with self.path.open("rb") as file:
                    file.seek(self._offset)
                    read = file.read()
            except FileNotFoundError:
                return
        whole = read[: read.rfind(b"\n") + 1]
        self._offset += len(whole)
        import orjson  # here, as commands that ask no model need not load it

        for line in whole.splitlines():
            try:
                yield self._apply(orjson.loads(line))
            except (KeyError, TypeError, ValueError):
                continue  # a line of somebody's editor

    def _apply(self, line: dict[str, Any]) -> tuple[Entry | None, Entry]:
        if line["state"] == "reserved":
            entry = self._open[line["id"]] = _reserved(line)
            return None, entry
        before = self._open[line["id"]]
        after = before.settled(line)
        del self._open[line["id"]]
        return before, after


class _Day:
    """What a day has cost so far, in nano-dollars, by task and purpose."""

    def __init__(self, path: Path) -> None:
        self._tail = _Tail(path)
        self._spent: Counter[tuple[str | None, str]] = Counter()

    @property
    def name(self) -> str:
        return self._tail.path.stem

    def catch_up(self) -> None:
        for before, after in self._tail.news():
            key = (after.task_id, after.purpose)
            self._spent[key] += nano(after.usd) - (nano(before.usd) if before else 0)

    def append(self, line: dict[str, Any]) -> None:
        jsonl.append(self._tail.path, [jsonl.compact(line)])

    def total(self) -> int:
        return sum(self._spent.values())

    def of(self, task_id: str | None, purposes: frozenset[str]) -> int:
        return sum(
            spent for (task, purpose), spent in self._spent.items() if task == task_id and purpose in purposes
        )


class _Reservation(NamedTuple):
    day: str
    most: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What one task may spend a day for some purposes; `key` is the option that says so."""

    key: str
    max_usd_per_day: float
    purposes: frozenset[str]


class Ledger:
    """The purse of one command. Safe across threads, processes and kills. Raises StorageError."""

    def __init__(
        self,
        layout: Layout,
        task_id: str | None = None,
        *,
        max_usd_per_command: float,
        max_usd_per_day: float | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._place = layout.ledger
        self._task_id = task_id
        self._command = new_id()
        self._per_command = max_usd_per_command
        self._per_day = math.inf if max_usd_per_day is None else max_usd_per_day
        self._budget = budget
        self._open: dict[str, _Reservation] = {}
        self._spent = 0
        self._days: dict[str, _Day] = {}
        self._lock = threading.Lock()

    @property
    def spent_usd(self) -> float:
        """What this command has spent, with what it has set aside."""
        return self._spent / NANO

    def reserve(self, most_usd: float, *, purpose: str, model: str) -> str:
        """Set money aside for one call. Raises CapReached; then the call must not be made."""
        most, reservation = nano(most_usd), new_id()
        today = time.strftime("%Y-%m-%d", time.gmtime())
        with self._lock:
            _within("max_cost_usd", self._per_command, self._spent, most, "this command's")
            with self._held(today) as day:
                _within("llm.max_usd_per_day", self._per_day, day.total(), most, "today's")
                if self._budget is not None:
                    spent = day.of(self._task_id, self._budget.purposes)
                    _within(self._budget.key, self._budget.max_usd_per_day, spent, most, "today's")
                line: dict[str, Any] = {
                    "id": reservation,
                    "state": "reserved",
                    "at": utc_now(),
                    "task_id": self._task_id,
                }
                line |= {"command": self._command, "purpose": purpose, "model": model, "most_usd": most / NANO}
                day.append(line)
            self._open[reservation] = _Reservation(today, most)
            self._spent += most
        return reservation

    def settle(self, reservation: str, spent: Spent | None) -> None:
        """Write down what the call took; None: nothing."""
        with self._lock:
            day_name, most = self._open[reservation]
            took = nano(spent.usd) if spent else 0
            line = {
                "id": reservation,
                "state": "spent" if spent else "released",
                "at": utc_now(),
                "usd": took / NANO,
                "prompt_tokens": spent.prompt_tokens if spent else 0,
                "completion_tokens": spent.completion_tokens if spent else 0,
                "seconds": round(spent.seconds, 3) if spent else 0.0,
            }
            with self._held(day_name) as day:
                day.append(line)
            del self._open[reservation]
            self._spent += took - most

    @contextmanager
    def _held(self, name: str) -> Iterator[_Day]:
        """A day's file, up to date, while nobody else writes it."""
        if name not in self._days:
            open_days = {reservation.day for reservation in self._open.values()}
            self._days = {day: kept for day, kept in self._days.items() if day in open_days}
            self._days[name] = _Day(make_dir(self._place) / f"{name}.jsonl")
        with only_one(self._place):
            self._days[name].catch_up()
            yield self._days[name]


def _within(key: str, cap: float, spent: int, most: int, whose: str) -> None:
    """Raises CapReached where `most` more is too much; a cap of 0 allows no call, not even a free one."""
    if cap <= 0:
        raise CapReached(f"no call to a model is allowed: {key} is 0")
    if cap == math.inf:
        return
    limit = math.floor(cap * NANO + 1e-3)
    if spent + most > limit:
        raise CapReached(
            f"{whose} limit of ${cap:g} leaves ${max(0, limit - spent) / NANO:.6g}, "
            f"and the next call may cost ${most / NANO:.6g}",
            hint=f"raise {key}",
        )


def read(layout: Layout, days: Iterable[str] | None = None) -> list[Entry]:
    """The calls of some days (`2025-10-26`), or of all, in order. Raises StorageError."""
    if days is None:
        with storage_errors(layout.ledger):
            days = [path.stem for path in layout.ledger.glob("*.jsonl")]
    calls: dict[str, Entry] = {}
    for name in sorted(days):
        calls.update({after.id: after for _, after in _Tail(layout.ledger / f"{name}.jsonl").news()})
    return list(calls.values())

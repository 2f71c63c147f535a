"""The ledger: every call to a model, what was set aside for it and what it took, a file a UTC day.

A reservation is a line, and so is its settlement. Both are appended under one lock, so that any number of
processes together stay below the day's cap. What a process that died has not settled counts as spent until its
day ends, since nobody knows what the provider charged.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import CapReached, InputError
from loopai_runtime.layout import make_dir, only_one, storage_errors
from loopai_runtime.models import new_id, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from loopai_runtime.layout import Layout
    from loopai_runtime.llm.endpoint import Spent


def nano(usd: float) -> int:
    """US dollars as whole nano-dollars, rounded up, so that sums are exact and never too small."""
    whole = round(usd * 1e9)
    return whole if whole >= usd * 1e9 - 1e-3 else whole + 1


@dataclass(slots=True)
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


@dataclass(slots=True)
class _Day:
    """What has been read of one day's file so far."""

    path: Path
    offset: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)
    total: int = 0  # nano-dollars

    def catch_up(self) -> None:
        """Read what others have appended since."""
        with storage_errors(self.path):
            try:
                with self.path.open("rb") as file:
                    file.seek(self.offset)
                    tail = file.read()
            except FileNotFoundError:
                return
        whole = tail[: tail.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            self.take(line)

    def take(self, line: bytes) -> None:
        try:
            record = jsonl.loads(line)
            entry = self._apply(record)
        except (InputError, KeyError, TypeError, ValueError, AttributeError):
            return  # a line of somebody's editor
        self.entries[entry.id] = entry

    def spent(self, task_id: str | None, purposes: frozenset[str]) -> int:
        """Nano-dollars of one task for some purposes."""
        entries = self.entries.values()
        return sum(nano(one.usd) for one in entries if one.task_id == task_id and one.purpose in purposes)

    def _apply(self, record: dict[str, Any]) -> Entry:
        if record["state"] == "reserved":
            known = {name: record[name] for name in ("id", "at", "task_id", "command", "purpose", "model")}
            entry = Entry(**known, most_usd=float(record["most_usd"]), usd=float(record["most_usd"]))
            self.total += nano(entry.usd)
            return entry
        entry = self.entries[record["id"]]
        self.total -= nano(entry.usd)
        entry.state, entry.usd = record["state"], float(record["usd"])
        entry.prompt_tokens, entry.completion_tokens = record["prompt_tokens"], record["completion_tokens"]
        entry.seconds = record["seconds"]
        self.total += nano(entry.usd)
        return entry


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
        self._budget = budget
        self._layout = layout
        self._task_id = task_id
        self._command = new_id()
        self._per_command = max_usd_per_command
        self._per_day = max_usd_per_day
        self._mine: dict[str, tuple[str, int]] = {}  # reservation -> its day, nano-dollars
        self._spent = 0
        self._days: dict[str, _Day] = {}
        self._lock = threading.Lock()

    @property
    def spent_usd(self) -> float:
        """What this command has spent, with what it has set aside."""
        return self._spent / 1e9

    def reserve(self, most_usd: float, *, purpose: str, model: str) -> str:
        """Set money aside for one call. Raises CapReached; then the call must not be made."""
        most = nano(most_usd)
        with self._lock:
            self._within("max_cost_usd", self._per_command, self._spent, most, "this command's")
            with self._today() as day:
                if self._per_day is not None:
                    self._within("llm.max_usd_per_day", self._per_day, day.total, most, "today's")
                if self._budget is not None:
                    spent = day.spent(self._task_id, self._budget.purposes)
                    self._within(self._budget.key, self._budget.max_usd_per_day, spent, most, "today's")
                reservation = new_id()
                self._append(
                    day,
                    {
                        "id": reservation,
                        "state": "reserved",
                        "at": utc_now(),
                        "task_id": self._task_id,
                        "command": self._command,
                        "purpose": purpose,
                        "model": model,
                        "most_usd": most / 1e9,
                    },
                )
            self._mine[reservation] = (day.path.stem, most)
            self._spent += most
            return reservation

    def settle(self, reservation: str, spent: Spent | None) -> None:
        """Write down what the call took; None: nothing."""
        with self._lock:
            name, most = self._mine.pop(reservation)
            took = nano(spent.usd) if spent else 0
            with self._day(name) as day:
                self._append(
                    day,
                    {
                        "id": reservation,
                        "state": "spent" if spent else "released",
                        "at": utc_now(),
                        "usd": took / 1e9,
                        "prompt_tokens": spent.prompt_tokens if spent else 0,
                        "completion_tokens": spent.completion_tokens if spent else 0,
                        "seconds": round(spent.seconds, 3) if spent else 0.0,
                    },
                )
            self._spent += took - most

    @staticmethod
    def _within(key: str, cap: float, spent: int, most: int, whose: str) -> None:
        if cap == math.inf:
            return
        limit = int(cap * 1e9 + 1e-3)
        if cap <= 0:
            raise CapReached(f"no call to a model is allowed: {key} is 0")
        if spent + most > limit:
            raise CapReached(
                f"{whose} limit of ${cap:g} leaves ${max(0, limit - spent) / 1e9:.6g}, "
                f"and the next call may cost ${most / 1e9:.6g}",
                hint=f"raise {key}",
            )

    def _today(self) -> Any:
        return self._day(time.strftime("%Y-%m-%d", time.gmtime()))

    def _day(self, name: str) -> Any:
        return _locked(self._days.setdefault(name, _Day(self._layout.ledger / f"{name}.jsonl")))

    @staticmethod
    def _append(day: _Day, record: dict[str, Any]) -> None:
        jsonl.append(day.path, [jsonl.compact(record)])
        day.catch_up()


def _locked(day: _Day) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def hold() -> Iterator[_Day]:
        make_dir(day.path.parent)
        with only_one(day.path.parent):
            day.catch_up()
            yield day

    return hold()


def read(layout: Layout, days: Iterable[str] | None = None) -> list[Entry]:
    """The entries of some days (`2025-10-26`), or of all, in order. Raises StorageError."""
    with storage_errors(layout.ledger):
        names = sorted(path.stem for path in layout.ledger.glob("*.jsonl")) if days is None else sorted(days)
    entries: list[Entry] = []
    for name in names:
        day = _Day(layout.ledger / f"{name}.jsonl")
        day.catch_up()
        entries.extend(day.entries.values())
    return entries

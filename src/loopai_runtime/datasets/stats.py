"""Daily statistics: what was counted of a day's executions, brought up to date from where it ended.

`daily-stats-DATE.json` says how many bytes of each part of the raw log it covers, and how many bytes of
`minutes-DATE.jsonl` count. To go on, new minutes take the place of what a crash left behind those bytes, and the
daily file is replaced: whatever moment a crash picks, each record is counted once. The latest minute waits
in the daily file until a later one has come, so that looking often makes no long file; late ones are second lines.

Where a part is not what was counted (somebody replaced or shortened it) the day is counted anew. Raw files that
retention deleted leave their counts.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Self

import orjson

from loopai_runtime import at_rest
from loopai_runtime.datasets import raw, tally
from loopai_runtime.datasets.counts import Group, Groups, Slice
from loopai_runtime.datasets.tally import Tally
from loopai_runtime.errors import StorageError
from loopai_runtime.files import make_dir, only_one, storage_errors
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loopai_runtime.layout import Layout

SCHEMA = 1
ERASED = "(erased)"
_HEAD_BYTES = 256  # of a part, by which it is known again


@dataclass(slots=True)
class Covered:
    """How far a part was counted: bytes of lines, and a digest of the first of them."""

    bytes: int
    head: str


@dataclass(slots=True)
class DayStats:
    """A day of a task. Every count is exact; quantiles are within 1 %."""

    task_id: str
    day: str
    counts: Slice = field(default_factory=Slice)
    damaged: int = 0
    """Lines that are no executions."""
    torn_bytes: int = 0
    """What a crash left of a line at the end of a part that nobody appends to any more."""
    covers: dict[str, Covered] = field(default_factory=dict)
    minutes_bytes: int = 0
    hours: Groups = field(default_factory=dict)
    """By the hour (`09`)."""
    open: dict[str, Slice] = field(default_factory=dict)
    """The minutes that are not in the minutes' file yet."""

    @property
    def bytes_covered(self) -> int:
        return sum(part.bytes for part in self.covers.values())

    def as_bytes(self) -> bytes:
        data = {
            "schema": SCHEMA,
            "task_id": self.task_id,
            "date": self.day,
            "total": self.counts.total().summary(),
            **self.counts.as_dict(),
            "by_hour": {hour: self.hours[hour].as_dict() for hour in sorted(self.hours)},
            "damaged": self.damaged,
            "torn_bytes": self.torn_bytes,
            "covers": {number: [part.bytes, part.head] for number, part in sorted(self.covers.items())},
            "minutes_bytes": self.minutes_bytes,
            "open_minutes": {minute: self.open[minute].as_dict() for minute in sorted(self.open)},
        }
        return orjson.dumps(data) + b"\n"

    @classmethod
    def of_bytes(cls, task_id: str, day: str, content: bytes) -> Self:
        """What `as_bytes` wrote. Raises ValueError for anything else."""
        try:
            data = orjson.loads(content)
            if data["schema"] != SCHEMA:
                raise ValueError("written by another release")
            return cls(
                task_id,
                day,
                Slice.of_dict(data),
                data["damaged"],
                data["torn_bytes"],
                {number: Covered(*part) for number, part in data["covers"].items()},
                data["minutes_bytes"],
                {hour: Group.of_dict(group) for hour, group in data["by_hour"].items()},
                {minute: Slice.of_dict(part) for minute, part in data["open_minutes"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not daily statistics: {error}") from None


def last_days(n: int, today: str | None = None) -> list[str]:
    """Today (UTC) and the `n - 1` days before it, the earliest first."""
    end = date.fromisoformat(today or utc_now()[:10])
    return [(end - timedelta(days=back)).isoformat() for back in range(n - 1, -1, -1)]


def daily(layout: Layout, task_id: str, day: str) -> DayStats:
    """The statistics of a day, brought up to date. Raises StorageError where the raw log cannot be read."""
    return window(layout, task_id, [day])[0]


def window(layout: Layout, task_id: str, days: Iterable[str]) -> list[DayStats]:
    """The statistics of several days, each brought up to date. Raises StorageError as `daily` does."""
    wanted = list(days)
    while True:
        try:
            parts = raw.days(layout, task_id)
            return [_current(layout, task_id, day, parts.get(day, [])) for day in wanted]
        except FileNotFoundError:  # retention has just renamed or removed a part
            continue


def minutes(layout: Layout, task_id: str, day: str) -> dict[str, Slice]:
    """A day's executions by the minute (`10:05`), in order; labels have no latencies there.

    Raises StorageError as `daily` does.
    """
    stats = daily(layout, task_id, day)
    path = layout.minutes(task_id, day)
    found: dict[str, Slice] = {}
    with suppress(FileNotFoundError), only_one(path.parent):
        kept = _read(layout, task_id, day)
        if kept is not None and kept.bytes_covered >= stats.bytes_covered:  # another process may have gone on
            stats = kept
        found = _ended_minutes(layout, stats)
    for minute, waiting in stats.open.items():
        found.setdefault(minute, Slice()).merge(waiting)
    return dict(sorted(found.items()))


def _ended_minutes(layout: Layout, stats: DayStats) -> dict[str, Slice]:
    """What the minutes' file has."""
    found: dict[str, Slice] = {}
    path = layout.minutes(stats.task_id, stats.day)
    with suppress(FileNotFoundError):
        for data in map(tally.read, filter(None, at_rest.read(layout, path)[: stats.minutes_bytes].split(b"\n"))):
            found.setdefault(data["minute"][11:], Slice()).merge(Slice.of_dict(data))
    return found


def _minute_lines(day: str, minutes: Mapping[str, Slice]) -> bytes:
    lines = ({"minute": f"{day}T{minute}", **minutes[minute].as_dict()} for minute in sorted(minutes))
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def forget(layout: Layout, task_id: str, day: str) -> None:
    """Let the day be counted anew when it is next asked for. Raises StorageError."""
    with storage_errors(layout.daily_stats(task_id, day)):
        layout.daily_stats(task_id, day).unlink(missing_ok=True)


def erase_labels(layout: Layout, task_id: str, day: str, is_meant: Callable[[str], bool]) -> int:
    """Count under no name what was counted under the labels that are meant; answers how many labels there were.

    Raises StorageError.
    """
    with suppress(FileNotFoundError), only_one(layout.analytics(task_id)):
        stats = _read(layout, task_id, day)
        meant = {label for label in stats.counts.by_label if is_meant(label)} if stats else set()
        if stats is None or not meant:
            return 0
        by_minute = _ended_minutes(layout, stats)
        for part in (stats.counts, *stats.open.values(), *by_minute.values()):
            for label in meant & part.by_label.keys():
                part.by_label.setdefault(ERASED, Group()).merge(part.by_label.pop(label))
        at_rest.replace(layout, layout.minutes(task_id, day), lines := _minute_lines(day, by_minute))
        stats.minutes_bytes = len(lines)
        at_rest.replace(layout, layout.daily_stats(task_id, day), stats.as_bytes())
        return len(meant)
    return 0


# --- bringing up to date ------------------------------------------------------------------------------------


def _current(layout: Layout, task_id: str, day: str, parts: list[raw.Part]) -> DayStats:
    stats = _read(layout, task_id, day)
    if stats is not None and not _stale(stats, parts):
        return stats
    if stats is None and not parts:
        return DayStats(task_id, day)
    try:
        make_dir(layout.analytics(task_id))
        with only_one(layout.analytics(task_id)):
            return _caught_up(layout, task_id, day, keep=True)
    except StorageError:  # nothing can be kept here (a full disk, a read-only one): it is counted all the same
        return _caught_up(layout, task_id, day, keep=False)


def _caught_up(layout: Layout, task_id: str, day: str, *, keep: bool) -> DayStats:
    parts = raw.days(layout, task_id).get(day, [])
    stats = _read(layout, task_id, day)
    if stats is None or _changed(stats, parts):
        if keep:
            forget(layout, task_id, day)
        stats = DayStats(task_id, day)
    if _count(stats, parts) and keep:
        _store(layout, stats)
    return stats


def _read(layout: Layout, task_id: str, day: str) -> DayStats | None:
    """What is kept of a day; None where there is nothing, or nothing that can be used."""
    path = layout.daily_stats(task_id, day)
    try:
        return DayStats.of_bytes(task_id, day, at_rest.read(layout, path))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _stale(stats: DayStats, parts: list[raw.Part]) -> bool:
    return any(part.size() != _size_when_covered(stats, part) for part in parts)


def _size_when_covered(stats: DayStats, part: raw.Part) -> int:
    covered = stats.covers.get(str(part.number))
    return 0 if covered is None else covered.bytes % raw.GZIP_MODULUS if part.kind == "gzip" else covered.bytes


def _changed(stats: DayStats, parts: list[raw.Part]) -> bool:
    """Whether a part that was counted is another now, or has become shorter."""
    for part in parts:
        covered = stats.covers.get(str(part.number))
        if covered is None or part.size() == _size_when_covered(stats, part):
            continue
        if part.kind != "gzip" and part.size() < covered.bytes:
            return True
        with part.open() as file:
            if _digest(file.read(min(_HEAD_BYTES, covered.bytes))) != covered.head:
                return True
    return False


def _digest(head: bytes) -> str:
    return hashlib.blake2b(head, digest_size=8).hexdigest()


def _count(stats: DayStats, parts: list[raw.Part]) -> bool:
    """Count what `stats` does not cover yet; answers whether there was anything."""
    before = dict(stats.covers)
    counting = Tally(set(stats.counts.by_label))
    for part in parts:
        if part.size() != _size_when_covered(stats, part):
            _count_part(stats, part, counting)
    counting.settle()
    stats.damaged += counting.damaged
    stats.counts.merge(Slice(by_label=counting.labels))
    for minute, new in counting.minutes.items():
        stats.counts.merge(Slice(new.by_version, new.by_arm, {}, new.failures))
        stats.hours.setdefault(minute[:2], Group()).merge(new.total())
        stats.open.setdefault(minute, Slice()).merge(new)
    return stats.covers != before


def _count_part(stats: DayStats, part: raw.Part, counting: Tally) -> None:
    covered = stats.covers.get(str(part.number), Covered(0, ""))
    with part.open() as file:
        head = file.read(_HEAD_BYTES)
        file.seek(covered.bytes)
        end = covered.bytes
        for lines, size in raw.blocks(file):
            if size:
                counting.add(lines)
                end += size
                continue
            torn = lines[0]
            if tally.is_record(torn):  # somebody's editor leaves the last newline out
                counting.add(lines)
            elif part.kind == "live":  # it is being written, or its appender will mend it
                continue
            else:
                stats.torn_bytes += len(torn)
            end += len(torn)
    if end != covered.bytes:
        stats.covers[str(part.number)] = Covered(end, _digest(head[:end]))


def _store(layout: Layout, stats: DayStats) -> None:
    """Append the minutes that have ended, then replace the daily file, which makes them count."""
    is_closed = stats.day < raw.closed_before()
    last = max(stats.open, default="")
    ended = [minute for minute in sorted(stats.open) if is_closed or minute < last]
    path = layout.minutes(stats.task_id, stats.day)
    block = _minute_lines(stats.day, {minute: stats.open[minute] for minute in ended})
    if block:
        before = b""
        with suppress(FileNotFoundError):
            before = at_rest.read(layout, path)[: stats.minutes_bytes]
        at_rest.replace(layout, path, before + block)
        stats.minutes_bytes = len(before) + len(block)
    for minute in ended:
        del stats.open[minute]
    at_rest.replace(layout, layout.daily_stats(stats.task_id, stats.day), stats.as_bytes())

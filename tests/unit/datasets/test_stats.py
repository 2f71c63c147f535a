"""Rollups: what they count equals one pass over the raw log, whatever happened on the way."""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.executions import DAY, execution

from loopai_runtime import jsonl
from loopai_runtime.datasets import raw, stats
from loopai_runtime.datasets.counts import Group
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.datasets.tally import MAX_LABELS, OTHER
from loopai_runtime.errors import StorageError
from loopai_runtime.layout import Layout
from loopai_runtime.models import utc_now


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def log(layout: Layout, *records: dict[str, Any]) -> None:
    ExecutionLog(layout).append(records)


def varied(n: int, seed: int = 1, **changes: Any) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [execution(i, rng=rng, **changes) for i in range(n)]


def check_counts(day: stats.DayStats, records: list[dict[str, Any]]) -> None:
    """One naive pass over the records, against what was rolled up."""
    total = day.counts.total()
    assert total.count == len(records)
    statuses = Counter(record["status"] for record in records)
    assert (total.errors, total.timeouts) == (statuses["error"], statuses["timeout"])
    assert total.abstained == sum(record.get("abstained", False) for record in records)
    assert total.sampled == sum(record["sampled"] for record in records)
    assert total.sources == Counter(record["source"] for record in records)
    assert {k: g.count for k, g in day.counts.by_version.items()} == Counter(str(r["version"]) for r in records)
    assert {k: g.count for k, g in day.counts.by_arm.items()} == Counter(r["arm"] for r in records if "arm" in r)
    assert day.counts.failures == Counter(r["error"]["type"] for r in records if "error" in r)
    bins = Counter(min(19, int(r["confidence"] * 20)) for r in records if "confidence" in r)
    assert total.confidence == [bins[i] for i in range(20)]
    assert {h: g.count for h, g in day.hours.items()} == Counter(r["timestamp"][11:13] for r in records)
    check_quantiles(total, records)
    for version, group in day.counts.by_version.items():
        check_quantiles(group, [r for r in records if str(r["version"]) == version])


def check_quantiles(group: Group, records: list[dict[str, Any]]) -> None:
    latencies = sorted(record["latency_ms"] for record in records)
    for share in (0.5, 0.95, 0.99):
        right, found = latencies[math.floor(share * (len(latencies) - 1))], group.latency.quantile(share)
        assert found == pytest.approx(right, rel=0.01)


def test_a_day_equals_one_pass_over_its_log(layout: Layout) -> None:
    records = varied(5000)
    log(layout, *records)
    check_counts(stats.daily(layout, "spam", DAY), records)
    check_counts(stats.daily(layout, "spam", DAY), records)


def test_labels_are_named_by_what_was_answered(layout: Layout) -> None:
    answers = ["spam", "spam", True, 7, {"a": 1}, ["x"], "x" * 65]
    log(layout, *(execution(status="success", output=answer, abstained=False) for answer in answers))
    log(layout, execution(status="success", output=None, abstained=True))
    found = {label: group.count for label, group in stats.daily(layout, "spam", DAY).counts.by_label.items()}
    assert found == {
        "spam": 2,
        "true": 1,
        "7": 1,
        "(object)": 1,
        "(list)": 1,
        "(long text)": 1,
        "(abstained)": 1,
    }


def test_labels_without_end_are_counted_together(layout: Layout) -> None:
    records = [execution(status="success", output=f"text {n}", abstained=False) for n in range(MAX_LABELS + 40)]
    log(layout, *records[:90])
    stats.daily(layout, "spam", DAY)
    log(layout, *records[90:])
    labels = stats.daily(layout, "spam", DAY).counts.by_label
    assert labels[OTHER].count == 40
    assert len(labels) == MAX_LABELS + 1


def test_growing_bit_by_bit_gives_the_same_as_at_once(tmp_path: Path) -> None:
    records = varied(600)
    bit_by_bit, at_once = Layout(tmp_path / "a"), Layout(tmp_path / "b")
    rng = random.Random(3)
    left = list(records)
    while left:
        n = rng.randrange(1, 60)
        log(bit_by_bit, *left[:n])
        left = left[n:]
        stats.daily(bit_by_bit, "spam", DAY)
    log(at_once, *records)
    one, other = stats.daily(bit_by_bit, "spam", DAY), stats.daily(at_once, "spam", DAY)
    assert (one.counts, one.hours) == (other.counts, other.hours)
    assert stats.minutes(bit_by_bit, "spam", DAY) == stats.minutes(at_once, "spam", DAY)
    check_counts(one, records)


def test_minutes_add_up_to_the_day(layout: Layout) -> None:
    records = varied(2000)
    log(layout, *records)
    minutes = stats.minutes(layout, "spam", DAY)
    found = {minute: part.total().count for minute, part in minutes.items()}
    assert found == Counter(record["timestamp"][11:16] for record in records)
    lines = layout.minutes("spam", DAY).read_bytes().splitlines()
    assert {json.loads(line)["minute"] for line in lines} == {f"{DAY}T{minute}" for minute in found}


def test_looking_often_makes_no_long_file(layout: Layout) -> None:
    day = utc_now()[:10]
    for n in range(50):
        log(layout, execution(n, timestamp=f"{day}T00:00:01Z"))
        stats.daily(layout, "spam", day)
    assert not layout.minutes("spam", day).exists()
    assert stats.minutes(layout, "spam", day)["00:00"].total().count == 50


def test_a_late_record_lands_in_its_own_day(layout: Layout) -> None:
    log(layout, execution(day="2026-03-05"))
    assert [day.counts.total().count for day in stats.window(layout, "spam", [DAY, "2026-03-05"])] == [0, 1]
    log(layout, execution(day=DAY), execution(day="2026-03-05"))
    assert [day.counts.total().count for day in stats.window(layout, "spam", [DAY, "2026-03-05"])] == [1, 2]


def test_a_line_that_is_being_written_counts_when_it_is_whole(layout: Layout) -> None:
    log(layout, execution())
    path = layout.executions("spam", DAY)
    line = jsonl.compact(execution()) + b"\n"
    with path.open("ab") as file:
        file.write(line[:100])
        file.flush()
        assert stats.daily(layout, "spam", DAY).counts.total().count == 1
        file.write(line[100:-1])
        file.flush()
        assert stats.daily(layout, "spam", DAY).counts.total().count == 2
        file.write(b"\n")
    found = stats.daily(layout, "spam", DAY)
    assert (found.counts.total().count, found.damaged) == (2, 0)


def test_a_torn_tail_is_cut_off_by_the_next_record_and_never_counts(layout: Layout) -> None:
    log(layout, execution())
    with layout.executions("spam", DAY).open("ab") as file:
        file.write(jsonl.compact(execution())[:70])
    stats.daily(layout, "spam", DAY)
    log(layout, execution())
    found = stats.daily(layout, "spam", DAY)
    assert (found.counts.total().count, found.damaged) == (2, 0)


def test_a_torn_tail_of_a_sealed_part_is_counted_as_torn(layout: Layout) -> None:
    path = layout.executions("spam", DAY)
    path.parent.mkdir(parents=True)
    path.with_name(f"{DAY}.jsonl.gz").write_bytes(gzip.compress(jsonl.compact(execution()) + b'\n{"schema":1,"ex'))
    found = stats.daily(layout, "spam", DAY)
    assert (found.counts.total().count, found.torn_bytes) == (1, 15)
    assert stats.daily(layout, "spam", DAY).torn_bytes == 15


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x00\x00",
        b"[]",
        b"3",
        b"null",
        b'{"status": "success"}',
        b'{"version": [], "status": "success", "timestamp": "x", "latency_ms": 1, "output": 1}',
        b'{"version": 1, "status": "success", "timestamp": 5, "latency_ms": 1, "output": 1}',
        b'{"version": 1, "status": "success", "timestamp": "2026", "latency_ms": "fast", "output": 1}',
        b'{"version": 1, "status": {}, "timestamp": "2026", "latency_ms": 1, "output": 1}',
    ],
)
def test_a_line_that_is_no_execution_is_counted_as_damaged(layout: Layout, line: bytes) -> None:
    log(layout, execution())
    with layout.executions("spam", DAY).open("ab") as file:
        file.write(line + b"\n")
    log(layout, execution())
    found = stats.daily(layout, "spam", DAY)
    assert (found.counts.total().count, found.damaged) == (2, 1)


def test_a_file_that_was_replaced_is_counted_anew(layout: Layout) -> None:
    log(layout, *varied(50))
    assert stats.daily(layout, "spam", DAY).counts.total().count == 50
    layout.executions("spam", DAY).unlink()
    after = varied(60, seed=2)
    log(layout, *after)
    check_counts(stats.daily(layout, "spam", DAY), after)
    assert sum(part.total().count for part in stats.minutes(layout, "spam", DAY).values()) == 60


def test_a_file_that_became_shorter_is_counted_anew(layout: Layout) -> None:
    log(layout, *varied(50))
    stats.daily(layout, "spam", DAY)
    path = layout.executions("spam", DAY)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:20]))
    assert stats.daily(layout, "spam", DAY).counts.total().count == 20


def test_counts_stay_when_the_raw_log_is_gone(layout: Layout) -> None:
    records = varied(100)
    log(layout, *records)
    stats.daily(layout, "spam", DAY)
    layout.executions("spam", DAY).unlink()
    check_counts(stats.daily(layout, "spam", DAY), records)


def test_damaged_statistics_are_made_again(layout: Layout) -> None:
    records = varied(100)
    log(layout, *records)
    stats.daily(layout, "spam", DAY)
    for content in (b"", b"{", b"{}", b"[]", b'{"schema": 99}', b"\xff"):
        layout.daily_stats("spam", DAY).write_bytes(content)
        check_counts(stats.daily(layout, "spam", DAY), records)


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS])
def test_where_nothing_can_be_written_it_is_counted_all_the_same(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    records = varied(200)
    log(layout, *records[:100])
    stats.daily(layout, "spam", DAY)
    log(layout, *records[100:])

    def refused(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refused)
        check_counts(stats.daily(layout, "spam", DAY), records)
        assert sum(part.total().count for part in stats.minutes(layout, "spam", DAY).values()) == 200
    check_counts(stats.daily(layout, "spam", DAY), records)
    assert sum(part.total().count for part in stats.minutes(layout, "spam", DAY).values()) == 200


def test_a_damaged_gzip_is_a_clear_error(layout: Layout) -> None:
    path = layout.executions("spam", DAY)
    path.parent.mkdir(parents=True)
    whole = gzip.compress(jsonl.compact(execution()) * 50)
    path.with_name(f"{DAY}.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match="is damaged"):
        stats.daily(layout, "spam", DAY)


def test_parts_keep_their_numbers_when_they_are_sealed_and_compressed(layout: Layout) -> None:
    place = layout.executions("spam")
    place.mkdir(parents=True)
    names = [f"{DAY}.jsonl", f"{DAY}.01.jsonl", f"{DAY}.jsonl.gz", f"{DAY}.00.jsonl", ".tmp-x", "notes.txt"]
    for name in names:
        (place / name).write_bytes(b"")
    parts = raw.days(layout, "spam")[DAY]
    assert [(part.number, part.kind, part.path.name) for part in parts] == [
        (0, "gzip", f"{DAY}.jsonl.gz"),
        (1, "sealed", f"{DAY}.01.jsonl"),
        (2, "live", f"{DAY}.jsonl"),
    ]
    assert raw.sealed_path(parts[2]).name == f"{DAY}.02.jsonl"
    assert raw.packed_path(parts[1]).name == f"{DAY}.01.jsonl.gz"


def test_a_day_is_closed_an_hour_after_its_end() -> None:
    midnight = 1_772_582_400.0  # 2026-03-04T00:00:00Z
    assert raw.closed_before(midnight + 3599) == "2026-03-03"
    assert raw.closed_before(midnight + 3600) == "2026-03-04"


def test_the_last_days_end_today() -> None:
    assert stats.last_days(3, "2026-03-01") == ["2026-02-27", "2026-02-28", "2026-03-01"]

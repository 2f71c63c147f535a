"""Retention: what is due is done, what is not is left alone, and no record is lost or there twice."""

from __future__ import annotations

import calendar
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from tests.executions import execution

from loopai_runtime import jsonl
from loopai_runtime.config import Config
from loopai_runtime.datasets import raw, retention, shadow, shadow_labels, stats
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.files import make_dir
from loopai_runtime.layout import Layout

NOON = float(calendar.timegm((2026, 3, 10, 12, 0, 0)))
TODAY = "2026-03-10"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def log(layout: Layout, day: str, n: int = 20) -> list[str]:
    records = [execution(i, day=day) for i in range(n)]
    ExecutionLog(layout).append(records)
    return [record["execution_id"] for record in records]


def settings(**keys: Any) -> Config:
    return Config.load(flags={name.replace("__", "."): value for name, value in keys.items()}, environ={})


def keep(layout: Layout, config: Config | None = None, now: float = NOON, **options: Any) -> list[retention.Step]:
    return list(retention.keep(layout, config or settings(), now=now, **options))


def names(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.executions("spam").iterdir())


def ids(layout: Layout) -> list[str]:
    found = []
    for parts in raw.days(layout, "spam").values():
        for part in parts:
            with part.open() as file:
                found += [json.loads(line.raw)["execution_id"] for line in jsonl.lines(file)]
    return found


def test_yesterday_is_compressed_and_today_is_not(layout: Layout) -> None:
    logged = log(layout, "2026-03-09") + log(layout, TODAY)
    steps = keep(layout)
    assert [(step.action, step.path.name) for step in steps] == [("compress", "2026-03-09.jsonl")]
    assert names(layout) == ["2026-03-09.jsonl.gz", f"{TODAY}.jsonl"]
    assert sorted(ids(layout)) == sorted(logged)
    assert gzip.decompress((layout.executions("spam") / "2026-03-09.jsonl.gz").read_bytes()).count(b"\n") == 20
    assert keep(layout) == []


def test_a_day_is_left_alone_for_an_hour_after_its_end(layout: Layout) -> None:
    log(layout, "2026-03-09")
    midnight = float(calendar.timegm((2026, 3, 10, 0, 0, 0)))
    assert keep(layout, now=midnight + 3599) == []
    assert len(keep(layout, now=midnight + 3600)) == 1


@pytest.mark.parametrize("after", [0, 1, 3])
def test_days_until_compression_are_counted_from_the_day(layout: Layout, after: int) -> None:
    for day in range(5, 11):
        log(layout, f"2026-03-{day:02}", 1)
    keep(layout, settings(retention__executions__compress_after=after))
    packed = [name for name in names(layout) if name.endswith(".gz")]
    assert packed == [f"2026-03-{day:02}.jsonl.gz" for day in range(5, min(10, 11 - after))]


def test_a_late_record_is_compressed_into_a_file_of_its_own(layout: Layout) -> None:
    logged = log(layout, "2026-03-08")
    keep(layout)
    logged += log(layout, "2026-03-08", 3)
    keep(layout)
    logged += log(layout, "2026-03-08", 2)
    assert names(layout) == ["2026-03-08.01.jsonl.gz", "2026-03-08.jsonl", "2026-03-08.jsonl.gz"]
    assert sorted(ids(layout)) == sorted(logged)
    assert stats.daily(layout, "spam", "2026-03-08").counts.total().count == 25


def test_compression_changes_no_statistics(layout: Layout) -> None:
    log(layout, "2026-03-09", 300)
    before = stats.daily(layout, "spam", "2026-03-09").counts
    keep(layout)
    assert stats.daily(layout, "spam", "2026-03-09").counts == before
    stats.forget(layout, "spam", "2026-03-09")
    assert stats.daily(layout, "spam", "2026-03-09").counts == before


def test_raw_executions_are_deleted_and_their_counts_stay(layout: Layout) -> None:
    for day in ("2026-03-02", "2026-03-03", TODAY):
        log(layout, day)
    keep(layout, settings(retention__executions__compress_after=30))
    assert names(layout) == ["2026-03-03.jsonl", f"{TODAY}.jsonl"]
    log(layout, "2026-03-02")
    stats.daily(layout, "spam", "2026-03-02")
    keep(layout)
    assert stats.daily(layout, "spam", "2026-03-02").counts.total().count == 20


def test_other_kinds_have_their_own_ages(layout: Layout) -> None:
    def put(path: Path) -> Path:
        make_dir(path.parent)
        path.write_bytes(b"{}\n")
        return path

    old = [
        put(layout.validations("spam", "2026-02-07")),
        put(layout.daily_stats("spam", "2026-01-28")),
        put(layout.minutes("spam", "2026-01-28")),
        put(layout.root / "ledger" / "2026-01-28.jsonl"),
        put(layout.root / "cache" / "llm" / "ab" / "cd"),
    ]
    os.utime(old[-1], (NOON - 41 * 86_400,) * 2)
    young = [
        put(layout.validations("spam", "2026-02-08")),
        put(layout.daily_stats("spam", "2026-01-29")),
        put(layout.root / "ledger" / "2026-01-29.jsonl"),
        put(layout.root / "cache" / "llm" / "ab" / "ef"),
        put(layout.examples("spam")),
        put(layout.queue("spam")),
        put(layout.validations("spam").with_name("oracle-audit.json")),
    ]
    os.utime(young[3], (time.time(),) * 2)
    config = settings(retention__validations__keep_days=30, storage__retention_days=40)
    assert sorted(step.path for step in keep(layout, config)) == sorted(old)
    assert [path for path in old if path.exists()] == []
    assert [path for path in young if not path.exists()] == []


def test_too_much_goes_oldest_raw_day_first_and_never_today(layout: Layout) -> None:
    for day in ("2026-03-06", "2026-03-07", "2026-03-08", TODAY):
        log(layout, day, 100)
    size = layout.executions("spam", "2026-03-07").stat().st_size
    config = settings(storage__max_size_gb=2.6 * size / 1e9, retention__executions__compress_after=30)
    steps = keep(layout, config)
    assert [step.path.name for step in steps] == ["2026-03-06.jsonl", "2026-03-07.jsonl"]
    keep(layout, settings(storage__max_size_gb=1e-9))
    assert names(layout) == [f"{TODAY}.jsonl"]


def test_a_dry_run_says_what_a_run_does_and_does_nothing(layout: Layout) -> None:
    for day in ("2026-03-01", "2026-03-08", TODAY):
        log(layout, day)
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    dry = keep(layout, dry_run=True)
    assert {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()} == before
    assert [(step.action, step.path) for step in dry] == [(step.action, step.path) for step in keep(layout)]


def test_a_full_disk_stops_compression_alone(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    old, logged = log(layout, "2026-03-01"), log(layout, "2026-03-08")
    real = gzip.GzipFile.write

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    steps = keep(layout)
    assert [(step.action, bool(step.trouble)) for step in steps] == [("delete", False), ("compress", True)]
    assert sorted(ids(layout)) == sorted(logged)
    assert not set(old) & set(ids(layout))
    monkeypatch.setattr(gzip.GzipFile, "write", real)
    assert [step.trouble for step in keep(layout)] == [None]
    assert names(layout) == ["2026-03-08.jsonl.gz"]
    assert sorted(ids(layout)) == sorted(logged)


def test_what_a_killed_run_left_is_taken_up(layout: Layout) -> None:
    logged = log(layout, "2026-03-08")
    place = layout.executions("spam")
    content = (place / "2026-03-08.jsonl").read_bytes()
    (place / "2026-03-08.jsonl").rename(place / "2026-03-08.00.jsonl")
    (place / "2026-03-08.jsonl.gz").write_bytes(gzip.compress(content))
    (place / ".tmp-2026-03-08.jsonl.gz-1-aa").write_bytes(b"half")
    logged += log(layout, "2026-03-08", 2)
    assert sorted(ids(layout)) == sorted(logged)
    keep(layout)
    assert names(layout) == ["2026-03-08.01.jsonl.gz", "2026-03-08.jsonl.gz"]
    assert sorted(ids(layout)) == sorted(logged)


def test_names_that_are_no_days_are_left_alone(layout: Layout) -> None:
    place = make_dir(layout.executions("spam"))
    for name in ("2026-13-45.jsonl", "2026-03-01.jsonl.bak", "notes.txt", "2026-03-01.json"):
        (place / name).write_bytes(b"x")
    assert keep(layout) == []


def test_what_rollouts_saw_is_kept_as_long_as_validations(layout: Layout) -> None:
    pair = ("e", f"{TODAY}T00:00:00Z", {"text": "x"}, "incumbent", {}, {})
    for day in ("2026-01-01", TODAY):
        shadow.append(layout, "spam", "r-1", [shadow.Pair(*pair)._replace(timestamp=f"{day}T00:00:00Z")])
    for rollout_id, at in (("old", NOON), ("new", time.time())):
        shadow_labels.append(layout, "spam", rollout_id, [shadow_labels.Said("e", 1, "x", TODAY)])
        os.utime(shadow_labels.file_of(layout, "spam", rollout_id), (at, at))
    keep(layout)
    assert sorted(path.name for path in layout.shadow("spam").iterdir()) == [f"{TODAY}.jsonl", "labels-new.jsonl"]

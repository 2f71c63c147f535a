"""Old records go, and nothing that was counted changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update
from tests.unit.central.test_collector import BOOT, batch, record, stats

from loopai_runtime.central import collector, reported, retention
from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.tables import telemetry_batches, telemetry_records

LATER = "00000002-0123abcd"


def grow_old(db: Database, days: float, last_seq: int) -> None:
    """As if the first records of a boot, and all batches, had come so many days ago."""
    at = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    its = telemetry_records.c
    with db.write() as connection:
        first = update(telemetry_records).where(its.boot == BOOT, its.seq <= last_seq)
        connection.execute(first.values(received_at=at))
        connection.execute(update(telemetry_batches).values(received_at=at))


def numbers(db: Database, tenant_id: str = "one") -> list[tuple[str, int]]:
    its = telemetry_records.c
    with db.read() as connection:
        found = select(its.boot, its.seq).where(its.tenant_id == tenant_id).order_by(its.boot, its.seq)
        return [tuple(row) for row in connection.execute(found)]


def test_what_is_old_goes_and_is_not_counted_again_when_it_comes_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_AT_ONCE", 7)
    first = batch(*(stats(seq, 10) for seq in range(1, 31)))
    collector.collect(db, "one", first, key="a", sha256="x")
    collector.collect(db, "one", batch(*(stats(seq, 10) for seq in range(31, 41))), key="b", sha256="y")
    collector.collect(db, "one", batch(record(1, "started", LATER, previous=[BOOT, 40])))
    collector.collect(db, "two", batch(stats(1, 10)))
    before = reported.metrics(db, "one", "spam", 7), reported.reporting(db, "one", "edge-1")
    grow_old(db, 29, 30)
    assert retention.forget(db, 30) == 0
    grow_old(db, 31, 30)
    assert retention.forget(db, 30) == 31  # the other tenant's too
    assert numbers(db) == [*((BOOT, seq) for seq in range(31, 41)), (LATER, 1)]
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(telemetry_batches)) == 0
    again = collector.collect(db, "one", first, key="a", sha256="x")
    assert (again.accepted, again.duplicates) == (0, 30)
    mixed = collector.collect(db, "one", batch(*(stats(seq, 10) for seq in range(25, 45))))
    assert (mixed.accepted, mixed.duplicates) == (4, 16)
    metrics, reporting = reported.metrics(db, "one", "spam", 7), reported.reporting(db, "one", "edge-1")
    assert before[0]["total"]["count"] == 400
    assert metrics["total"]["count"] == 440
    assert (reporting["received"], reporting["missing"]) == (before[1]["received"] + 4, 0)


def test_the_last_word_on_what_was_lost_stays(db: Database) -> None:
    told = [record(seq, "dropped", totals={"quota": seq}) for seq in (2, 5)]
    collector.collect(db, "one", batch(record(1), told[0], record(3), record(4), told[1], record(6)))
    grow_old(db, 40, 6)
    assert retention.forget(db, 30) == 6
    assert numbers(db) == [(BOOT, 5)]
    assert reported.reporting(db, "one", "edge-1")["dropped"] == {"quota": 5}
    collector.collect(db, "one", batch(record(7, "dropped", totals={"quota": 9})))
    assert retention.forget(db, 30) == 0
    assert reported.reporting(db, "one", "edge-1")["dropped"] == {"quota": 9}


def test_who_has_to_stop_goes_on_the_next_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_AT_ONCE", 4)
    collector.collect(db, "one", batch(*(record(seq) for seq in range(1, 21))), key="a", sha256="x")
    grow_old(db, 31, 20)
    asked = iter([False, False, True, True, True, True])
    assert retention.forget(db, 30, lambda: next(asked)) == 8
    assert numbers(db)[0] == (BOOT, 9)
    assert retention.forget(db, 30) == 12
    assert numbers(db) == []

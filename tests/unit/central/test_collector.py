"""Telemetry on the platform: once each, in one transaction with what counts it."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.executions import execution

from loopai_runtime import jsonl
from loopai_runtime.central import collector, reported
from loopai_runtime.central.db.database import Database
from loopai_runtime.datasets.tally import Tally
from loopai_runtime.errors import InputError, LoopaiError, NotFound, UsageError
from loopai_runtime.models import TelemetryBatch

BOOT = "00000001-0123abcd"
NOW = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(seq: int, kind: str = "execution", boot: str = BOOT, **data: Any) -> dict[str, Any]:
    return {
        "boot": boot,
        "seq": seq,
        "kind": kind,
        "task_id": "spam",
        "version": 2,
        "at": NOW,
        "data": data,
    }


def stats(seq: int, n: int) -> dict[str, Any]:
    counting = Tally(set())
    counting.add([jsonl.encode(execution(i, version=2, status="success")) for i in range(n)])
    counting.settle()
    total = next(iter(counting.minutes.values()))
    for part in list(counting.minutes.values())[1:]:
        total.merge(part)
    return record(seq, "stats", **total.as_dict())


def batch(*records: dict[str, Any], deployment: str = "edge-1") -> TelemetryBatch:
    return collector.parse(jsonl.compact({"schema": 1, "deployment_id": deployment, "records": list(records)}))


def test_a_record_counts_once_however_it_is_repeated(db: Database) -> None:
    records = [stats(1, 100), *(record(seq) for seq in range(2, 50))]
    first = collector.collect(db, "one", batch(*records[:30]), key="a", sha256="x")
    assert (first.accepted, first.duplicates) == (30, 0)
    again = collector.collect(db, "one", batch(*records[:30]), key="a", sha256="x")
    assert (again.accepted, again.duplicates) == (0, 30)
    rebatched = collector.collect(db, "one", batch(*records[10:], *records[:5], records[2]), key="b", sha256="y")
    assert (rebatched.accepted, rebatched.duplicates) == (19, 26)
    found = reported.metrics(db, "one", "spam", 7)
    assert found["total"]["count"] == found["deployments"]["edge-1"]["by_version"]["2"]["count"] == 100
    assert reported.reporting(db, "one", "edge-1")["received"] == 49
    with pytest.raises(InputError, match="another batch"):
        collector.collect(db, "one", batch(record(99)), key="a", sha256="other")


def test_what_is_missing_shows_until_it_comes(db: Database) -> None:
    collector.collect(db, "one", batch(record(2), record(5)))
    assert reported.reporting(db, "one", "edge-1")["missing"] == 3
    collector.collect(db, "one", batch(record(1), record(3), record(4)))
    assert reported.reporting(db, "one", "edge-1")["missing"] == 0
    later = "00000002-0123abcd"
    collector.collect(db, "one", batch(record(1, "started", later, previous=[BOOT, 7])))
    collector.collect(db, "one", batch(record(2, "dropped", later, totals={"quota": 2})))
    shown = reported.reporting(db, "one", "edge-1")
    assert (shown["missing"], shown["dropped"]) == (2, {"quota": 2})
    assert [boot["boot"] for boot in shown["boots"]] == [BOOT, later]


def test_tenants_and_deployments_are_apart(db: Database) -> None:
    collector.collect(db, "one", batch(stats(1, 10)), key="k", sha256="x")
    collector.collect(db, "two", batch(stats(1, 20)), key="k", sha256="x")
    collector.collect(db, "two", batch(stats(1, 5), deployment="edge-2"), key="k", sha256="x")
    assert reported.metrics(db, "one", "spam", 7)["total"]["count"] == 10
    two = reported.metrics(db, "two", "spam", 7)
    assert {name: each["count"] for name, each in two["deployments"].items()} == {"edge-1": 20, "edge-2": 5}
    with pytest.raises(NotFound):
        reported.reporting(db, "one", "edge-2")
    with pytest.raises(NotFound):
        reported.metrics(db, "one", "other", 7)


def test_latencies_merge_and_accuracy_is_weighted(db: Database) -> None:
    collector.collect(db, "one", batch(stats(1, 400)))
    collector.collect(db, "one", batch(stats(1, 400), deployment="edge-2"))
    total = reported.metrics(db, "one", "spam", 7)["total"]
    own = sorted(execution(i, version=2, status="success")["latency_ms"] for i in range(400))
    assert total["p50_ms"] == pytest.approx(own[199], rel=0.02)
    checked = [record(seq, "validation", match=True, pi=0.05) for seq in range(2, 82)]
    checked += [record(seq, "failure", match=False, pi=0.5) for seq in range(82, 102)]
    collector.collect(db, "one", batch(*checked))
    accuracy = reported.metrics(db, "one", "spam", 7)["total"]["accuracy"]
    assert accuracy["n"] == 100
    assert accuracy["value"] == pytest.approx(80 * 20 / (80 * 20 + 20 * 2), abs=1e-4)
    assert 0.9 < accuracy["low"] < accuracy["value"] < accuracy["high"] <= 1


def test_failures_are_told_with_their_input(db: Database) -> None:
    ran = record(1, execution_id="a1", input={"text": "[EMAIL]"}, input_hash="hmac:1", output="ham")
    wrong = record(2, "failure", execution_id="a1", match=False, output="ham", oracle_output="spam")
    strict = record(3, "failure", execution_id="a2", match=False, output_hash="hmac:2")
    collector.collect(db, "one", batch(ran, wrong, strict))
    found = {each["execution_id"]: each for each in reported.failures(db, "one", "spam")}
    assert found["a1"]["input"] == {"text": "[EMAIL]"}
    assert found["a1"]["oracle_output"] == "spam"
    assert "input" not in found["a2"]
    assert list(reported.failures(db, "two", "spam")) == []


def test_a_clock_that_is_wrong_shows(db: Database) -> None:
    for seq in range(1, 4):
        ahead = (datetime.now(UTC) + timedelta(seconds=90)).isoformat()
        collector.collect(db, "one", batch(record(seq)), sent_at=ahead)
    assert reported.reporting(db, "one", "edge-1")["clock_skew_ms"] == pytest.approx(90_000, abs=2000)
    for odd in ("yesterday", "", "2026-01-01", "9" * 50):
        collector.collect(db, "one", batch(record(9)), sent_at=odd)
    assert reported.reporting(db, "one", "edge-1")["clock_skew_ms"] == pytest.approx(90_000, abs=2000)


def test_the_same_batch_at_the_same_time_is_kept_once(db: Database) -> None:
    sent = batch(stats(1, 50), *(record(seq) for seq in range(2, 200)))
    done: list[collector.Collected] = []

    def send(n: int) -> None:
        done.append(collector.collect(db, "one", sent, key=f"k{n % 2}", sha256="x"))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.accepted for each in done) == 199
    assert sum(each.duplicates for each in done) == 5 * 199
    assert reported.metrics(db, "one", "spam", 7)["total"]["count"] == 50


@pytest.mark.parametrize(
    "data",
    [
        {"by_version": {"2": {"count": -1}}},
        {"by_version": {"2": {"count": 1e99}}},
        {"by_version": {"2": {"count": 1, "latency_ms": [0.1, 0.2, 10**9, 1]}}},
        {"by_version": {"2": {"count": 1, "latency_ms": [0.1, 0.2, 1]}}},
        {"by_version": {"2": {"count": 1, "latency_ms": [0.1, 0.2, 1, 0.5]}}},
        {"by_version": {"2": {"confidence": [1] * 7}}},
        {"by_version": {"'; DROP TABLE tenants; --": {"count": 1}}},
        {"by_version": "many"},
        {"by_label": {"x" * 1000: {"count": 1}}},
        {"surprise": 1},
    ],
)
def test_counts_that_cannot_be_refuse_the_batch_and_keep_nothing(db: Database, data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"\$\.records\[1\]\.data"):
        collector.collect(db, "one", batch(record(1), record(2, "stats", **data)))
    with pytest.raises(NotFound):
        reported.reporting(db, "one", "edge-1")


def test_whatever_is_sent_is_kept_or_refused(db: Database) -> None:
    rng = random.Random(3)
    odd: list[Any] = [
        None,
        True,
        -1,
        2**80,
        1e300,
        "",
        "\u0000",
        "'; DROP TABLE tenants; --",
        "x" * 3000,
        [],
        {},
        [[[]]],
    ]
    kept, refused = 0, list[int]()
    for seq in range(1, 150):
        one = record(seq, rng.choice(["stats", "execution", "failure", "started", "dropped", "rollout"]))
        names = [
            *one,
            "data.match",
            "data.pi",
            "data.previous",
            "data.execution_id",
            "data.by_version",
            "data.totals",
        ]
        for name in rng.sample(names, 2):
            place = one["data"] if name.startswith("data.") and isinstance(one.get("data"), dict) else one
            place[name.removeprefix("data.")] = rng.choice(odd)
        try:
            kept += collector.collect(db, "one", batch(one)).accepted
            reported.reporting(db, "one", "edge-1")
        except LoopaiError as error:
            refused.append(error.http_status)
    assert kept > 10
    assert max(refused) < 500
    deep = b'{"schema":1,"deployment_id":"e","records":[%s]}' % (b"[" * 5000 + b"]" * 5000)
    with pytest.raises((InputError, UsageError)):
        collector.parse(deep)

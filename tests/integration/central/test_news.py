"""The hub of the real platform, listened to by the official client: who hears what, and who does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.central.conftest import PlatformProcess
from tests.integration.central.listening import Listener
from tests.integration.central.test_execution import second_tenant
from tests.integration.signalr.conftest import Node
from tests.integration.signalr.test_official_client import WAYS
from tests.integration.signalr.wire import Wire
from tests.integration.test_server import SPAM

METRICS = {
    "task_id": "spam",
    "version": 1,
    "count": 10,
    "errors": 1,
    "p50_ms": 0.1,
    "p99_ms": 0.9,
    "accuracy": 0.97,
}


@pytest.fixture(scope="module")
def platform(platform_process: PlatformProcess) -> PlatformProcess:
    platform_process.upload("spam", SPAM)
    platform_process.upload("other", SPAM)
    return platform_process


def ready(listener: Listener) -> list[list[Any]]:
    return listener.until("ready")


def program(platform: PlatformProcess) -> str:
    """One that was not there before."""
    return f"def run(x):\n    return '{time.monotonic_ns()}'\n"


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("transport", "protocol"),
    [way if way == WAYS[0] else pytest.param(*way, marks=pytest.mark.slow) for way in WAYS],
)
def test_a_subscriber_hears_of_an_upload_and_nobody_else_does(
    platform: PlatformProcess, node: Node, transport: str, protocol: str
) -> None:
    _, key = platform.key("read")
    way = {"transport": transport, "protocol": protocol}
    with (
        Listener(node, platform.url, key, "spam", **way) as one,
        Listener(node, platform.url, key, "other", **way) as two,
        Listener(node, platform.url, second_tenant(platform), "spam", **way) as three,
    ):
        assert ready(one) == [["SubscribeTask", None], ["ready"]]
        ready(two)
        assert ready(three)[0][:2] == ["SubscribeTask", "refused"]
        version = platform.upload("spam", program(platform))
        assert one.next() == ["OnNewArtifactAvailable", "spam", version]
        assert one.call("UnsubscribeTask", "spam") == ["UnsubscribeTask", None]
        platform.upload("spam", program(platform))
        assert one.heard() == []
        assert two.heard() == []
        assert three.heard() == []


@pytest.mark.parametrize(
    ("transport", "protocol"),
    [way if way == WAYS[0] else pytest.param(*way, marks=pytest.mark.slow) for way in WAYS],
)
def test_a_revoked_key_ends_what_it_opened(
    platform: PlatformProcess, node: Node, transport: str, protocol: str
) -> None:
    key_id, key = platform.key("read")
    _, stays = platform.key("read")
    way = {"transport": transport, "protocol": protocol}
    with (
        Listener(node, platform.url, key, "spam", **way) as one,
        Listener(node, platform.url, stays, "spam", **way) as two,
    ):
        ready(one)
        ready(two)
        assert platform.call("DELETE", f"/api/v1/keys/{key_id}")[0] == 200
        assert one.next()[0] == "closed"
        version = platform.upload("spam", program(platform))
        assert two.next() == ["OnNewArtifactAvailable", "spam", version]
    with Listener(node, platform.url, key) as again:
        said = again.next()
        assert said[0] == "ended"
        assert "401" in said[1]


def test_a_key_that_another_process_revoked_ends_too(platform: PlatformProcess, node: Node) -> None:
    from loopai_runtime.central.access import Keys
    from loopai_runtime.central.db.database import Database

    key_id, key = platform.key("read")
    with Listener(node, platform.url, key, "spam") as listener:
        ready(listener)
        db = Database(f"sqlite:///{platform.root}/central/central.db")
        Keys(db).revoke("main", key_id, by="operator")
        db.close()
        assert listener.next()[0] == "closed"


def test_a_deployments_key_hears_of_its_tasks_without_asking(platform: PlatformProcess, node: Node) -> None:
    platform.deploy("shop-1", "spam")
    _, key = platform.key("read", "telemetry", deployment="shop-1")
    with Listener(node, platform.url, key) as listener:
        ready(listener)
        version = platform.upload("spam", program(platform))
        platform.upload("other", program(platform))
        assert listener.next() == ["OnNewArtifactAvailable", "spam", version]
        platform.deploy("shop-1", "spam", "other")  # a task that it is assigned meanwhile
        version = platform.upload("other", program(platform))
        assert listener.next() == ["OnNewArtifactAvailable", "other", version]


def test_a_heartbeat_is_kept(platform: PlatformProcess, node: Node) -> None:
    platform.deploy("shop-2", "spam")
    _, key = platform.key("telemetry", deployment="shop-2")
    with Listener(node, platform.url, key) as listener:
        ready(listener)
        report = {"status": "ok", "tasks": {"spam": 3}, "unknown to us": True}
        assert listener.call("Heartbeat", "shop-2", report) == ["Heartbeat", None]
        assert listener.call("Heartbeat", "shop-1", report)[1] == "refused"

    def kept() -> bool:
        found = platform.call("GET", "/api/v1/deployments/shop-2")[1]
        return bool(found["last_seen_at"] and found["versions"] == {"spam": 3})

    until(kept)
    assert platform.call("GET", "/api/v1/deployments/shop-1")[1]["last_seen_at"] is None


def test_metrics_are_kept_and_told_to_who_hears_of_the_task(platform: PlatformProcess, node: Node) -> None:
    platform.deploy("shop-3", "spam")
    _, edge = platform.key("telemetry", deployment="shop-3")
    _, watcher = platform.key("read")
    with (
        Listener(node, platform.url, edge) as reporting,
        Listener(node, platform.url, watcher, "spam") as watching,
        Listener(node, platform.url, watcher, "other") as elsewhere,
    ):
        for each in (reporting, watching, elsewhere):
            ready(each)
        assert reporting.call("ReportMetrics", METRICS) == ["ReportMetrics", None]
        assert watching.next() == ["OnMetricUpdate", "spam", METRICS]
        assert elsewhere.heard() == []
    until(lambda: rows(platform) == [("main", "spam", "shop-3", METRICS)])


@pytest.mark.parametrize("protocol", ["json", pytest.param("messagepack", marks=pytest.mark.slow)])
def test_five_cuts_under_stateful_reconnect_lose_and_repeat_nothing(
    platform: PlatformProcess, node: Node, protocol: str
) -> None:
    _, key = platform.key("admin")
    _, watcher = platform.key("read")
    total = 120

    async def talk() -> list[list[Any]]:
        async with Wire(int(platform.url.rpartition(":")[2])) as wire:
            through = f"http://127.0.0.1:{wire.port}"
            with (
                Listener(node, through, watcher, "spam", protocol=protocol, stateful=True) as watching,
                Listener(node, platform.url, key) as reporting,
            ):
                await asyncio.to_thread(ready, watching)
                await asyncio.to_thread(ready, reporting)
                for number in range(total):
                    said = await asyncio.to_thread(reporting.call, "ReportMetrics", METRICS | {"count": number})
                    assert said == ["ReportMetrics", None]
                    if number % 20 == 10 and number < 100:
                        await wire.cut_in_use()
                    await asyncio.sleep(0.06)
                return [await asyncio.to_thread(watching.next) for _ in range(total)]

    heard = asyncio.run(talk())
    assert [each[2]["count"] for each in heard] == list(range(total))
    until(lambda: [row[3]["count"] for row in rows(platform)][-total:] == list(range(total)))


def rows(platform: PlatformProcess) -> list[tuple[Any, ...]]:
    from sqlalchemy import select

    from loopai_runtime.central.db.database import Database
    from loopai_runtime.central.db.tables import metrics

    db = Database(f"sqlite:///{platform.root}/central/central.db")
    columns = (metrics.c.tenant_id, metrics.c.task_id, metrics.c.deployment_id, metrics.c.payload)
    with db.read() as connection:
        found = [tuple(row) for row in connection.execute(select(*columns).order_by(metrics.c.id))]
    db.close()
    return found


HOSTILE: list[Any] = [
    None, 1, "x", [], {}, {"task_id": "spam"}, METRICS | {"task_id": "../spam"}, METRICS | {"task_id": 5},
    METRICS | {"version": 0}, METRICS | {"version": 1.5}, METRICS | {"count": -1}, METRICS | {"count": 1e300},
    METRICS | {"p50_ms": "fast"}, METRICS | {"accuracy": 2}, METRICS | {"task_id": "s" * 10_000},
    METRICS | {"count": {"a": [[[[[]]]]]}}, METRICS | {"task_id": "'; DROP TABLE tasks; --"},
]  # fmt: skip


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_hostile_reports_are_refused_with_a_word(platform: PlatformProcess, node: Node, protocol: str) -> None:
    _, key = platform.key("admin")
    before = len(rows(platform))
    with Listener(node, platform.url, key, protocol=protocol) as listener:
        ready(listener)
        for report in HOSTILE:
            method, said, why = listener.call("ReportMetrics", report)
            assert (method, said) == ("ReportMetrics", "refused")
            assert "HubException: " in why, why
            time.sleep(0.04)
        for deployment, report in (
            ("nobody", {}),
            ("shop-1", {"tasks": {"spam": "one"}}),
            ({}, {}),
            ("shop-1", []),
        ):
            said = listener.call("Heartbeat", deployment, report)
            assert said[1] == "refused"
            assert "HubException: " in said[2]
        for task in ("nothing", "../spam", 7, None, ["spam"], "s" * 20_000):
            said = listener.call("SubscribeTask", task)
            assert said[1] == "refused"
            time.sleep(0.04)
        assert listener.call("SubscribeTask", "spam") == ["SubscribeTask", None]
    assert len(rows(platform)) == before
    assert not [line for line in platform.log if b'"level": "error"' in line]


def test_what_is_too_large_or_too_deep_ends_the_connection_alone(platform: PlatformProcess, node: Node) -> None:
    _, key = platform.key("admin")
    for report in ("x" * 100_000, "y" * 60_000):
        with Listener(node, platform.url, key) as listener:
            ready(listener)
            listener.tell("ReportMetrics", report)
            assert listener.until("closed")
    assert platform.call("GET", "/api/v1/tasks")[0] == 200


def test_a_key_that_calls_too_often_is_told_so(platform: PlatformProcess, node: Node) -> None:
    _, key = platform.key("read")
    with Listener(node, platform.url, key) as listener:
        ready(listener)
        said = [listener.call("SubscribeTask", "spam") for _ in range(60)]
        refused = [each for each in said if each[1] == "refused"]
        assert said[0] == ["SubscribeTask", None]
        assert refused
        assert "calls a second" in refused[0][2]


def test_a_scope_is_asked_for(platform: PlatformProcess, node: Node) -> None:
    _, reader = platform.key("read")
    _, reporter = platform.key("telemetry")
    _, runner = platform.key("execute")
    with Listener(node, platform.url, reader) as one, Listener(node, platform.url, reporter, "spam") as two:
        ready(one)
        assert one.call("ReportMetrics", METRICS)[1] == "refused"
        assert ready(two)[0][1] == "refused"
    with Listener(node, platform.url, runner) as three:
        assert three.next()[0] == "ended"


def test_no_token_stands_in_a_log(platform: PlatformProcess, node: Node) -> None:
    _, key = platform.key("read")
    for transport in ("WebSockets", "ServerSentEvents", "LongPolling"):
        with Listener(node, platform.url, key, "spam", transport=transport) as listener:
            ready(listener)
    status, _, _ = platform.call("POST", f"/hubs/loopai/negotiate?access_token={key}")
    assert status == 200
    status, _, _ = platform.call("GET", f"/nothing?access_token={key}")
    assert status == 404
    assert not [line for line in platform.log if key.encode() in line]

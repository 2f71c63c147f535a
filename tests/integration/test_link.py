"""An edge's tie to its platform over a real hub: what it hears, what it tells, and what it survives."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from tests.integration.signalr.arena import arena

from loopai_runtime.config import Config
from loopai_runtime.edge import link
from loopai_runtime.edge.link import Link
from loopai_runtime.errors import AuthError
from loopai_runtime.signalr.connection import Connection
from loopai_runtime.signalr.hub import Hub, HubException, bearer_token

KEY = "lp_1_secret"


class Told:
    """A hub that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.heard = threading.Condition()

    def note(self, *call: Any) -> None:
        with self.heard:
            self.calls.append(call)
            self.heard.notify_all()

    def make(self) -> Hub:
        async def authenticate(request: HTTPConnection) -> str | None:
            return "edge" if bearer_token(request) == KEY else None

        hub = Hub(authenticate)

        @hub.method("SubscribeTask")
        async def subscribe(caller: Connection, task_id: str) -> None:
            self.note("SubscribeTask", task_id)
            if task_id == "gone":
                raise HubException("no such task")
            hub.join(caller, task_id)

        @hub.method("Heartbeat")
        async def heartbeat(caller: Connection, deployment_id: str, report: dict) -> None:  # type: ignore[type-arg]
            self.note("Heartbeat", deployment_id, report)

        @hub.method("ReportMetrics")
        async def metrics(caller: Connection, report: dict) -> None:  # type: ignore[type-arg]
            self.note("ReportMetrics", report)

        return hub


class Edge:
    deployment_id = "shop-1"

    def status(self) -> str:
        return "ok"

    def versions(self) -> dict[str, int]:
        return {"spam": 2}

    def recent(self) -> list[dict[str, Any]]:
        return [{"task_id": "spam", "version": 2, "count": 3, "errors": 0, "p50_ms": 0.1, "p99_ms": 0.2}]


class Follower:
    """Counts looks; `raises` is what the next one does."""

    def __init__(self, *followed: str) -> None:
        self.followed = followed
        self.looks = 0
        self.raises: Exception | None = None

    def look(self) -> int:
        self.looks += 1
        if self.raises is not None:
            raise self.raises
        return 1


def config(port: int, **more: Any) -> Config:
    flags = {"cloud.api_url": f"http://127.0.0.1:{port}", "cloud.api_key": KEY, "runtime.mode": "hybrid"}
    return Config.load(flags=flags | {key.replace("__", "."): value for key, value in more.items()}, environ={})


def tied(made: Link, work: Callable[[], Any]) -> None:
    """Run a link while `work`, a function of a thread, goes on."""

    async def main() -> None:
        running = asyncio.create_task(made.run())
        try:
            await asyncio.to_thread(work)
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_subscribes_to_what_it_follows_and_says_what_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(link, "REPORT_S", 0.05)
    told = Told()
    with arena(told.make, path=link.HUB) as server:
        made = Link(config(server.port), Edge(), Follower("gone", "spam"))  # type: ignore[arg-type]

        def work() -> None:
            until(lambda: len([call for call in told.calls if call[0] == "Heartbeat"]) > 2)
            until(lambda: ("ReportMetrics", Edge().recent()[0]) in told.calls)
            assert made.is_connected
            assert made.pulled >= 1
            assert abs(made.last_poll - time.time()) < 300

        tied(made, work)
    assert ("Heartbeat", "shop-1", {"status": "ok", "tasks": {"spam": 2}}) in told.calls
    assert {call[1] for call in told.calls if call[0] == "SubscribeTask"} == {"gone", "spam"}


def test_news_is_a_reason_to_look_at_once() -> None:
    told = Told()
    with arena(told.make, path=link.HUB) as server:
        follower = Follower("spam")
        made = Link(config(server.port, cloud__poll_interval_sec=3600), Edge(), follower)  # type: ignore[arg-type]

        def work() -> None:
            until(lambda: ("SubscribeTask", "spam") in told.calls)
            until(lambda: follower.looks >= 2)  # at the start, and when the hub is there
            before = follower.looks

            async def tell() -> None:
                server.hub.send_group("spam", "OnNewArtifactAvailable", ["spam", 3])

            server.on(tell())
            until(lambda: follower.looks > before)

        tied(made, work)


def test_without_signalr_it_polls(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    with arena(told.make, path=link.HUB) as server:
        follower = Follower("spam")
        settings = config(server.port, cloud__signalr_enabled=False, cloud__poll_interval_sec=1)
        made = Link(settings, Edge(), follower)  # type: ignore[arg-type]
        tied(made, lambda: until(lambda: follower.looks >= 2))
        assert not made.is_connected
    assert told.calls == []


def test_a_platform_that_is_not_there_is_said_once_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower()
    follower.raises = AuthError("the key is not valid")
    made = Link(config(1, cloud__poll_interval_sec=1), Edge(), follower)  # type: ignore[arg-type]

    def work() -> None:
        until(lambda: follower.looks >= 2)
        assert made.last_poll == 0
        follower.raises = None
        until(lambda: made.last_poll > 0)

    with caplog.at_level(logging.INFO, "loopai_runtime.edge.link"):
        tied(made, work)
    said = [record.message for record in caplog.records if "polling" in record.message]
    assert said == ["platform: polling: the key is not valid", "platform: polling works again"]


@pytest.mark.parametrize(
    ("mode", "url", "key", "expected"),
    [
        ("hybrid", "http://x", "k", True),
        ("edge", "http://x", "k", True),
        ("central", "http://x", "k", False),
        ("hybrid", None, "k", False),
        ("hybrid", "http://x", None, False),
    ],
)
def test_there_is_a_link_only_to_a_platform(mode: str, url: str | None, key: str | None, expected: bool) -> None:
    flags = {"runtime.mode": mode, "cloud.api_url": url, "cloud.api_key": key}
    given = {name: value for name, value in flags.items() if value is not None}
    assert link.wanted(Config.load(flags=given, environ={})) is expected

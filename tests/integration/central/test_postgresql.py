"""The same platform on a real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import postgres
from tests.integration.central.conftest import PlatformProcess, running
from tests.integration.central.listening import Listener
from tests.integration.central.test_execution import execute
from tests.integration.signalr.conftest import Node
from tests.integration.test_server import SPAM

METRICS = {"task_id": "spam", "version": 1, "count": 10, "errors": 1, "p50_ms": 0.1, "p99_ms": 0.9}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    with postgres.server() as url:
        yield url


def test_everything_is_there_again_after_a_kill(tmp_path: Path, node: Node, database: str) -> None:
    root = tmp_path / "data"
    with running(root, LOOPAI_CENTRAL__DATABASE_URL=database) as platform:
        told_once(platform, node)
        platform.process.kill()
        platform.process.wait()
    with running(root, LOOPAI_CENTRAL__DATABASE_URL=database) as platform:
        assert execute(platform, "spam")[1]["output"] == "two"
        assert platform.call("GET", "/api/v1/deployments/shop-1")[1]["versions"] == {"spam": 1}
        found = platform.call("GET", "/api/v1/audit")[1]["audit"]
        assert {"artifact.published", "key.created", "deployment.put", "version.activated"} <= {
            each["what"] for each in found
        }
    assert not (root / "central" / "central.db").exists()


def told_once(platform: PlatformProcess, node: Node) -> None:
    assert platform.upload("spam", SPAM) == 1
    assert platform.upload("spam", "def run(x):\n    return 'two'\n") == 2
    assert execute(platform, "spam", "win")[1]["output"] == "spam"
    platform.deploy("shop-1", "spam")
    _, key = platform.key("read", "telemetry", deployment="shop-1")
    with Listener(node, platform.url, key, "spam") as listener:
        listener.until("ready")
        assert listener.call("Heartbeat", "shop-1", {"status": "ok", "tasks": {"spam": 1}}) == ["Heartbeat", None]
        listener.tell("ReportMetrics", METRICS)
        assert ["OnMetricUpdate", "spam", METRICS] in listener.until("OnMetricUpdate")
    status, _, _ = platform.call("PUT", "/api/v1/tasks/spam/active", {"version": 2})
    assert status == 200
    assert execute(platform, "spam")[1]["output"] == "two"
    for _ in range(600):  # a heartbeat is written within a second or two
        if platform.call("GET", "/api/v1/deployments/shop-1")[1]["versions"]:
            return
        time.sleep(0.1)

"""A running edge and a running platform: what is pushed there serves here, and the edge needs nothing of it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.bars import within
from tests.integration.central.conftest import PlatformProcess, running
from tests.integration.test_server import SPAM, Server, serving

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.layout import Layout

ONE, TWO = "def run(x):\n    return 'one'\n", "def run(x):\n    return 'two'\n"


@contextmanager
def edge(platform: PlatformProcess, root: Path, name: str, mode: str = "hybrid", **more: str) -> Iterator[Server]:
    _, key = platform.key("read", "telemetry", deployment=name)
    environment = {
        "LOOPAI_CLOUD__API_URL": platform.url,
        "LOOPAI_API_KEY": key,
        "LOOPAI_RUNTIME_MODE": mode,
        "LOOPAI_RUNTIME__DEPLOYMENT_ID": name,
        "LOOPAI_CLOUD__POLL_INTERVAL_SEC": "3600",
        "LOOPAI_ROLLOUT__AUTO": "false",
    }
    with serving(root, **(environment | more)) as server:
        yield server


def until(true: Callable[[], Any], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def metric(server: Server, name: str) -> float:
    text = server.call("GET", "/metrics")[1]
    found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(found[0].split()[1]) if found else -1


def test_a_task_that_is_assigned_comes_and_serves_and_the_next_version_waits(
    platform_process: PlatformProcess, tmp_path: Path
) -> None:
    platform = platform_process
    platform.upload("one", ONE)
    platform.deploy("shop-1", "one")
    with edge(platform, tmp_path, "shop-1") as server:
        server.wait_for("one", 1)
        assert server.execute("one")[1]["output"] == "one"
        until(lambda: metric(server, "loopai_platform_connected") == 1)
        assert abs(metric(server, "loopai_platform_last_poll_timestamp_seconds") - time.time()) < 300
        platform.upload("one", TWO)  # the push is heard: nobody polls for an hour
        until(lambda: 2 in ArtifactStore(Layout(tmp_path)).state("one").versions)
        assert server.execute("one")[1]["version"] == 1
        until(lambda: metric(server, "loopai_platform_pulled_total") == 2)
        found = platform.call("GET", "/api/v1/deployments/shop-1")[1]
        assert found["status"] == {"status": "ok"}


def test_a_task_that_is_assigned_later_is_found_by_polling(
    platform_process: PlatformProcess, tmp_path: Path
) -> None:
    platform = platform_process
    platform.upload("later", ONE)
    platform.deploy("shop-2")
    more = {"LOOPAI_CLOUD__POLL_INTERVAL_SEC": "1", "LOOPAI_CLOUD__SIGNALR_ENABLED": "false"}
    with edge(platform, tmp_path, "shop-2", **more) as server:
        until(lambda: metric(server, "loopai_platform_last_poll_timestamp_seconds") > 0)
        assert metric(server, "loopai_platform_connected") == 0
        platform.deploy("shop-2", "later")
        server.wait_for("later", 1)


def test_in_edge_mode_nothing_comes_in_without_a_word(platform_process: PlatformProcess, tmp_path: Path) -> None:
    platform = platform_process
    platform.upload("said", ONE)
    platform.deploy("shop-3", "said")
    with edge(platform, tmp_path, "shop-3", mode="edge") as server:
        until(lambda: metric(server, "loopai_platform_last_poll_timestamp_seconds") > 0)
        time.sleep(0.5)
        assert not Layout(tmp_path).artifacts("said").exists()
        assert metric(server, "loopai_platform_pulled_total") == 0


def test_an_edge_goes_on_without_its_platform_and_takes_up_what_it_missed(tmp_path: Path) -> None:
    with running(tmp_path / "platform") as platform:
        port = platform.url.rpartition(":")[2]
        platform.upload("spam", SPAM)
        platform.deploy("shop-4", "spam")
        with edge(platform, tmp_path / "edge", "shop-4", LOOPAI_CLOUD__POLL_INTERVAL_SEC="1") as server:
            server.wait_for("spam", 1)
            platform.process.kill()
            platform.process.wait()
            until(lambda: metric(server, "loopai_platform_connected") == 0)
            for _ in range(20):
                assert server.execute("spam")[0] == 200
            with running(tmp_path / "platform", "--port", port) as again:
                again.upload("spam", TWO)
                until(lambda: 2 in ArtifactStore(server.layout).state("spam").versions)
                until(lambda: metric(server, "loopai_platform_connected") == 1)
            assert server.execute("spam")[0] == 200
            server.process.terminate()
            assert server.process.wait(60) == 0


@pytest.mark.parametrize("mode", ["hybrid", "edge"])
def test_a_platform_that_is_not_there_is_no_matter(tmp_path: Path, mode: str) -> None:
    from tests.integration.test_server import add

    add(Layout(tmp_path), "spam", SPAM)
    environment = {"LOOPAI_CLOUD__API_URL": "http://127.0.0.1:9", "LOOPAI_API_KEY": "lp_a_b"}
    with serving(tmp_path, LOOPAI_RUNTIME_MODE=mode, **environment) as server:
        assert server.execute("spam")[0] == 200
        assert metric(server, "loopai_platform_connected") == 0
        with within(5):
            server.process.terminate()
            assert server.process.wait(60) == 0


def test_mode_central_executes_at_the_platform(platform_process: PlatformProcess, tmp_path: Path) -> None:
    from tests.integration.conftest import Loopai

    platform = platform_process
    platform.upload("far", SPAM)
    _, key = platform.key("execute", "read")
    there = {"LOOPAI_RUNTIME_MODE": "central", "LOOPAI_CLOUD__API_URL": platform.url, "LOOPAI_API_KEY": key}
    loopai = Loopai(tmp_path / "data")
    done = loopai("run", "far", '{"text": "you win"}', env=there)
    assert (done.code, done.out) == (0, '"spam"\n'), done.err
    lines = "\n".join(json.dumps({"input": {"text": "win" if n % 2 else "hi"}, "id": n}) for n in range(450))
    done = loopai("run", "far", "--file", "-", stdin=lines, env=there)
    assert done.code == 0, done.err
    assert [line["id"] for line in done.lines] == list(range(450))
    assert [line["output"] for line in done.lines[:2]] == ["ham", "spam"]
    done = loopai("run", "far", "--file", "-", "--on-error", "null", stdin='{"text": 5}\nnot json\n', env=there)
    assert done.code == 7
    assert [line["error"]["type"] for line in done.lines] == ["InputError", "InputError"]
    assert loopai("run", "far", '{"text": 5}', env=there).code == 2
    assert loopai("run", "far@2", '{"text": "x"}', env=there).code == 2
    assert loopai("run", "far", '{"text": "x"}', "--no-record", env=there).code == 2
    assert loopai("run", "nothing", '{"text": "x"}', env=there).code == 5
    assert loopai("run", "far", '{"text": "x"}', env=there | {"LOOPAI_API_KEY": "lp_a_b"}).code == 4
    nobody = there | {"LOOPAI_CLOUD__API_URL": "http://127.0.0.1:9"}
    done = loopai("run", "far", '{"text": "x"}', env=nobody)
    assert done.code == 1
    assert "127.0.0.1:9 does not answer" in done.err
    assert not (tmp_path / "data" / "datasets").exists()
    with urllib.request.urlopen(platform.url + "/healthz", timeout=60) as response:
        assert response.status == 200

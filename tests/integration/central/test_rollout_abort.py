"""The platform sees the rollouts of its edges, and an edge obeys its request to abort one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.central.conftest import PlatformProcess
from tests.integration.central.test_edge_follows import ONE, TWO, edge, until
from tests.integration.test_server import Server

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.config import Config
from loopai_runtime.flows import report
from loopai_runtime.models import VersionStatus
from loopai_runtime.rollouts import Rollout, load

JSON = {"content-type": "application/json"}


def test_an_edge_reports_its_rollout_and_aborts_it_when_the_platform_asks(
    platform_process: PlatformProcess, tmp_path: Path
) -> None:
    platform = platform_process
    platform.upload("tried", ONE)
    platform.deploy("shop-9", "tried")
    at = "/api/v1/tasks/tried/rollouts"
    assert platform.call("GET", at)[1]["rollouts"] == []
    assert platform.call("POST", f"{at}/abort", {"reason": "none runs"})[0] == 404
    with edge(platform, tmp_path, "shop-9", LOOPAI_TELEMETRY__UPLOAD_INTERVAL_SEC="3600") as server:
        server.wait_for("tried", 1)
        platform.upload("tried", TWO)
        until(lambda: status_of(server, 2) is VersionStatus.VALIDATED)
        begun = server.call("POST", "/api/v1/tasks/tried/rollout/start", {"version": 2}, JSON)
        assert begun[0] == 201, begun
        (one,) = told(platform, server)
        assert (one["deployment_id"], one["version"], one["state"]) == ("shop-9", 2, "running")
        _, reader = platform.key("read")
        assert platform.call("POST", f"{at}/abort", {"reason": "no"}, key=reader)[0] == 403
        assert platform.call("POST", f"{at}/abort", {"reason": ""})[0] == 422
        status, asked, _ = platform.call("POST", f"{at}/abort", {"reason": "too many complaints"})
        assert status == 202
        assert asked["asked"] == [{"deployment_id": "shop-9", "rollout_id": one["rollout_id"]}]
        until(lambda: not standing(server).is_under_way)  # heard of at once: nobody polls for an hour
        ended = standing(server)
        assert (ended.state, ended.reason) == ("aborted", "too many complaints")
        assert ended.history[-1].by == "platform"
        assert [each["state"] for each in told(platform, server)] == ["aborted"]
        assert server.execute("tried")[1]["output"] == "one"
        assert platform.call("POST", f"{at}/abort", {"reason": "again"})[0] == 404


def told(platform: PlatformProcess, server: Server) -> list[dict[str, Any]]:
    """What the platform knows once the edge has reported, which it would do by itself within a minute."""
    _, key = platform.key("telemetry")
    flags = {"cloud.api_url": platform.url, "cloud.api_key": key, "runtime.deployment_id": "shop-9"}
    assert report.flush(server.layout, Config.load(flags=flags, environ={})).trouble is None
    found: list[dict[str, Any]] = platform.call("GET", "/api/v1/tasks/tried/rollouts")[1]["rollouts"]
    return found


def status_of(server: Server, version: int) -> VersionStatus | None:
    entry = ArtifactStore(server.layout).state("tried").versions.get(version)
    return entry.status if entry else None


def standing(server: Server) -> Rollout:
    found = load(server.layout, "tried")
    assert found is not None
    return found

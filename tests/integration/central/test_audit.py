"""Every change leaves its line, by whom it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.integration.central.conftest import PlatformProcess
from tests.integration.test_server import SPAM


def test_each_kind_of_change_is_noted_with_who_made_it(platform_process: PlatformProcess) -> None:
    platform = platform_process
    who, key = platform.key("admin")
    seen: list[dict[str, Any]] = []

    def noted(what: str, change: Callable[[], object]) -> None:
        """That a change adds lines, the latest this one."""
        known = {each["id"] for each in seen} | {each["id"] for each in audit()}
        change()
        new = [each for each in audit() if each["id"] not in known]
        assert what in [each["what"] for each in new], new
        assert {each["who"] for each in new} <= {who, "platform"}
        seen.extend(new)

    def audit() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = platform.call("GET", "/api/v1/audit")[1]["audit"]
        return found

    def call(method: str, path: str, body: Any = None) -> Any:
        status, said, _ = platform.call(method, path, body, key=key)
        assert status in (200, 201, 202), said
        return said

    spec = {"name": "noted", "description": "x", "input_schema": {"type": "object"}, "output_schema": {}}
    noted("task.put", lambda: call("PUT", "/api/v1/tasks/noted", {"description": "x", "spec": spec}))
    noted("artifact.published", lambda: platform.upload("noted", SPAM, key=key))
    noted("artifact.published", lambda: platform.upload("noted", "def run(x):\n    return 1\n", key=key))
    noted("version.activated", lambda: call("PUT", "/api/v1/tasks/noted/active", {"version": 2}))
    noted("artifact.deprecated", lambda: call("POST", "/api/v1/artifacts/noted/v1/deprecate", {"reason": "x"}))
    noted("deployment.put", lambda: call("PUT", "/api/v1/deployments/noted", {"tasks": ["noted"]}))
    noted("key.created", lambda: platform.key("read", key=key, deployment="noted"))
    its = next(each["id"] for each in call("GET", "/api/v1/keys")["keys"] if each["deployment_id"] == "noted")
    noted("key.rotated", lambda: call("POST", f"/api/v1/keys/{its}/rotate", {}))
    noted("key.revoked", lambda: call("DELETE", f"/api/v1/keys/{its}"))
    noted("key.revoked", lambda: call("DELETE", "/api/v1/deployments/noted"))
    assert "deployment.deleted" in [each["what"] for each in seen]
    examples = {"examples": [{"input": {"text": "x"}, "output": "y"}]}
    noted("generation.asked", lambda: call("POST", "/api/v1/tasks/noted/generate", examples))
    noted("task.deleted", lambda: call("DELETE", "/api/v1/tasks/noted"))
    for line in seen:
        assert key not in str(line)


def test_a_deployment_that_is_given_up_is_gone_with_its_keys_and_its_reports_stay(
    platform_process: PlatformProcess,
) -> None:
    platform = platform_process
    _, key = platform.key("read", "telemetry", deployment="gone")
    record = {"boot": "00000001-00000000", "seq": 1, "kind": "execution", "at": "2026-03-04T10:00:00Z", "data": {}}
    body = {"schema": 1, "deployment_id": "gone", "records": [record]}
    assert platform.call("POST", "/api/v1/telemetry", body, key=key)[0] == 202
    assert platform.call("DELETE", "/api/v1/deployments/gone", key=key)[0] == 403
    assert platform.call("DELETE", "/api/v1/deployments/gone")[0] == 200
    assert platform.call("DELETE", "/api/v1/deployments/gone")[0] == 404
    assert platform.call("GET", "/api/v1/tasks", key=key)[0] == 401
    assert platform.call("GET", "/api/v1/deployments/gone")[0] == 404
    _, key = platform.key("telemetry", deployment="gone")  # there is room for two again
    again = platform.call("POST", "/api/v1/telemetry", body, key=key)[1]
    assert again == {"accepted": 0, "duplicates": 1}

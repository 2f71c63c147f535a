"""`loopai keys … --central`, over HTTP and beside the database."""

from __future__ import annotations

import time
from pathlib import Path

from tests.integration.central.conftest import PlatformProcess
from tests.integration.conftest import Loopai
from tests.integration.test_server import SPAM


def test_over_http_with_an_admins_key(platform_process: PlatformProcess, tmp_path: Path) -> None:
    platform, loopai = platform_process, Loopai(tmp_path / "data")
    there = {"LOOPAI_CLOUD__API_URL": platform.url, "LOOPAI_API_KEY": platform.admin_key}
    made = loopai("keys", "create", "--central", "--name", "shop", "--deployment", "shop-9", env=there)
    assert made.code == 0, made.err
    key = made.out.strip()
    assert platform.call("GET", "/api/v1/deployments/shop-9", key=key)[0] == 200
    assert platform.call("GET", "/api/v1/keys", key=key)[0] == 403
    listed = {each["name"]: each for each in loopai("keys", "list", "--central", "-o", "json", env=there).json}
    assert listed["shop"]["scopes"] == ["read", "telemetry"]
    assert "hash" not in listed["shop"]
    rotated = loopai("keys", "rotate", listed["shop"]["id"], "--central", env=there)
    assert rotated.code == 0, rotated.err
    assert loopai("keys", "rotate", listed["shop"]["id"], "--central", env=there).code == 2
    assert loopai("keys", "revoke", listed["shop"]["id"], "--central", env=there).code == 0
    assert platform.call("GET", "/api/v1/tasks", key=key)[0] == 401
    assert platform.call("GET", "/api/v1/tasks", key=rotated.out.strip())[0] == 200
    assert loopai("keys", "list", "--central", env=there | {"LOOPAI_API_KEY": key}).code == 4
    assert loopai("keys", "revoke", "nobody", "--central", env=there).code == 5
    assert loopai("keys", "create", "--central", env=there).code == 2
    assert loopai("keys", "create", "--central", "--scope", "all", env=there).code == 2
    assert loopai("keys", "create", "--central", "--scope", "read", "--tenant", "x", env=there).code == 2
    assert loopai("keys", "rotate", "x", env=there).code == 2


def test_beside_the_database_for_another_tenant(platform_process: PlatformProcess) -> None:
    platform, loopai = platform_process, Loopai(platform_process.root)
    made = loopai("keys", "create", "--central", "--tenant", "acme", "--scope", "admin", "--name", "first")
    assert made.code == 0, made.err
    key = made.out.strip()
    platform.upload("mine", SPAM)
    assert platform.call("GET", "/api/v1/tasks", key=key)[1]["tasks"] == []
    assert platform.upload("theirs", SPAM, key=key) == 1
    (listed,) = loopai("keys", "list", "--central", "--tenant", "acme", "-o", "json").json
    assert loopai("keys", "revoke", listed["id"], "--central").code == 5  # of another tenant
    noted = platform.call("GET", "/api/v1/audit", key=key)[1]["audit"]
    assert [each["what"] for each in noted if each["who"] == "operator"] == ["key.created", "tenant.created"]
    assert loopai("keys", "revoke", listed["id"], "--central", "--tenant", "acme").code == 0
    deadline = time.monotonic() + 60
    while platform.call("GET", "/api/v1/tasks", key=key)[0] != 401:  # a running server follows within seconds
        assert time.monotonic() < deadline
        time.sleep(0.2)

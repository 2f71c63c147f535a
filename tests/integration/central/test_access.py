"""Who may do what: every operation, for every kind of key; and what is left of guesses, crashes and wild names."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests import nursery
from tests.bars import SOAK, within
from tests.integration.central.conftest import PlatformProcess, running, zipped
from tests.integration.central.test_execution import second_tenant
from tests.integration.test_server import SPAM

from loopai_runtime.central.access import Scope
from loopai_runtime.central.routes import OPERATIONS
from loopai_runtime.central.routing import Operation

BODIES: dict[str, Any] = {
    "/api/v1/artifacts/{task_id}/upload": zipped("mine", SPAM),
    "/api/v1/artifacts/{task_id}/{version}/deprecate": {"reason": "wrong"},
    "/api/v1/tasks/{task_id}/active": {"version": 1},
    "/v1/execute/{task_id}": {"input": {"text": "hi"}},
    "/api/v1/tasks/{task_id}/execute": {"input": {"text": "hi"}},
    "/api/v1/tasks/{task_id}/batch": {"items": [{"input": {"text": "hi"}}]},
}
OWN = {
    "PUT /api/v1/tasks/{task_id}",
    "PUT /api/v1/deployments/{deployment_id}",
    "POST /api/v1/artifacts/{task_id}/upload",
}
"""What makes a thing of the caller's own of that name, and leaves others' as they are."""
OF_ANYTHING = {
    "GET /api/v1/tasks/{task_id}/metrics",
    "GET /api/v1/deployments/{deployment_id}/telemetry",
    "GET /api/v1/deployments/{deployment_id}/rollouts",
}
"""What is the same for a name that nobody has."""


@pytest.fixture(scope="module")
def platform(platform_process: PlatformProcess) -> PlatformProcess:
    platform_process.upload("mine", SPAM)
    platform_process.deploy("my-shop", "mine")
    return platform_process


def called(platform: PlatformProcess, operation: Operation, key: str, **given: str) -> tuple[int, Any]:
    names = {"task_id": "mine", "deployment_id": "my-shop", "version": "v1", "key_id": "nobodys"} | given
    path = operation.path
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    body = BODIES.get(operation.path, operation.examples.get("request"))
    if operation.method in ("GET", "DELETE"):
        body = None
    elif operation.path.endswith("/rotate"):
        body = {}
    if isinstance(body, dict) and "tasks" in body:
        body = {"tasks": []}
    status, said, _ = platform.call(operation.method, path, body, key=key)
    return status, said


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_without_a_key_or_its_scope_there_is_no_way_in(platform: PlatformProcess, operation: Operation) -> None:
    assert called(platform, operation, " ")[0] == 401
    assert operation.scope is not None
    others = [scope.value for scope in Scope if scope not in (operation.scope, Scope.ADMIN)]
    status, said = called(platform, operation, platform.key(*others)[1])
    assert status == 403, said
    assert operation.scope.value in said["detail"]


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if "{" in each.path], ids=name_of)
def test_nothing_of_another_tenant_is_there(platform: PlatformProcess, operation: Operation) -> None:
    other = second_tenant(platform, f"tenant-{OPERATIONS.index(operation)}")
    key_id = platform.key("read")[0]
    status, said = called(platform, operation, other, key_id=key_id)
    if name_of(operation) in OWN:
        assert status in (200, 201), said
    elif name_of(operation) in OF_ANYTHING:
        nothing = called(platform, operation, other, task_id="nothing", deployment_id="nothing")[1]
        assert json.dumps(said).replace("my-shop", "nothing").replace("mine", "nothing") == json.dumps(nothing)
    else:
        assert status == 404, said
    assert platform.call("GET", "/api/v1/tasks/mine")[1]["active_version"] == 1
    assert platform.call("GET", "/api/v1/deployments/my-shop")[1]["tasks"] == ["mine"]
    assert key_id in [
        each["id"] for each in platform.call("GET", "/api/v1/keys")[1]["keys"] if not each["revoked_at"]
    ]


def test_lists_name_only_ones_own(platform: PlatformProcess) -> None:
    other = second_tenant(platform, "third")
    assert platform.call("GET", "/api/v1/tasks", key=other)[1]["tasks"] == []
    assert platform.call("GET", "/api/v1/deployments", key=other)[1]["deployments"] == []
    assert [each["name"] for each in platform.call("GET", "/api/v1/keys", key=other)[1]["keys"]] == ["admin"]
    (made,) = platform.call("GET", "/api/v1/audit", key=other)[1]["audit"]
    assert (made["who"], made["what"]) == ("operator", "key.created")


def test_every_change_is_in_the_audit(platform: PlatformProcess) -> None:
    key_id, _ = platform.key("read")
    platform.call("POST", f"/api/v1/keys/{key_id}/rotate", {})
    platform.call("DELETE", f"/api/v1/keys/{key_id}")
    found = platform.call("GET", "/api/v1/audit")[1]["audit"]
    assert [each["what"] for each in found[:3]] == ["key.revoked", "key.rotated", "key.created"]
    assert found[0]["facts"] == {"key_id": key_id}
    assert found[2]["facts"] == {"key_id": key_id, "name": "test", "scopes": ["read"]}
    assert platform.admin_key not in json.dumps(found)


def test_a_deployment_has_two_keys_at_most_and_rotation_leaves_the_old_one(platform: PlatformProcess) -> None:
    first, key = platform.key("read", deployment="two")
    status, made, _ = platform.call("POST", f"/api/v1/keys/{first}/rotate", {})
    assert status == 201
    for each in (key, made["key"]):
        assert platform.call("GET", "/api/v1/deployments/two", key=each)[0] == 200
    status, said, _ = platform.call("POST", f"/api/v1/keys/{first}/rotate", {})
    assert status == 400
    assert "two active keys" in said["detail"]
    platform.call("DELETE", f"/api/v1/keys/{first}")
    assert platform.call("GET", "/api/v1/deployments/two", key=key)[0] == 401
    assert platform.call("GET", "/api/v1/deployments/two", key=made["key"])[0] == 200


def test_lists_come_in_pages(tmp_path: Path) -> None:
    with running(tmp_path / "data") as platform:
        for n in range(130):
            assert platform.call("PUT", f"/api/v1/tasks/task-{n:03}", {"description": "x"})[0] == 200
        found, cursor = [], ""
        while cursor is not None:
            page = platform.call("GET", f"/api/v1/tasks?cursor={cursor}")[1]
            found += [each["task_id"] for each in page["tasks"]]
            cursor = page["next"]
        assert found == [f"task-{n:03}" for n in range(130)]
        seen, cursor = [], None
        while True:
            page = platform.call("GET", "/api/v1/audit" + (f"?cursor={cursor}" if cursor else ""))[1]
            seen += [each["facts"].get("task_id") for each in page["audit"]]
            if (cursor := page["next"]) is None:
                break
        assert sorted(seen[:-1]) == found
        assert seen[-1] is None  # the first line is the admin's key


def test_ten_thousand_guesses_let_nobody_in_and_lock_nobody_out(tmp_path: Path) -> None:

    count = max(300, round(10_000 * SOAK))
    with running(tmp_path / "data") as platform:
        key_id = platform.admin_key.split("_")[1]
        said = set()
        for n in range(count):
            guess = f"lp_{key_id}_{'x' * 20}{n}" if n % 2 else f"lp_{n}_secret"
            said.add(platform.call("GET", "/api/v1/tasks", key=guess)[0])
            if n % 50 == 0:
                assert platform.call("GET", "/api/v1/tasks")[0] in (200, 429)
        assert said <= {401, 429}
        assert platform.call("GET", "/healthz")[0] == 200


WILD = [
    "'; DROP TABLE tasks; --",
    "%27%20OR%201=1",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "a" * 300,
    "%ff%fe",
    "Ä",
    "UNION",
]


@pytest.mark.parametrize("name", WILD)
def test_wild_names_are_names_of_nothing(platform: PlatformProcess, name: str) -> None:
    from urllib.parse import quote

    wild = quote(name, safe="%")
    for operation in OPERATIONS:
        if "{" not in operation.path:
            continue
        status, said = called(
            platform, operation, platform.admin_key, task_id=wild, deployment_id=wild, version=wild, key_id=wild
        )
        assert status in (400, 404), (operation.path, said)
    for cursor in ("/api/v1/tasks", "/api/v1/deployments", "/api/v1/audit"):
        assert platform.call("GET", f"{cursor}?cursor={wild}")[0] in (200, 400)
    assert platform.call("GET", "/api/v1/tasks/mine")[0] == 200


def test_the_first_key_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """Made of a database and a file: neither is there without a way in."""
    root = tmp_path / "data"
    with running(root) as platform:
        platform.process.kill()
        platform.process.wait()
    (root / "central" / "central.db").unlink()  # as if the file had come first, and the kill then
    for beside in (root / "central").glob("central.db-*"):
        beside.unlink()
    with running(root) as platform:
        assert platform.call("GET", "/api/v1/tasks")[0] == 200


def test_health_metrics_and_description(platform: PlatformProcess) -> None:
    assert platform.call("GET", "/readyz")[1] == {"ready": True}
    platform.call("POST", "/v1/execute/mine", {"input": {"text": "hi"}})
    text = platform.call("GET", "/metrics")[1].decode()
    assert 'loopai_central_executions_total{status="success"}' in text
    assert "mine" not in text
    found = platform.call("GET", "/openapi.json")[1]
    listed = {f"{method.upper()} {path}" for path, methods in found["paths"].items() for method in methods}
    assert listed == {name_of(operation) for operation in OPERATIONS}
    operation_ids = [each["operationId"] for methods in found["paths"].values() for each in methods.values()]
    assert len(set(operation_ids)) == len(operation_ids)
    assert platform.call("DELETE", "/readyz")[0] == 405


@pytest.mark.slow
def test_a_head_that_never_ends_is_cut_off(platform: PlatformProcess) -> None:
    port = int(platform.url.rpartition(":")[2])
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
        slow.sendall(b"GET /api/v1/tasks HTTP/1.1\r\nX-Drip: ")
        for _ in range(120):
            try:
                slow.sendall(b"x")
            except OSError:
                break
            slow.settimeout(0.5)
            try:
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
        else:
            raise AssertionError("it is not cut off")
        assert time.monotonic() - began > 8


def test_every_request_is_in_the_log_without_its_query(platform: PlatformProcess) -> None:
    platform.call("GET", f"/api/v1/tasks/logged-once?access_token={platform.admin_key}")
    deadline = time.monotonic() + 60
    while not any(b"logged-once" in line for line in platform.log):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lines = [json.loads(line) for line in platform.log if b"logged-once" in line]
    assert [(line["status"], line["method"], line["path"]) for line in lines] == [
        (404, "GET", "/api/v1/tasks/logged-once")
    ]
    assert not [line for line in platform.log if platform.admin_key.encode() in line]


def test_tls_is_1_3_and_nothing_older(tmp_path: Path) -> None:
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *name]
    subprocess.run(command, check=True, capture_output=True)
    pair = ("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem")
    with running(tmp_path / "data", *pair) as platform:
        assert platform.url.startswith("https://")
        port = int(platform.url.rpartition(":")[2])
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            assert wrapped.version() == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_second_platform_on_the_same_directory_says_so(platform: PlatformProcess) -> None:
    line = ["central", "start", "--port", "0", "--data-dir", str(platform.root)]
    done = nursery.run(line, os.environ)
    assert done.returncode == 6
    assert b"already served" in done.stderr


def test_it_is_ready_within_two_seconds_from_a_clean_directory(tmp_path: Path) -> None:
    with within(2), running(tmp_path) as platform:
        assert platform.call("GET", "/readyz")[1] == {"ready": True}

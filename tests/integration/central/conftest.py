"""A platform to talk to: the real process, on a free port, over a directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import nursery
from tests.integration.signalr.conftest import node  # noqa: F401  a fixture
from tests.integration.test_server import artifact

from loopai_runtime.artifacts import archive, bundle


@dataclass
class PlatformProcess:
    """A running `loopai central start`: `call` speaks to it, with the admin's key unless told otherwise."""

    process: nursery.Started
    root: Path
    url: str
    admin_key: str
    log: list[bytes] = field(default_factory=list)

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, raw, method=method)
        request.add_header("authorization", f"Bearer {key or self.admin_key}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                status, found, content = response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            status, found, content = error.code, error.headers, error.read()
        is_json = "json" in found.get("content-type", "")
        return status, json.loads(content) if is_json else content, {k.lower(): v for k, v in found.items()}

    def key(
        self, *scopes: str, deployment: str | None = None, key: str | None = None, **more: Any
    ) -> tuple[str, str]:
        """The id of a new key, and the key."""
        asked = {"name": "test", "scopes": list(scopes), "deployment_id": deployment, **more}
        status, made, _ = self.call("POST", "/api/v1/keys", asked, key=key)
        assert status == 201, made
        return made["id"], made["key"]

    def deploy(self, deployment_id: str, *tasks: str) -> None:
        status, said, _ = self.call("PUT", f"/api/v1/deployments/{deployment_id}", {"tasks": list(tasks)})
        assert status in (200, 201), said

    def upload(self, task_id: str, code: str, *, key: str | None = None, **changes: Any) -> int:
        """The number that the platform gave a version."""
        content = zipped(task_id, code, **changes)
        status, said, _ = self.call("POST", f"/api/v1/artifacts/{task_id}/upload", content, key=key)
        assert status in (200, 201), said
        version: int = said["version"]
        return version


def zipped(task_id: str, code: str, **changes: Any) -> bytes:
    """A bundle as `loopai export` writes it, of a version that met its targets."""
    met: dict[str, Any] = {"accuracy": {"value": 0.95}, "latency_ms": {"p99": 1.0}}
    return archive.write_zip(bundle.build(artifact(task_id, **(met | changes)), code))


@contextlib.contextmanager
def running(root: Path, *args: object, **environment: str) -> Iterator[PlatformProcess]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LOOPAI_")}
    line = ["central", "start", "--port", "0", "--data-dir", str(root), *map(str, args)]
    process: Any = nursery.start(line, kept | environment)
    log: list[bytes] = []

    def drain() -> None:
        log.extend(process.stderr)

    draining = threading.Thread(target=drain, daemon=True)
    draining.start()
    try:
        url = process.stdout.readline().decode().strip()
        assert url, (process.wait(60), log)
        yield PlatformProcess(process, root, url, (root / "secrets" / "admin.key").read_text().strip(), log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(90)
        draining.join(5)
        for pipe in (process.stdout, process.stderr):
            pipe.close()


@pytest.fixture(scope="module")
def platform_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    """One platform for the tests of a module."""
    with running(tmp_path_factory.mktemp("platform") / "data") as found:
        yield found

"""Whatever the description of the interface allows, and what it does not, is answered and never a fault of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bars import SOAK
from tests.integration.central.conftest import running
from tests.integration.test_server import SPAM

_HERE = {"task_id": "spam", "deployment_id": "shop", "version": "v1"}


@pytest.mark.slow
def test_no_request_is_a_fault_of_the_platform(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    with running(tmp_path / "data") as platform:
        platform.upload("spam", SPAM)
        platform.deploy("shop", "spam")
        key_id, _ = platform.key("read")
        told = platform.call("GET", "/openapi.json")[1]
        for path, methods in told["paths"].items():
            for method, operation in methods.items():
                if content := operation.get("requestBody", {}).get("content", {}).pop("application/zip", None):
                    operation["requestBody"]["content"]["application/octet-stream"] = content
                if method == "delete" or path.endswith("/deprecate"):
                    continue  # what is there is to stay
                for each in operation["parameters"]:  # of what is there, and of what is not
                    there = (_HERE | {"key_id": key_id}).get(each["name"])
                    if there is not None:
                        each["schema"] = {"anyOf": [{"const": there}, each["schema"]]}
        (tmp_path / "openapi.json").write_text(json.dumps(told))
        command = [sys.executable, "-m", "schemathesis.cli", "run", str(tmp_path / "openapi.json")]
        settings = ["--url", platform.url, "--checks", "not_a_server_error", "--seed", "1", "--no-color"]
        many = ["--max-examples", str(max(10, round(200 * SOAK))), "--phases", "examples,coverage,fuzzing"]
        key = ["-H", f"Authorization: Bearer {platform.admin_key}"]
        done = subprocess.run(
            [*command, *settings, *many, *key], capture_output=True, text=True, cwd=tmp_path, timeout=900
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        assert " passed" in done.stdout
        assert platform.call("GET", "/readyz")[1] == {"ready": True}
        assert not [line for line in platform.log if b'"level": "error"' in line]

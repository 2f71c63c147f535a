"""What `/openapi.json` and `/docs` show is what the platform answers."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.central.conftest import PlatformProcess, zipped
from tests.integration.test_server import SPAM
from tests.unit.central.test_collector import record, stats

from loopai_runtime.central.routes import OPERATIONS
from loopai_runtime.central.routing import Operation

TASK, OTHER = "spam-detection", "def run(x):\n    return 'ham'\n"
ENDS = ("/deprecate", "/rotate")
SHOWN = [each for each in OPERATIONS if "response" in each.examples]


@pytest.fixture(scope="module")
def known(platform_process: PlatformProcess) -> dict[str, str]:
    """Names of what is there, by the parameters of paths."""
    platform = platform_process
    for code in (SPAM, OTHER):
        platform.upload(TASK, code)
    spec = {"name": TASK, "description": "x", "input_schema": {"type": "object"}, "output_schema": {}}
    assert platform.call("PUT", f"/api/v1/tasks/{TASK}", {"description": "x", "spec": spec})[0] == 200
    platform.deploy("shop-1", TASK)
    key_id, _ = platform.key("read", deployment="shop-1")
    rollout = record(2, "rollout", rollout_id="r1", state="running", shadowed=3, differed=1, labels=0)
    records = [each | {"task_id": TASK} for each in (stats(1, 3), rollout)]
    body = {"schema": 1, "deployment_id": "shop-1", "records": records}
    assert platform.call("POST", "/api/v1/telemetry", body)[0] == 202
    asked = {"examples": [{"input": {"text": "x"}, "output": "y"}]}
    status, row, _ = platform.call("POST", f"/api/v1/tasks/{TASK}/generate", asked)
    assert status == 202, row
    return {
        "task_id": TASK,
        "deployment_id": "shop-1",
        "version": "v2",
        "key_id": key_id,
        "generation_id": row["id"],
    }


def order(operation: Operation) -> tuple[bool, bool]:
    """What takes something away comes last."""
    return operation.method == "DELETE", operation.path.endswith(ENDS)


@pytest.mark.parametrize("operation", sorted(SHOWN, key=order), ids=lambda each: f"{each.method} {each.path}")
def test_an_answer_has_the_members_of_its_example(
    platform_process: PlatformProcess, known: dict[str, str], operation: Operation
) -> None:
    path, body = operation.path, operation.examples.get("request")
    for name, value in known.items():
        path = path.replace(f"{{{name}}}", value)
    if "{" in path:
        pytest.skip(f"nothing is known here for {path}")
    if path.endswith("/upload"):
        body = zipped(TASK, "def run(x):\n    return 'third'\n")
    elif path.endswith("/generate"):  # one is written at a time
        pytest.skip("its answer is where the names come from")
    elif path.endswith("/keys") and body:
        body = body | {"deployment_id": "shop-2"}
    elif path.endswith("/rotate"):
        body = {}
    status, answer, _ = platform_process.call(operation.method, path, body)
    assert status in (operation.status, 200), answer
    assert_alike(answer, operation.examples["response"])


def assert_alike(answer: Any, example: Any) -> None:
    """The same members; of lists, the first."""
    assert type(answer) is type(example)
    if isinstance(example, dict):
        optional = {"confidence", "abstained", "hint"}
        assert set(answer) - optional == set(example) - optional
    for name, value in example.items():
        if name in ("improvements", "tickets"):
            assert isinstance(answer[name], list)  # nothing fails here
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            assert set(value[0]) <= set(answer[name][0]), name


def test_requests_that_are_shown_are_such() -> None:
    shown = [each for each in OPERATIONS if each.body is not None and "request" in each.examples]
    assert shown
    for each in shown:
        assert each.body is not None
        each.body.model_validate(each.examples["request"])


def test_every_query_and_kind_of_answer_is_described(platform_process: PlatformProcess) -> None:
    paths = platform_process.call("GET", "/openapi.json")[1]["paths"]
    listed = paths["/api/v1/artifacts/{task_id}/versions"]["get"]["parameters"]
    assert [each["name"] for each in listed] == ["task_id", "cursor", "limit"]
    download = paths["/api/v1/artifacts/{task_id}/{version}/download"]["get"]
    assert list(download["responses"]["200"]["content"]) == ["application/zip"]
    assert "text/plain" in paths["/metrics"]["get"]["responses"]["200"]["content"]


def test_the_page_names_every_operation_and_loads_nothing(platform_process: PlatformProcess) -> None:
    status, page, headers = platform_process.call("GET", "/docs", key=" ")
    text = page.decode()
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    for each in OPERATIONS:
        assert each.path in text
    for forbidden in ("<script", "src=", "http://", "https://"):
        assert forbidden not in text


def test_records_of_telemetry_are_counted(platform_process: PlatformProcess, known: dict[str, str]) -> None:
    text = platform_process.call("GET", "/metrics")[1].decode()
    counted = [line for line in text.splitlines() if line.startswith("loopai_central_telemetry_records_total")]
    assert float(counted[0].split()[1]) >= 1


def test_latencies_are_counted_by_operation_and_name_no_task(
    platform_process: PlatformProcess, known: dict[str, str]
) -> None:
    assert platform_process.call("GET", "/api/v1/tasks/nobody-knows-it")[0] == 404
    text = platform_process.call("GET", "/metrics")[1].decode()
    one = 'loopai_central_request_duration_seconds_count{method="GET",path="/api/v1/tasks/{task_id}"}'
    counted = [line for line in text.splitlines() if line.startswith(one)]
    assert float(counted[0].split()[1]) >= 1
    assert "nobody-knows-it" not in text

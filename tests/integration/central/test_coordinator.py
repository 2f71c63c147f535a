"""Failures that deployments report become a better version on the platform, or a ticket."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.central.conftest import PlatformProcess, running
from tests.integration.test_improve import mail
from tests.integration.test_server import SPAM

from loopai_runtime.models import utc_now

ENUM = {"enum": ["spam", "ham"]}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    limits = {"LOOPAI_IMPROVEMENT__MAX_FAILED": "1", "LOOPAI_IMPROVEMENT__MAX_PER_DAY": "1"}
    with running(tmp_path_factory.mktemp("platform") / "data", **limits) as found:
        yield found


def put(platform: PlatformProcess, task_id: str) -> None:
    rng = random.Random(0)
    examples = [mail(rng, n, "win") for n in range(40)]
    spec = {
        "description": "Is the mail spam?", "output_schema": ENUM, "accuracy_target": 0.9,
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "examples": [{"input": value, "output": right} for value, right in examples],
        "generate": {"strategy": "ml"},
    }  # fmt: skip
    status, said, _ = platform.call("PUT", f"/api/v1/tasks/{task_id}", {"description": "mail", "spec": spec})
    assert status == 200, said
    assert platform.upload(task_id, SPAM, output_schema=ENUM, accuracy_target=0.9) == 1


def report(
    platform: PlatformProcess,
    task_id: str,
    rows: list[tuple[dict[str, Any], str]],
    shop: str,
    *,
    strict: bool = False,
) -> None:
    """What an edge says of executions of v1 that were checked."""
    platform.deploy(shop, task_id)
    records: list[dict[str, Any]] = []
    for value, right in rows:
        output, id_ = "spam" if "win" in value["text"] else "ham", str(uuid.uuid4())
        ran = {"execution_id": id_, "status": "success"} | (
            {"input_hash": "7" * 8} if strict else {"input": value}
        )
        both = {"output": output, "oracle_output": right}
        said = {f"{name}_hash": f"h{answer}" for name, answer in both.items()} if strict else both
        match = output == right
        records.append({"kind": "execution", "data": ran})
        records.append(
            {
                "kind": "validation" if match else "failure",
                "data": {"execution_id": id_, "match": match, "pi": 0.2} | said,
            }
        )
    common = {"boot": "00000001-5f0c1a2b", "task_id": task_id, "version": 1, "at": utc_now()}
    numbered = [common | each | {"seq": n} for n, each in enumerate(records, 1)]
    body = {"schema": 1, "deployment_id": shop, "records": numbered}
    status, answer, _ = platform.call("POST", "/api/v1/telemetry", body)
    assert status == 202, answer


def ended(platform: PlatformProcess, task_id: str) -> dict[str, Any]:
    """The first improvement of a task, when it has ended."""
    until = time.monotonic() + 180
    while time.monotonic() < until:
        found = platform.call("GET", f"/api/v1/tasks/{task_id}/improvements")[1]["improvements"]
        if found and found[-1]["ended_at"]:
            row: dict[str, Any] = found[-1]
            return row
        time.sleep(0.2)
    raise AssertionError(b"".join(platform.log).decode())


def events(platform: PlatformProcess, task_id: str) -> list[str]:
    found = platform.call("GET", "/api/v1/audit")[1]["audit"]
    return [each["what"] for each in found if each["facts"].get("task_id") == task_id]


def test_failures_of_two_shops_make_one_better_version(platform: PlatformProcess) -> None:
    put(platform, "mail")
    rng = random.Random(1)
    rows = [mail(rng, n, "crypto") for n in range(1000, 1120)]
    report(platform, "mail", rows[:60], "shop-1")
    report(platform, "mail", rows[60:], "shop-2")
    row = ended(platform, "mail")
    assert (row["state"], row["base"], row["version"]) == ("made", 1, 2), row
    assert platform.call("GET", "/api/v1/artifacts/mail/v2/metadata")[1]["status"] == "validated"
    status, said, _ = platform.call("POST", "/v1/execute/mail", {"input": {"text": "please crypto soon"}})
    assert (status, said["version"], said["output"]) == (200, 1, "ham")  # it does not serve by itself
    assert {"improvement.started", "improvement.finished"} <= set(events(platform, "mail"))
    assert platform.call("GET", "/api/v1/tickets?task_id=mail")[1]["tickets"] == []


@pytest.mark.slow
def test_what_nobody_can_learn_from_is_refused_and_a_ticket_asks_a_person(platform: PlatformProcess) -> None:
    put(platform, "noise")
    rng = random.Random(2)
    rows = [(mail(rng, 2 * n, "")[0], rng.choice(("spam", "ham"))) for n in range(500, 620)]
    report(platform, "noise", rows, "shop-3")
    row = ended(platform, "noise")
    assert row["state"] in ("refused", "missed"), row  # of guesses some come out well, below the target
    (ticket,) = _until(lambda: platform.call("GET", "/api/v1/tickets?status=open&task_id=noise")[1]["tickets"])
    whole = platform.call("GET", f"/api/v1/tickets/{ticket['id']}")[1]
    assert [one["id"] for one in whole["body"]["tried"]] == [row["id"]]
    assert whole["body"]["patterns"][0]["pattern"] == '"ham" instead of "spam"'
    status, done, _ = platform.call("POST", f"/api/v1/tickets/{ticket['id']}/resolve", {"note": "a new oracle"})
    assert (status, done["status"], done["resolution"]) == (200, "resolved", "a new oracle")
    assert {"ticket.opened", "ticket.resolved"} <= set(events(platform, "noise"))
    assert platform.call("POST", "/v1/execute/noise", {"input": {"text": "hi"}})[1]["version"] == 1


def test_without_inputs_the_platform_counts_and_leaves_it_to_the_edges(platform: PlatformProcess) -> None:
    put(platform, "secret")
    rng = random.Random(3)
    report(platform, "secret", [mail(rng, n, "crypto") for n in range(1000, 1080)], "shop-4", strict=True)
    row = ended(platform, "secret")
    assert row["state"] == "left"
    assert "its deployments improve it themselves" in row["reason"]
    assert len(platform.call("GET", "/api/v1/artifacts/secret/versions")[1]["versions"]) == 1


def _until(wanted: Any) -> Any:
    until = time.monotonic() + 60
    while not (found := wanted()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def test_on_request_it_says_what_stands_against_it(platform: PlatformProcess) -> None:
    put(platform, "idle")
    status, said, _ = platform.call("POST", "/api/v1/tasks/idle/improve")
    assert (status, said["detail"]) == (404, "no execution of idle was checked in the last 7 days")


@pytest.mark.slow
def test_the_end_of_the_platform_ends_what_it_was_at(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with running(root) as platform:
        put(platform, "mail")
        rng = random.Random(1)
        report(platform, "mail", [mail(rng, n, "crypto") for n in range(1000, 1120)], "shop-1")
        assert _until(lambda: platform.call("GET", "/api/v1/tasks/mail/improvements")[1]["improvements"])
        platform.process.kill()
    with running(root) as platform:
        assert ended(platform, "mail")["state"] in ("interrupted", "made")

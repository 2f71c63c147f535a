"""Execution on the platform, over real sockets: answers, versions, tenants, rates."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bars import TIMED
from tests.integration.central.conftest import PlatformProcess, running, zipped
from tests.integration.test_server import HANG, RAISES, SCORED, SPAM

from loopai_runtime.flows.bench import percentile, run_load
from loopai_runtime.layout import Layout


@pytest.fixture(scope="module")
def platform(platform_process: PlatformProcess) -> PlatformProcess:
    platform_process.upload("spam", SPAM)
    return platform_process


def execute(platform: PlatformProcess, task: str, text: str = "hi", **more: Any) -> tuple[int, Any]:
    status, body, _ = platform.call("POST", f"/v1/execute/{task}", {"input": {"text": text}}, **more)
    return status, body


def records(platform: PlatformProcess, task: str, tenant: str = "main") -> list[dict[str, Any]]:
    place = Layout(platform.root).tenant(tenant).executions(task)
    return [json.loads(line) for path in sorted(place.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("path", ["/v1/execute/spam", "/api/v1/tasks/spam/execute"])
def test_an_answer_has_the_contracts_members_and_is_kept(platform: PlatformProcess, path: str) -> None:
    status, body, _ = platform.call("POST", path, {"input": {"text": "you win"}})
    assert status == 200, body
    assert (body["output"], body["task_id"], body["version"], body["source"]) == ("spam", "spam", 1, "program")
    kept = records(platform, "spam")[-1]
    assert (kept["execution_id"], kept["output"]) == (body["execution_id"], "spam")


def test_a_batch_answers_each_item_in_order(platform: PlatformProcess) -> None:
    items = [{"input": {"text": "win" if n % 2 else "hi"}, "id": n} for n in range(50)]
    items.insert(25, {"input": {"text": 5}, "id": "bad"})
    status, body, _ = platform.call("POST", "/api/v1/tasks/spam/batch", {"items": items})
    assert status == 200
    assert [line["id"] for line in body["results"]] == [item["id"] for item in items]
    assert body["results"][25]["error"]["type"] == "InputError"
    assert [line["output"] for line in body["results"][:4]] == ["ham", "spam", "ham", "spam"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"input": {"text": 5}}', 422),
        (b'{"input": {"text": "x"}, "more": 1}', 422),
        (b'{"input": {"text": "x"}, "task_id": "other"}', 422),
        (b'{"input": ' + b"[" * 100_000, 400),
    ],
)
def test_bad_input_is_a_problem_that_says_so(platform: PlatformProcess, body: bytes, expected: int) -> None:
    status, said, headers = platform.call("POST", "/v1/execute/spam", body)
    assert status == expected, said
    assert headers["content-type"] == "application/problem+json"


def test_what_is_not_there_is_not_found(platform: PlatformProcess) -> None:
    assert execute(platform, "nothing")[0] == 404
    assert execute(platform, "..%2fspam")[0] in (400, 404)
    assert platform.call("GET", "/api/v1/tasks/nothing/active")[0] == 404


def test_a_key_needs_the_scope(platform: PlatformProcess) -> None:
    _, reader = platform.key("read")
    _, runner = platform.key("execute")
    assert execute(platform, "spam", key=reader)[0] == 403
    assert execute(platform, "spam", key=runner)[0] == 200
    assert execute(platform, "spam", key="lp_no_key")[0] == 401
    status, _, _ = platform.call("PUT", "/api/v1/tasks/spam/active", {"version": 1}, key=runner)
    assert status == 403


def test_programs_that_fail_or_hang_fail_alone(platform: PlatformProcess) -> None:
    platform.upload("raises", RAISES)
    platform.upload("hangs", HANG)
    status, body = execute(platform, "raises")
    assert (status, body["error"]["type"]) == (500, "KeyError")
    done: list[int] = []
    hanging = threading.Thread(target=lambda: done.append(execute(platform, "hangs", "hang")[0]))
    hanging.start()
    assert execute(platform, "spam")[0] == 200
    hanging.join(120)
    assert done == [504]


def test_a_later_version_waits_to_be_chosen(platform: PlatformProcess) -> None:
    assert platform.upload("chosen", "def run(x):\n    return 'one'\n") == 1
    assert execute(platform, "chosen")[1]["output"] == "one"
    assert platform.upload("chosen", "def run(x):\n    return 'two'\n") == 2
    assert execute(platform, "chosen")[1]["version"] == 1
    status, said, _ = platform.call("PUT", "/api/v1/tasks/chosen/active", {"version": 2})
    assert (status, said["previous"]) == (200, 1)
    assert execute(platform, "chosen")[1]["output"] == "two"
    status, said, _ = platform.call("GET", "/api/v1/tasks/chosen/active")
    assert (said["version"], said["input_schema"]["required"]) == (2, ["text"])
    for wrong, expected in ((3, 404), (0, 422), ("2", 422), (2**70, 422)):
        assert platform.call("PUT", "/api/v1/tasks/chosen/active", {"version": wrong})[0] == expected


def test_a_deprecated_version_makes_room_for_the_newest(platform: PlatformProcess) -> None:
    for n in (1, 2, 3):
        platform.upload("old", f"def run(x):\n    return '{n}'\n")
    assert execute(platform, "old")[1]["version"] == 1
    status, _, _ = platform.call("POST", "/api/v1/artifacts/old/v1/deprecate", {"reason": "wrong"})
    assert status == 200
    assert execute(platform, "old")[1]["version"] == 3
    for n in (2, 3):
        platform.call("POST", f"/api/v1/artifacts/old/v{n}/deprecate", {"reason": "wrong"})
    assert execute(platform, "old")[0] == 404


def test_a_draft_cannot_serve(platform: PlatformProcess) -> None:
    platform.upload("draft", SPAM, accuracy={"value": 0.1})
    status, said = execute(platform, "draft")
    assert status == 404, said
    assert platform.call("PUT", "/api/v1/tasks/draft/active", {"version": 1})[0] == 409


def test_versions_switch_under_load_without_a_failed_request(platform: PlatformProcess) -> None:
    for n in (1, 2):
        platform.upload("switch", f"def run(x):\n    return 'v{n}'\n")
    stop = threading.Event()
    seen: list[tuple[int, Any]] = []

    def work() -> None:
        while not stop.is_set():
            status, body = execute(platform, "switch")
            seen.append((status, body.get("output")))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for n in (2, 1, 2, 1, 2):
        assert platform.call("PUT", "/api/v1/tasks/switch/active", {"version": n})[0] == 200
        time.sleep(0.1)
    stop.set()
    for worker in workers:
        worker.join()
    assert {status for status, _ in seen} == {200}
    assert {output for _, output in seen} == {"v1", "v2"}


def test_the_same_key_and_body_executes_once(platform: PlatformProcess) -> None:
    platform.upload("once", SPAM)
    first = execute(platform, "once", idempotency_key="k1")[1]
    assert execute(platform, "once", idempotency_key="k1")[1] == first
    assert len(records(platform, "once")) == 1
    assert execute(platform, "once", "other", idempotency_key="k1")[0] == 422


def test_a_key_executes_no_more_than_its_rate_items_of_a_batch_included(platform: PlatformProcess) -> None:
    _, slow = platform.key("execute", rate_per_minute=2)
    first = [execute(platform, "spam", key=slow)[0] for _ in range(3)]
    assert first[0] == 200
    assert 429 in first
    _, other = platform.key("execute", rate_per_minute=20)
    items = [{"input": {"text": "hi"}}] * 100
    assert platform.call("POST", "/api/v1/tasks/spam/batch", {"items": items}, key=other)[0] == 200
    status, _, headers = platform.call("POST", "/v1/execute/spam", {"input": {"text": "hi"}}, key=other)
    assert status == 429
    assert int(headers["retry-after"]) > 30
    assert execute(platform, "spam")[0] == 200


@pytest.fixture
def two_tenants(platform: PlatformProcess) -> tuple[PlatformProcess, str]:
    """The platform, and the admin key of a second tenant."""
    return platform, second_tenant(platform)


def second_tenant(platform: PlatformProcess, name: str = "other") -> str:
    from loopai_runtime.central.access import Keys, Scope
    from loopai_runtime.central.db.database import Database
    from loopai_runtime.central.db.tables import tenants

    db = Database(f"sqlite:///{platform.root}/central/central.db")
    with db.write() as connection:
        row = {"id": name, "name": name, "created_at": "2026-11-25T00:00:00Z"}
        connection.execute(db.insert_new(tenants), row)
    _, key = Keys(db).create(name, "admin", [Scope.ADMIN], by="operator")
    db.close()
    return key


def test_two_tenants_have_a_task_of_one_name_and_each_its_own(two_tenants: tuple[PlatformProcess, str]) -> None:
    platform, other = two_tenants
    platform.upload("same", "def run(x):\n    return 'mine'\n")
    assert execute(platform, "same", key=other)[0] == 404
    assert platform.call("PUT", "/api/v1/tasks/same/active", {"version": 1}, key=other)[0] == 404
    platform.upload("same", "def run(x):\n    return 'theirs'\n", key=other)
    for _ in range(20):
        assert execute(platform, "same")[1]["output"] == "mine"
        assert execute(platform, "same", key=other)[1]["output"] == "theirs"
    assert {record["output"] for record in records(platform, "same")} == {"mine"}
    assert {record["output"] for record in records(platform, "same", "other")} == {"theirs"}
    # the same Idempotency-Key of another tenant is another request
    assert execute(platform, "same", idempotency_key="k")[1]["output"] == "mine"
    assert execute(platform, "same", idempotency_key="k", key=other)[1]["output"] == "theirs"


def test_a_tenant_whose_program_hangs_keeps_nobody_else_waiting(two_tenants: tuple[PlatformProcess, str]) -> None:
    platform, other = two_tenants
    platform.upload("stuck", HANG, key=other)
    stop = threading.Event()

    def hang() -> None:
        while not stop.is_set():
            execute(platform, "stuck", "hang", key=other)

    hanging = [threading.Thread(target=hang) for _ in range(8)]
    for thread in hanging:
        thread.start()
    try:
        time.sleep(2.5)  # two of its time-outs
        port = int(platform.url.rpartition(":")[2])
        inputs = [{"text": "hi"}]
        key = platform.key("execute")[1]
        load = run_load("127.0.0.1", port, "spam", inputs, rate=50, seconds=3, connections=8, api_key=key)
    finally:
        stop.set()
        for thread in hanging:
            thread.join()
    assert set(load.statuses) == {200}
    assert not TIMED or percentile(load.latencies_ms, 0.5) < 100


def test_what_a_program_abstains_on_asks_no_oracle(platform: PlatformProcess) -> None:
    abstain = {"target_accuracy": 0.9, "confidence": 0.9, "threshold": 0.9, "on_abstain": "defer"}
    platform.upload("unsure", SCORED, abstain=abstain)
    status, body = execute(platform, "unsure")
    assert (status, body["output"], body["abstained"], body["source"]) == (200, None, True, "none")


def test_a_restart_serves_what_served_and_goes_on(tmp_path: Path) -> None:
    with running(tmp_path / "data") as platform:
        platform.upload("spam", SPAM)
        platform.upload("spam", "def run(x):\n    return 'two'\n")
        platform.call("PUT", "/api/v1/tasks/spam/active", {"version": 2})
        assert execute(platform, "spam")[1]["output"] == "two"
        platform.process.kill()
        platform.process.wait()
    with running(tmp_path / "data") as platform:
        assert execute(platform, "spam")[1]["output"] == "two"
        assert len(records(platform, "spam")) == 2
        platform.process.terminate()
        assert platform.process.wait(60) == 0


def test_what_is_unpacked_is_a_copy(tmp_path: Path) -> None:
    """Without it the platform unpacks again from what it stored."""
    import shutil

    with running(tmp_path / "data") as platform:
        platform.upload("spam", SPAM)
        assert execute(platform, "spam")[0] == 200
    shutil.rmtree(tmp_path / "data" / "central" / "tenants" / "main" / "artifacts")
    with running(tmp_path / "data") as platform:
        assert execute(platform, "spam")[0] == 200


def test_zipped_is_what_export_writes() -> None:
    assert zipped("spam", SPAM).startswith(b"PK\x03\x04")

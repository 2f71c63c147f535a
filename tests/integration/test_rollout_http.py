"""Rollouts over the edge's HTTP and on its metrics; the platform's request to abort, obeyed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.layout import Layout
from loopai_runtime.rollouts import load

from .test_server import SPAM, Server, add, serving

OTHER = SPAM.replace("'win'", "'prize'")
JSON = {"content-type": "application/json"}
AT = "/api/v1/tasks/spam/rollout"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    layout = Layout(tmp_path)
    add(layout, "spam", SPAM)
    add(layout, "spam", OTHER, activate=False)
    with serving(tmp_path) as server:
        yield server


def post(server: Server, verb: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    status, found, _ = server.call("POST", f"{AT}/{verb}", body, JSON if headers is None else headers)
    return status, found


def metrics(server: Server) -> dict[str, float]:
    lines = server.call("GET", "/metrics")[1].splitlines()
    return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if x[0] != "#")}


def test_a_rollout_over_http_from_its_start_to_its_end(server: Server) -> None:
    assert server.call("GET", AT)[0] == 404
    status, begun = post(server, "start", {"version": 2})
    assert (status, begun["candidate"], begun["incumbent"]) == (201, 2, 1)
    assert post(server, "start", {"version": 2})[0] == 503
    assert post(server, "promote", {"reason": "try it"})[1]["stage"] == 10
    status, found, _ = server.call("GET", f"{AT}?disagreements=5")
    assert (status, found["state"], found["stage"]) == (200, "running", 10)
    assert found["evidence"]["next"] == "hold"
    said = metrics(server)
    assert said['loopai_canary_deployment_status{state="running",task_id="spam",version="2"}'] == 1
    assert said['loopai_rollout_stage{task_id="spam"}'] == 10
    status, ended = post(server, "abort", {"reason": "seen enough"})
    assert (status, ended["state"], ended["reason"]) == (200, "aborted", "seen enough")
    assert [change["by"] for change in ended["history"]] == ["http"] * 3
    assert post(server, "abort", {"reason": "again"})[0] == 400
    said = metrics(server)
    assert said['loopai_rollout_transitions_total{event="aborted",task_id="spam"}'] == 1
    assert said['loopai_ab_tests_total{task_id="spam"}'] == 1


REFUSED: list[tuple[str, Any, int]] = [
    ("start", {"version": 9}, 404),
    ("start", {"version": 1}, 400),
    ("start", {"version": "2"}, 422),
    ("start", {"version": 0}, 422),
    ("start", {}, 422),
    ("start", {"version": 2, "force": True}, 422),
    ("start", b"{", 400),
    ("start", b"", 400),
    ("start", b"[" * 70_000, 413),
    ("promote", {"reason": "x"}, 404),
    ("abort", {"reason": ""}, 422),
    ("abort", {"reason": "x" * 501}, 422),
    ("abort", [], 422),
    ("other", {}, 404),
]


def test_what_cannot_be_is_refused_as_a_problem_and_a_page_changes_nothing_unasked(server: Server) -> None:
    for verb, body, status in REFUSED:
        found = post(server, verb, body)
        assert (found[0], found[1]["status"]) == (status, status), (verb, body)
    for kind in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        assert post(server, "start", {"version": 2}, kind)[0] == 415
    assert server.call("GET", f"{AT}/start")[0] == 405
    assert server.call("GET", f"{AT}?disagreements=-1")[0] == 400
    assert load(server.layout, "spam") is None


def test_a_key_is_asked_for_as_elsewhere(tmp_path: Path) -> None:
    from loopai_runtime.http.keys import KeysFile

    layout = Layout(tmp_path)
    add(layout, "spam", SPAM)
    add(layout, "spam", OTHER, activate=False)
    _, key = KeysFile(tmp_path / "keys.json").create("ops")
    with serving(tmp_path, LOOPAI_SERVER__KEYS_FILE=str(tmp_path / "keys.json")) as server:
        assert post(server, "start", {"version": 2})[0] == 401
        assert server.call("GET", AT)[0] == 401
        bearer = {"authorization": f"Bearer {key}"}
        assert post(server, "start", {"version": 2}, JSON | bearer)[0] == 201
        assert server.call("GET", AT, headers=bearer)[0] == 200


def test_of_many_that_start_one_at_once_one_does(server: Server) -> None:
    found: list[int] = []
    callers = [
        threading.Thread(target=lambda: found.append(post(server, "start", {"version": 2})[0])) for _ in range(8)
    ]
    for each in callers:
        each.start()
    for each in callers:
        each.join(60)
    assert sorted(found) == [201] + [503] * 7


def test_openapi_has_a_rollouts_paths_for_each_task(server: Server) -> None:
    paths = server.call("GET", "/openapi.json")[1]["paths"]
    assert {path for path in paths if "rollout" in path} == {
        AT,
        *(f"{AT}/{v}" for v in ("start", "promote", "abort")),
    }
    assert paths[f"{AT}/abort"]["post"]["requestBody"]["content"]["application/json"]["schema"]["required"] == [
        "reason"
    ]
    names = [each["operationId"] for path in paths.values() for each in path.values()]
    assert len(set(names)) == len(names)

"""The platform writes a program: of what was uploaded, and of nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bars import within
from tests.integration.central.conftest import PlatformProcess, running
from tests.integration.conftest import EXAMPLES, Loopai

from loopai_runtime import ledger, yamldoc
from loopai_runtime.layout import Layout
from loopai_runtime.testing import ScriptedLLM

WORDS = {"a": "one", "b": "two", "c": "three", "d": "four"}
ROWS = [{"input": {"text": f"{letter}{n}"}, "output": word} for letter, word in WORDS.items() for n in range(6)]
SPEC: dict[str, Any] = {
    "description": "Name the letter that a text begins with",
    "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    "output_schema": {"type": "string", "enum": list(WORDS.values())},
    "generate": {"strategy": "rule"},
}


def put(platform: PlatformProcess, task_id: str, **changes: Any) -> str:
    spec = SPEC | changes
    status, said, _ = platform.call("PUT", f"/api/v1/tasks/{task_id}", {"description": "by hand", "spec": spec})
    assert status == 200, said
    return f"/api/v1/tasks/{task_id}/generate"


def ended(platform: PlatformProcess, location: str) -> dict[str, Any]:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        status, row, _ = platform.call("GET", location)
        assert status == 200, row
        if row["state"] in ("done", "failed"):
            found: dict[str, Any] = row
            return found
        time.sleep(0.1)
    raise AssertionError("it does not end")


def test_a_program_is_written_published_and_pulled(platform_process: PlatformProcess, tmp_path: Path) -> None:
    at = put(platform_process, "letters", examples=ROWS[:12])
    status, row, headers = platform_process.call("POST", at, {"examples": ROWS[12:]})
    assert (status, row["state"]) == (202, "queued")
    assert headers["location"] == f"/api/v1/tasks/letters/generations/{row['id']}"
    row = ended(platform_process, headers["location"])
    assert (row["state"], row["version"], row["error"]) == ("done", 1, None)
    about = platform_process.call("GET", "/api/v1/artifacts/letters/v1/metadata")[1]
    assert about["metadata"]["judged"]["sources"]
    assert about["status"] == row["status"]

    edge = Loopai(tmp_path / "edge")
    place = ("--url", platform_process.url, "--api-key", platform_process.admin_key)
    assert edge("pull", "letters", *place).code == 0
    assert edge("run", "letters@1", '{"text": "c9"}').out == '"three"\n'
    assert not list(platform_process.root.joinpath("central", "generations").iterdir())


def test_without_a_body_the_examples_of_the_specification_are_all_there_is(
    platform_process: PlatformProcess,
) -> None:
    at = put(platform_process, "bare", examples=ROWS)
    status, _, headers = platform_process.call("POST", at)
    assert status == 202
    assert ended(platform_process, headers["location"])["state"] == "done"


def test_what_cannot_be_learnt_says_why(platform_process: PlatformProcess) -> None:
    at = put(platform_process, "wrong", examples=[{"input": {"text": "x"}, "output": "no such label"}] * 8)
    _, _, headers = platform_process.call("POST", at)
    row = ended(platform_process, headers["location"])
    assert (row["state"], row["version"]) == ("failed", None)
    assert "no such label" in row["error"]
    assert str(platform_process.root) not in row["error"]


def test_one_is_written_at_a_time_for_a_task(platform_process: PlatformProcess) -> None:
    at = put(platform_process, "busy", examples=ROWS)
    answers = [platform_process.call("POST", at) for _ in range(3)]
    assert [status for status, _, _ in answers] == [202, 409, 409]
    assert answers[0][1]["id"] in answers[1][1]["detail"]
    assert ended(platform_process, answers[0][2]["location"])["state"] == "done"
    assert platform_process.call("POST", at)[0] == 202


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"examples_from": [{"file": "/etc/passwd"}]}, "$.spec.examples_from"),
        ({"examples_from": [{"file": "examples.jsonl"}]}, "$.spec.examples_from"),
        ({"unlabelled_from": [{"file": "/etc/shadow"}]}, "$.spec.unlabelled_from"),
        ({"generate": {"model": "gpt-4o", "api_base": "http://169.254.169.254/"}}, "$.spec.generate"),
        ({"generate": {"strategy": "llm"}}, "$.spec.generate"),
        ({"name": "another"}, "$.spec.name"),
        ({"examples": [1, 2]}, "$.spec.examples"),
        ({"examples": "all"}, "$.spec.examples"),
        ({"input_schema": {"type": "nonsense"}}, None),
        ({"colour": "green"}, None),
        ({"accuracy_target": 7}, None),
    ],
)  # fmt: skip
def test_what_names_a_place_or_is_no_specification_is_refused(
    platform_process: PlatformProcess, changes: dict[str, Any], path: str | None
) -> None:
    at = put(platform_process, "refused", **({"examples": ROWS} | changes))
    status, said, _ = platform_process.call("POST", at)
    assert status == 422, said
    assert said.get("path") == path


def test_an_oracle_that_would_run_a_command_is_left_out(platform_process: PlatformProcess, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    at = put(platform_process, "trap", examples=ROWS, oracle={"kind": "command", "command": ["touch", str(trap)]})
    _, _, headers = platform_process.call("POST", at)
    assert ended(platform_process, headers["location"])["state"] == "done"
    assert not trap.exists()


def test_who_asks_for_what_is_not_there_is_told(platform_process: PlatformProcess) -> None:
    assert platform_process.call("POST", "/api/v1/tasks/none-such/generate")[0] == 404
    platform_process.call("PUT", "/api/v1/tasks/empty", {"description": "x"})
    status, said, _ = platform_process.call("POST", "/api/v1/tasks/empty/generate")
    assert (status, "has no specification" in said["detail"]) == (422, True)
    assert platform_process.call("GET", "/api/v1/tasks/empty/generations/none")[0] == 404
    _, reader = platform_process.key("read")
    assert platform_process.call("POST", "/api/v1/tasks/empty/generate", key=reader)[0] == 403


def test_a_killed_platform_says_what_it_did_not_end(tmp_path: Path) -> None:
    root = tmp_path / "data"
    spec = yamldoc.parse((EXAMPLES / "spam" / "spec.yaml").read_text(), "spec").data
    for name in ("examples_from", "unlabelled_from", "name"):
        spec.pop(name, None)
    rows = [{"input": {"text": f"{label} {n}"}, "output": label} for label in ("spam", "ham") for n in range(200)]
    with running(root) as platform:
        platform.call("PUT", "/api/v1/tasks/spam", {"description": "x", "spec": spec | {"examples": rows}})
        _, _, headers = platform.call("POST", "/api/v1/tasks/spam/generate")
        wait_for(lambda: platform.call("GET", headers["location"])[1]["state"] == "running")
        platform.process.kill()
        platform.process.wait()
    with running(root) as platform:
        row = platform.call("GET", headers["location"])[1]
        assert (row["state"], "ask again" in row["error"]) == ("failed", True), json.dumps(row)
        status, _, headers = platform.call("POST", "/api/v1/tasks/spam/generate")
        assert status == 202
        wait_for(lambda: platform.call("GET", headers["location"])[1]["state"] == "running")
        with within(10):
            platform.process.terminate()
            assert platform.process.wait(60) == 0


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 90
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_model_that_the_operator_names_takes_part_and_is_paid_from_the_platforms_ledger(tmp_path: Path) -> None:
    code = (
        f"def answer(input_data):\n    return {WORDS!r}.get(input_data['text'][:1], 'one'), 0.9, 'first letter'\n"
    )
    with ScriptedLLM([f"```python\n{code}```"]) as llm:
        model = {"LOOPAI_LLM__MODEL": "openai/gpt-4o-mini", "LOOPAI_LLM__API_BASE": llm.api_base}
        with running(tmp_path / "platform", **model) as platform:
            elsewhere = {"strategy": "auto", "api_base": "http://169.254.169.254/", "send": "full"}
            at = put(platform, "letters", examples=ROWS, generate=elsewhere)
            row = ended(platform, platform.call("POST", at)[2]["location"])
            assert (row["state"], row["error"]) == ("done", None)
            made = platform.call("GET", "/api/v1/artifacts/letters/v1/metadata")[1]["metadata"]
    assert len(llm.requests) >= 6  # one for each of the programs
    assert made["generation_cost"] > 0
    spent = [entry.usd for entry in ledger.read(Layout(tmp_path / "platform")) if entry.task_id == "letters"]
    assert sum(spent) == pytest.approx(made["generation_cost"])

"""What a program abstains on goes to the oracle: over HTTP and on the command line, with real services."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bars import TIMED, within

from loopai_runtime.layout import Layout
from loopai_runtime.models import AbstainThreshold
from loopai_runtime.testing import ScriptedLLM, ScriptedOracle

from .conftest import Loopai
from .test_server import SCORED, add, serving

DEFER = AbstainThreshold(threshold=0.9, target_accuracy=0.9, confidence=0.95, on_abstain="defer")


def shout(body: Any) -> tuple[int, Any]:
    return 200, {"output": body["input"]["text"].upper()}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A data directory with a task whose program is sure of what says so."""
    made = Layout(tmp_path / "data")
    add(made, "mail", SCORED, abstain=DEFER)
    return made


def spec(layout: Layout, **oracle: Any) -> None:
    """The task's specification, as `generate` keeps it."""
    text = {
        "name": "mail",
        "description": "Say it loud.",
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "output_schema": {"type": "string"},
        "oracle": oracle,
    }
    layout.task("mail").mkdir(parents=True, exist_ok=True)
    layout.spec("mail").write_text(json.dumps(text))


def test_an_abstained_input_is_answered_by_the_oracle_and_becomes_a_label(layout: Layout) -> None:
    with ScriptedOracle(shout) as oracle:
        spec(layout, kind="http", url=oracle.url)
        with serving(layout.root) as server:
            status, body = server.execute("mail", "hello")
            sure = server.execute("mail", "x", sure=1.0)[1]
            items = [{"input": {"text": "a"}, "id": 1}, {"input": {"text": "b", "sure": 1.0}}]
            batch = server.call("POST", "/api/v1/tasks/mail/batch", {"items": items})[1]["results"]
            metrics = server.call("GET", "/metrics")[1]
    assert status == 200
    assert (body["output"], body["source"], body["abstained"]) == ("HELLO", "oracle", True)
    assert (sure["output"], sure["source"], sure["abstained"]) == ("spam", "program", False)
    assert [(line["output"], line.get("source")) for line in batch] == [("A", "oracle"), ("spam", None)]
    records = {json.dumps(record["input"]): record for record in server.records("mail")}
    assert records['{"text": "hello"}']["output"] == "HELLO"
    assert records['{"text": "hello"}']["source"] == "oracle"
    assert len(records) == 4
    labels = lines(layout.labels("mail"))
    assert {(label["input"]["text"], label["output"], label["source"]) for label in labels} == {
        ("hello", "HELLO", "oracle"),
        ("a", "A", "oracle"),
    }
    assert labels[0]["execution_id"] == body["execution_id"]
    assert not lines(layout.queue("mail"))
    assert 'loopai_deferred_total{task_id="mail",version="1"} 2.0' in metrics
    assert oracle.asked[0] == {"input": {"text": "hello"}}


def test_an_edge_without_a_specification_asks_the_oracle_of_its_deployment(layout: Layout) -> None:
    with ScriptedLLM(lambda body: json.dumps("from the model")) as llm:
        deployment = {
            "LOOPAI_ORACLE__KIND": "openai",
            "LOOPAI_ORACLE__URL": llm.api_base,
            "LOOPAI_ORACLE__MODEL": "small",
            "LOOPAI_ORACLE__API_KEY": "sk-1234",
        }
        with serving(layout.root, **deployment) as server:
            body = server.execute("mail", "write to anna@example.com")[1]
    assert (body["output"], body["source"]) == ("from the model", "oracle")
    assert llm.requests[0].headers["authorization"] == "Bearer sk-1234"
    assert "anna@example.com" in llm.requests[0].prompt  # nothing leaves this machine
    (audited,) = [line for path in layout.audit.glob("*.jsonl") for line in lines(path)]
    assert audited["kind"] == "oracle.send"
    assert (audited["send"], audited["task_id"], audited["purpose"]) == ("full", "mail", "defer")
    assert "sk-1234" not in json.dumps(audited)


@pytest.fixture
def hanging() -> Iterator[ScriptedOracle]:
    """An oracle that takes a request and says nothing until the test is over."""
    over = threading.Event()
    with ScriptedOracle(lambda body: (over.wait(300) and 200, {"output": "late"})) as oracle:
        yield oracle
        over.set()


def test_an_oracle_that_hangs_holds_up_nobody_else(layout: Layout, hanging: ScriptedOracle) -> None:
    spec(layout, kind="http", url=hanging.url, max_wait_s=2.0, concurrency=2)
    with serving(layout.root) as server:
        waiting: list[tuple[float, Any]] = []

        def unsure(number: int) -> None:
            started = time.monotonic()
            body = server.execute("mail", f"unsure {number}")[1]
            waiting.append((time.monotonic() - started, body))

        threads = [threading.Thread(target=unsure, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        while len(hanging.asked) < 2:
            time.sleep(0.005)
        took = []
        for _ in range(100):
            started = time.monotonic()
            assert server.execute("mail", "x", sure=1.0)[1]["output"] == "spam"
            took.append(time.monotonic() - started)
        for thread in threads:
            thread.join(120)
        assert server.call("GET", "/readyz")[0] == 200
    assert not TIMED or sorted(took)[90] < 0.25
    assert len(hanging.asked) == 2
    assert all(seconds > 1.5 for seconds, _ in waiting)
    assert not TIMED or all(seconds < 6 for seconds, _ in waiting)
    assert all((body["output"], body["source"], body["abstained"]) == (None, "none", True) for _, body in waiting)
    queued = lines(layout.queue("mail"))
    assert len(queued) == 12
    assert queued[0]["output"] == "spam"
    assert queued[0]["source"] == "abstained"


def test_an_oracle_that_is_down_costs_no_request_its_answer(layout: Layout) -> None:
    spec(layout, kind="http", url="http://127.0.0.1:9/", max_wait_s=1.0)
    with serving(layout.root) as server:
        for number in range(8):
            status, body = server.execute("mail", f"x {number}")
            assert (status, body["output"], body["source"]) == (200, None, "none")
        with within(0.5):
            server.execute("mail", "left alone by now")
    assert len(lines(layout.queue("mail"))) == 9


def test_an_answer_that_is_on_its_way_is_waited_for_at_the_end(layout: Layout) -> None:
    asked, go = threading.Event(), threading.Event()

    def slowly(body: Any) -> tuple[int, Any]:
        asked.set()
        go.wait(120)
        return shout(body)

    with ScriptedOracle(slowly) as oracle:
        spec(layout, kind="http", url=oracle.url, max_wait_s=120)
        with serving(layout.root) as server:
            answers: list[Any] = []
            thread = threading.Thread(target=lambda: answers.append(server.execute("mail", "bye")[1]))
            thread.start()
            assert asked.wait(120)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            go.set()
            thread.join(120)
            assert server.process.wait(120) == 0
    assert answers[0]["output"] == "BYE"
    assert server.records("mail")[0]["source"] == "oracle"


def test_a_wrong_oracle_is_said_and_the_task_is_served(layout: Layout) -> None:
    spec(layout, kind="http", model="m")
    with serving(layout.root) as server:
        assert server.execute("mail", "x")[1]["source"] == "none"
        assert server.execute("mail", "x", sure=1.0)[1]["source"] == "program"


# --- on the command line ---------------------------------------------------------------------------------------


def test_run_defers_one_input_and_a_file_of_them(layout: Layout) -> None:
    loopai = Loopai(layout.root)
    with ScriptedOracle(shout) as oracle:
        spec(layout, kind="http", url=oracle.url)
        one = loopai("run", "mail", '{"text": "hello"}')
        assert (one.code, one.json) == (0, "HELLO"), one.err
        assert "oracle http 127.0.0.1" in one.err
        assert "as they are (oracle.send: full)" in one.err
        detailed = loopai("run", "mail", '{"text": "hello"}', "--details").json
        assert (detailed["output"], detailed["source"]) == ("HELLO", "oracle")
        assert len(oracle.asked) == 1  # from the cache
        rows = [{"text": f"t{n}"} if n % 3 else {"text": f"t{n}", "sure": 1.0} for n in range(60)]
        many = loopai("run", "mail", "--file", "-", stdin="".join(json.dumps(row) + "\n" for row in rows))
        assert loopai("run", "mail", '{"text": "unseen"}', "--no-record").json is None
    assert many.code == 0, many.err
    assert [line["output"] for line in many.lines] == [f"T{n}" if n % 3 else "spam" for n in range(60)]
    assert [line.get("source") for line in many.lines] == ["oracle" if n % 3 else None for n in range(60)]
    assert len(lines(layout.labels("mail"))) == 42


def test_a_day_budget_is_kept_to(layout: Layout) -> None:
    loopai = Loopai(layout.root)
    with ScriptedOracle(shout) as oracle:
        spec(layout, kind="http", url=oracle.url, usd_per_call=0.01, max_usd_per_day=0.05)
        outputs = [loopai("run", "mail", json.dumps({"text": f"n{n}"})).json for n in range(2)]
        rows = "".join(json.dumps({"text": f"m{n}"}) + "\n" for n in range(10))
        outputs += [line["output"] for line in loopai("run", "mail", "--file", "-", stdin=rows).lines]
        assert len(oracle.asked) == 5
    assert sum(output is not None for output in outputs) == 5
    assert len(lines(layout.queue("mail"))) == 7


def test_litellm_is_loaded_only_where_the_oracle_is_of_kind_llm(layout: Layout) -> None:
    """By name, in the process that runs."""
    code = (
        "import sys\n"
        "from loopai_runtime.cli.main import run_line\n"
        "code = run_line(['run', sys.argv[1], '{\"text\": \"x\"}'])\n"
        "print(code, 'litellm' in sys.modules, 'httpx' in sys.modules)\n"
        "import loopai_runtime.edge.server, loopai_runtime.flows.serve\n"
        "print('litellm' in sys.modules)\n"
    )

    def run(task: str = "mail") -> list[str]:
        environment = Loopai(layout.root).environment()
        done = subprocess.run(
            [sys.executable, "-c", code, task], capture_output=True, env=environment, timeout=300
        )
        return done.stdout.decode().splitlines()

    add(layout, "plain", SCORED)
    assert run("plain") == ['"spam"', "0 False False", "False"]
    with ScriptedLLM(['"yes"']) as llm:
        spec(layout, kind="openai", url=llm.api_base, model="m")
        assert run() == ['"yes"', "0 False True", "False"]
        spec(layout, kind="llm", url=llm.api_base, model="openai/m")
        assert run()[:2] == ['"yes"', "0 True True"]

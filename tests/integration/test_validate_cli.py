"""`loopai validate`: sampled executions put to oracles of every kind, and oracles to the gold labels."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bars import SOAK, within

from loopai_runtime.config import Config
from loopai_runtime.datasets import labels
from loopai_runtime.datasets.live_log import LiveLog
from loopai_runtime.edge import upkeep
from loopai_runtime.files import make_dir
from loopai_runtime.layout import Layout
from loopai_runtime.testing import ScriptedLLM, ScriptedOracle

from .conftest import Done, Loopai, in_process
from .test_server import SPAM, add

ENUM = {"enum": ["spam", "ham"]}


def truth(value: dict[str, Any]) -> str:
    """Right on what the program is right on, and on offers, which it lets through."""
    return "spam" if "win" in value["text"] or "offer" in value["text"] else "ham"


def text_of(body: dict[str, Any]) -> dict[str, Any]:
    """The input that a model was asked about."""
    user = [m["content"] for m in body["messages"] if m["role"] == "user" and m["content"].startswith("<input")][
        -1
    ]
    found: dict[str, Any] = json.loads(user.split("\n")[1])
    return found


class Task:
    """A task with a version and a log of executions, of which a share was sampled."""

    def __init__(self, root: Path, **oracle: Any) -> None:
        self.layout = Layout(root)
        self.loopai = Loopai(root)
        add(self.layout, "mail", SPAM, output_schema=ENUM)
        if oracle:
            self.spec(**oracle)

    def spec(
        self, *, examples: list[Any] | None = None, compare: Any = None, schema: Any = None, **oracle: Any
    ) -> None:
        text = {
            "name": "mail",
            "description": "Is the mail spam?",
            "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "output_schema": schema or ENUM,
            "oracle": oracle,
        } | ({"compare": compare} if compare else {})
        make_dir(self.layout.task("mail"))
        self.layout.spec("mail").write_text(json.dumps(text))
        rows = [{"input": value, "output": truth(value)} for value in examples or []]
        self.layout.examples("mail").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def log(self, count: int, day: str = "2026-11-20", *, version: int = 1, first: int = 0, **more: Any) -> None:
        """Executions, each tenth of which the program got wrong."""
        lines = []
        for n in range(first, first + count):
            word = "offer" if n % 10 == 0 else ("win" if n % 2 else "lunch")
            record = {
                "schema": 1, "execution_id": f"{day}-{n}", "task_id": "mail", "version": version,
                "input": {"text": f"{word} {n}"}, "output": "spam" if word == "win" else "ham", "source": "program",
                "status": "success", "latency_ms": 0.1, "timestamp": f"{day}T10:00:00Z", "sampled": True, "pi": 0.05,
                "deployment_id": "edge-1",
            }  # fmt: skip
            lines.append(json.dumps(record | more) + "\n")
        path = self.layout.executions("mail", day)
        make_dir(path.parent)
        with path.open("a") as file:
            file.writelines(lines)

    def validations(self) -> list[dict[str, Any]]:
        paths = sorted(self.layout.validations("mail").glob("sampled-*.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    def run(self, *args: object, **env: str) -> Done:
        """`loopai validate mail`, in this process: most of what is tested takes less than an interpreter to start."""
        return in_process(self.layout.root, "validate", "mail", "-o", "json", *args, **env)


def script(tmp_path: Path, code: str = "") -> list[str]:
    path = tmp_path / "oracle.py"
    path.write_text(
        "import json, sys\n"
        + code
        + "\nfor line in sys.stdin:\n"
        + "    text = json.loads(line)['text']\n"
        + "    print(json.dumps('spam' if 'win' in text or 'offer' in text else 'ham'))\n"
    )
    return [sys.executable, str(path)]


def test_each_sampled_execution_is_asked_about_once_and_recorded(tmp_path: Path) -> None:
    with ScriptedOracle(lambda body: (200, {"output": truth(body["input"])})) as oracle:
        task = Task(tmp_path / "data", kind="http", url=oracle.url, usd_per_call=0.001)
        task.log(30)
        task.log(20, "2026-11-21", first=100)
        task.log(5, first=200, sampled=False)
        task.log(5, first=300, abstained=True, output=None, source="none")
        task.log(5, first=400, status="error", output=None)
        task.log(5, first=500, abstained=True, source="oracle")
        first = task.run("--limit", 25)
        assert first.code == 0, first.err
        assert (first.json["asked"], first.json["judged"]) == (25, 25)
        assert {record["execution_id"][:10] for record in task.validations()} == {"2026-11-21", "2026-11-20"}
        assert len([r for r in task.validations() if r["execution_id"].startswith("2026-11-21")]) == 20
        second = task.run()
        assert second.json["asked"] == 25
        assert task.run().json["asked"] == 0
        assert len(oracle.asked) == 50
    found = second.json["accuracy"]
    assert (found["value"], found["n"]) == (0.9, 50)
    assert found["low"] < 0.9 < found["high"]
    assert second.json["usd"] == pytest.approx(0.025)
    record = next(r for r in task.validations() if not r["match"])
    assert (record["output"], record["oracle_output"], record["similarity_score"]) == ("ham", "spam", 0.0)
    assert (record["oracle_cost"], record["pi"], record["comparison_method"]) == (0.001, 0.05, "exact")
    assert record["oracle"].startswith("http 127.0.0.1:")
    day = [json.loads(line) for line in task.layout.validations("mail", "2026-11-21").read_text().splitlines()]
    assert all(r["execution_id"].startswith("2026-11-21") for r in day)


def test_the_gate_is_on_the_version_that_serves(tmp_path: Path) -> None:
    task = Task(tmp_path / "data", kind="command", command=script(tmp_path))
    add(task.layout, "mail", SPAM, output_schema=ENUM)
    task.log(40)  # v1: 90 %
    task.log(10, "2026-11-21", version=2, output="spam", input={"text": "win"})
    assert task.run("--fail-under", "0.95").code == 0
    old = task.loopai("validate", "mail@1", "--fail-under", "0.95", "-o", "json")
    assert (old.code, old.json["accuracy"]["value"]) == (3, 0.9)
    assert "the accuracy is 90.0%, below the 95.0% asked for" in old.err
    assert task.loopai("validate", "mail@7").code == 5


def test_nothing_to_judge_on_is_a_gate_missed(tmp_path: Path) -> None:
    task = Task(tmp_path / "data", kind="command", command=script(tmp_path))
    done = task.run()
    assert done.code == 3
    assert "no sampled execution of mail has been judged" in done.err
    assert "sampling.rate" in done.err


def test_without_an_oracle_it_says_where_one_is_written(tmp_path: Path) -> None:
    task = Task(tmp_path / "data")
    task.log(3)
    done = task.run()
    assert done.code == 2
    assert "mail has no oracle" in done.err
    assert "loopai config set oracle.kind" in done.err


def test_options_that_do_not_fit_are_named_with_their_place(tmp_path: Path) -> None:
    task = Task(tmp_path / "data", kind="http", url="http://127.0.0.1:9/", n=3)
    done = task.run()
    assert done.code == 2
    assert "$.oracle.n: n does not go with kind http" in done.err
    checked = task.loopai("check", task.layout.spec("mail"))
    assert checked.code == 2
    assert "n does not go with kind http" in checked.err + checked.out
    task.spec(kind="http", url="http://127.0.0.1:9/", api_key="${NO_SUCH_KEY}")
    assert "the environment variable NO_SUCH_KEY is not set" in task.run().err


def test_an_oracle_that_is_down_is_one_line_and_is_not_asked_on_and_on(tmp_path: Path) -> None:
    task = Task(tmp_path / "data", kind="http", url="http://127.0.0.1:9/", timeout_s=1)
    task.log(300)
    with within(30):
        done = task.run()
    assert done.code == 3
    assert done.json["judged"] == 0
    assert done.json["asked"] < 100
    assert "cannot be reached: connection refused" in done.err
    assert not task.validations()


@pytest.mark.parametrize("kind", ["llm", "openai"])
def test_a_model_is_asked_with_the_tasks_examples_and_counted_in_the_ledger(tmp_path: Path, kind: str) -> None:
    with ScriptedLLM(lambda body: truth(text_of(body))) as llm:
        prices = {"input": 1.0, "output": 2.0}
        task = Task(tmp_path / "data")
        task.spec(
            kind=kind, url=llm.api_base, model="openai/m", prices=prices, api_key="${ORACLE_KEY}",
            examples=[{"text": "win a car"}, {"text": "lunch?"}],
        )  # fmt: skip
        task.log(10)
        done = task.run(ORACLE_KEY="sk-very-secret")
        assert done.code == 0, done.err
        assert len(llm.requests) == 10
    assert llm.requests[0].headers["authorization"] == "Bearer sk-very-secret"
    assert llm.requests[0].body["temperature"] == 0
    assert "win a car" in llm.requests[0].prompt
    assert done.json["accuracy"]["value"] == 0.9
    ledger = [
        json.loads(line) for path in task.layout.ledger.glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    assert {entry["purpose"] for entry in ledger if entry["state"] == "reserved"} == {"validate"}
    spent = sum(entry["usd"] for entry in ledger if entry["state"] == "spent")
    assert spent == pytest.approx(done.json["usd"])
    assert spent == pytest.approx(sum(record["oracle_cost"] for record in task.validations()))
    kept = b"".join(path.read_bytes() for path in task.layout.root.rglob("*") if path.is_file())
    assert b"sk-very-secret" not in kept


def test_a_day_limit_ends_the_asking_and_says_so(tmp_path: Path) -> None:
    with ScriptedOracle(lambda body: (200, {"output": truth(body["input"])})) as oracle:
        task = Task(tmp_path / "data", kind="http", url=oracle.url, usd_per_call=0.01, max_usd_per_day=0.1)
        task.log(100)
        done = task.run()
        again = task.run()
        assert len(oracle.asked) == 10
    assert done.json["judged"] == again.json["accuracy"]["n"] == 10
    assert "oracle.max_usd_per_day" in done.err or "limit of $0.1" in done.err


def test_what_leaves_is_redacted_said_and_audited_unless_it_is_this_machine(tmp_path: Path) -> None:
    """A name that is not loopback by name, and is by address: what is beyond must be hidden from it."""
    with ScriptedLLM(lambda body: truth(text_of(body))) as llm:
        port = llm.api_base.split(":")[2].split("/")[0]
        task = Task(tmp_path / "data")
        task.log(1, input={"text": "win, write to anna@example.com"})
        for send, url, seen in (
            (None, f"http://0.0.0.0:{port}/v1", "[EMAIL]"),
            ("full", f"http://0.0.0.0:{port}/v1", "anna@example.com"),
            (None, llm.api_base, "anna@example.com"),
        ):
            llm.requests.clear()
            for path in task.layout.validations("mail").glob("*"):
                path.unlink()
            options = {"send": send} if send else {}
            task.spec(kind="openai", url=url, model="m", prices={"input": 0, "output": 0}, **options)
            done = task.run()
            assert done.code == 0, done.err
            assert seen in llm.requests[0].prompt
            assert ("[EMAIL]" in done.err) == (seen == "[EMAIL]")
            assert f"(oracle.send: {'redacted' if seen == '[EMAIL]' else 'full'})" in done.err
        task.spec(kind="openai", url=llm.api_base, model="m", send="none")
        refused = task.run()
        assert refused.code == 2
        assert "send is none" in refused.err
        task.spec(kind="command", command=script(tmp_path), send="none")
        assert task.run().code == 0
    audited = [
        json.loads(line) for path in task.layout.audit.glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    assert [line["send"] for line in audited] == ["redacted", "full", "full"]
    assert "anna" not in json.dumps(audited)


def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path) -> None:
    count = tmp_path / "asked"
    code = f"import time\nopen({str(count)!r}, 'ab').write(b'x')\ntime.sleep(0.01)"
    task = Task(tmp_path / "data", kind="command", command=script(tmp_path, code), concurrency=1)
    task.log(120)
    process = task.loopai.start("validate", "mail")
    while not task.validations():
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = task.run()
    assert done.code == 0, done.err
    ids = [record["execution_id"] for record in task.validations()]
    assert len(ids) == len(set(ids)) == 120
    assert count.stat().st_size <= 121  # at most the one that was under way was asked again


@pytest.mark.slow
def test_killed_at_any_moment_however_often_it_judges_each_execution_once(tmp_path: Path) -> None:
    kills = max(4, int(200 * SOAK))
    count = tmp_path / "asked"
    code = f"import time\nopen({str(count)!r}, 'ab').write(b'x')\ntime.sleep(0.01)"
    task = Task(tmp_path / "data", kind="command", command=script(tmp_path, code), concurrency=1)
    draw, logged = random.Random(0), 0
    for _ in range(kills):
        task.log(30, first=logged)
        logged += 30
        process = task.loopai.start("validate", "mail")
        time.sleep(draw.uniform(0.2, 1.5))  # the moment is what is drawn
        process.kill()
        process.communicate()
    assert task.run().code == 0
    ids = [record["execution_id"] for record in task.validations()]
    assert len(ids) == len(set(ids)) == logged
    assert logged <= count.stat().st_size <= logged + kills  # at most the one under way is asked again


def test_two_at_once_ask_nothing_twice(tmp_path: Path) -> None:
    task = Task(tmp_path / "data", kind="command", command=script(tmp_path))
    task.log(40)
    processes = [task.loopai.start("validate", "mail", "--lock-timeout", "240") for _ in range(2)]
    assert [process.communicate() and process.returncode for process in processes] == [0, 0]
    ids = [record["execution_id"] for record in task.validations()]
    assert len(ids) == len(set(ids)) == 40


# --- persons and files -----------------------------------------------------------------------------------------


def test_a_file_of_labels_is_an_oracle_of_what_is_in_it(tmp_path: Path) -> None:
    gold = tmp_path / "gold.csv"
    gold.write_text("body,label\n" + "".join(f"win {n},spam\n" for n in range(1, 20, 2)))
    task = Task(tmp_path / "data", kind="labels", file=str(gold), input={"text": "body"}, output="label")
    task.log(20)
    done = task.run()
    assert (done.code, done.json["judged"], done.json["accuracy"]["value"]) == (0, 10, 1.0)
    assert done.json["troubles"] == {"no label for this input": 10}
    task.spec(kind="labels", file="missing.csv")
    assert "$.oracle.file: missing.csv: no such file" in task.run().err


def test_a_person_is_asked_through_the_queue_and_answers_with_label(tmp_path: Path) -> None:
    task = Task(tmp_path / "data", kind="human")
    task.log(6)
    asked = task.run()
    assert (asked.code, asked.json["waiting"]) == (3, 6)
    assert "loopai label mail" in asked.err
    task.run()
    queued = task.layout.queue("mail").read_text().splitlines()
    assert len(queued) == 6
    assert {json.loads(line)["source"] for line in queued} == {"oracle"}
    given = task.loopai("label", "mail", stdin="122222")
    assert given.code == 0, given.err
    done = task.run()
    assert (done.code, done.json["judged"]) == (0, 6)
    assert done.json["accuracy"]["value"] < 1


# --- the oracle's own errors -----------------------------------------------------------------------------------


def test_an_audit_tells_agreement_from_accuracy(tmp_path: Path) -> None:
    def often_right(body: Any) -> tuple[int, Any]:
        right = truth(body["input"])
        draw = random.Random(body["input"]["text"])  # the same answer whatever the order of the calls
        return 200, {"output": right if draw.random() < 0.9 else ("ham" if right == "spam" else "spam")}

    with ScriptedOracle(often_right) as oracle:
        task = Task(tmp_path / "data")
        examples = [{"text": f"{'offer' if n % 2 else 'hello'} {n}"} for n in range(150)]
        task.spec(kind="http", url=oracle.url, examples=examples)
        persons = [labels.label({"text": f"win person {n}"}, "spam", "person") for n in range(50)]
        labels.append(task.layout, "mail", [*persons, labels.label({"text": "x"}, "spam", "oracle")])
        task.log(400)
        done = task.run("--audit")
        assert done.code == 0, done.err
        asked = len(oracle.asked)
        table = task.loopai("validate", "mail")
        assert len(oracle.asked) == asked
    found = done.json
    assert found["oracle_accuracy"]["n"] == 200
    assert found["oracle_accuracy"]["value"] == pytest.approx(0.9, abs=0.06)
    assert found["accuracy"]["value"] == pytest.approx(0.82, abs=0.06)
    assert found["corrected"]["low"] < 0.9 < found["corrected"]["high"]
    assert "corrected for the oracle's errors" in table.out


def test_gold_labels_that_the_oracle_is_shown_do_not_count(tmp_path: Path) -> None:
    with ScriptedLLM(lambda body: truth(text_of(body))) as llm:
        task = Task(tmp_path / "data")
        task.spec(kind="openai", url=llm.api_base, model="m", examples=[{"text": "win"}, {"text": "lunch"}])
        task.log(5)
        done = task.run("--audit")
        assert done.code == 2
        assert "no gold labels to measure the oracle on" in done.err
        task.spec(kind="openai", url=llm.api_base, model="m", examples=[{"text": f"win {n}"} for n in range(20)])
        assert task.run("--audit").json["oracle_accuracy"]["n"] == 12
    task.spec(kind="human")
    assert task.run("--audit").code == 2


# --- comparing -------------------------------------------------------------------------------------------------


def test_outputs_are_compared_as_the_specification_says(tmp_path: Path) -> None:
    said = {"name": "ACME  Corp", "total": 10.004, "tags": ["b", "a"]}
    schema = {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}
    rules = {"fields": {"name": {"method": "fuzzy", "threshold": 0.95}, "total": {"tolerance": 0.01}}}
    with ScriptedOracle(lambda _body: (200, {"output": said})) as oracle:
        task = Task(tmp_path / "data")
        task.spec(kind="http", url=oracle.url, schema=schema, compare=rules)
        task.log(1, output={"name": "acme corp", "total": 10, "tags": ["a", "b"]})
        task.log(1, first=5, output={"name": "acme", "total": 10, "tags": ["a"]})
        done = task.run()
    assert (done.json["judged"], done.json["matched"]) == (2, 1)
    by_id = {record["execution_id"]: record for record in task.validations()}
    assert by_id["2026-11-20-0"]["fields"] == {"name": 1.0, "total": 1.0, "tags": 1.0}
    assert by_id["2026-11-20-5"]["fields"]["tags"] == 0.5


def test_a_model_judges_whether_texts_mean_the_same(tmp_path: Path) -> None:
    def model(body: Any) -> str:
        if "First answer" in str(body["messages"]):
            return json.dumps({"same": "at ten" in str(body["messages"][1])})
        return json.dumps("10:00")

    with ScriptedLLM(model) as llm:
        task = Task(tmp_path / "data")
        task.spec(
            kind="openai", url=llm.api_base, model="m", schema={"type": "string"}, compare={"method": "semantic"}
        )
        task.log(1, output="at ten")
        task.log(1, first=1, output="at nine")
        done = task.run()
    assert (done.json["judged"], done.json["matched"]) == (2, 1), done.err
    assert {record["comparison_method"] for record in task.validations()} == {"semantic"}
    task.spec(kind="command", command=["true"], compare={"method": "semantic"})
    assert "semantic comparison needs an oracle of kind llm or openai" in task.run().err


def test_a_server_has_sampled_executions_checked_as_its_log_grows(tmp_path: Path) -> None:
    task = Task(tmp_path / "data", kind="labels")
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    task.log(20, yesterday)
    rows = [
        labels.label({"text": f"{'offer' if n % 10 == 0 else 'win' if n % 2 else 'lunch'} {n}"}, "spam", "person")
        for n in range(20)
    ]
    labels.append(task.layout, "mail", rows)

    async def serve() -> None:
        log = LiveLog(task.layout, fsync="never", on_full="reject")
        work = asyncio.create_task(upkeep.keep_up(Config(), task.layout, log, lambda: ["mail"], every_s=0.01))
        async with asyncio.timeout(180):
            while not any(task.layout.validations("mail").glob("*.jsonl")):
                await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        log.close()

    asyncio.run(serve())
    checked = [
        json.loads(line)
        for file in task.layout.validations("mail").glob("*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    assert {one["execution_id"] for one in checked} <= {f"{yesterday}-{n}" for n in range(20)}
    assert len(checked) == len({one["execution_id"] for one in checked}) > 0

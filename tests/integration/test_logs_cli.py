"""`loopai logs` as its users have it."""

from __future__ import annotations

import json
import signal
from datetime import date, timedelta

import pytest
from tests.executions import execution

from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.layout import Layout
from loopai_runtime.models import utc_now

from .conftest import EXAMPLES, Loopai

TODAY = utc_now()[:10]
YESTERDAY = (date.fromisoformat(TODAY) - timedelta(days=1)).isoformat()


@pytest.fixture
def logged(loopai: Loopai) -> Loopai:
    """Ten executions a day, the first of each an error."""
    failed = {"status": "error", "output": None, "error": {"type": "ValueError", "message": "no"}}
    fine = {"status": "success", "output": "ham", "abstained": False}
    ExecutionLog(Layout(loopai.data_dir)).append(
        execution(n, day=day, version=2, execution_id=f"{day}-{n}", **(fine if n else failed))
        for day in (YESTERDAY, TODAY)
        for n in range(10)
    )
    return loopai


def test_tail_shows_the_latest_last(logged: Loopai) -> None:
    lines = logged("logs", "tail", "-n", "3", "-o", "jsonl").lines
    assert len(lines) == 3
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    assert all(line["timestamp"].startswith(TODAY) for line in lines)
    text = logged("logs", "tail", "spam", "-n", "1").out
    assert "spam@2" in text
    assert text.count("\n") == 1


def test_tail_of_failures_alone_reads_compressed_days_too(logged: Loopai) -> None:
    wanted = [f"{YESTERDAY}-0", f"{TODAY}-0"]
    for _ in range(2):
        lines = logged("logs", "tail", "--failed", "-n", "50", "-o", "jsonl").lines
        assert [line["execution_id"] for line in lines] == wanted
        logged("prune")


def test_tail_follows_until_it_is_interrupted(logged: Loopai) -> None:
    process = logged.start("logs", "tail", "-f", "--failed", "-n", "1", "-o", "jsonl")
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["execution_id"] == f"{TODAY}-0"
        now, log = utc_now(), ExecutionLog(Layout(logged.data_dir))
        late = execution(2, status="timeout", output=None, timestamp=now, execution_id="late")
        log.append([execution(1, status="success", output="ham", timestamp=now), late])
        assert json.loads(process.stdout.readline())["execution_id"] == "late"
        log.append([late | {"task_id": "new", "execution_id": "new"}])
        assert json.loads(process.stdout.readline())["execution_id"] == "new"
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=90)
    assert process.returncode == 130
    assert err == b"interrupted\n"


def test_control_characters_of_logged_data_do_not_reach_the_terminal(loopai: Loopai) -> None:
    given = {"input": {"text": "\x1b[2Jgone"}, "status": "success", "output": "\x1b]0;x\x07", "abstained": False}
    ExecutionLog(Layout(loopai.data_dir)).append([execution(day=TODAY, **given)])
    for command in (("logs", "tail"), ("analyze", "--by", "label")):
        out = loopai(*command).out
        assert "]0;x" in out
        assert "\x1b" not in out
        assert "\x07" not in out


def test_erase_names_the_versions_that_learned_from_what_is_erased(spam: Loopai) -> None:
    examples = Layout(spam.data_dir).examples("spam-detection")
    value = json.loads(examples.read_bytes().splitlines()[0])["input"]
    spam("run", "spam-detection", json.dumps(value))
    match = f"text={value['text']}"
    dry = spam("logs", "erase", "spam-detection", "--match", match, "--dry-run", "-o", "json").json
    assert dry["records"]["executions"] == 1
    done = spam("logs", "erase", "spam-detection", "--match", match, "-o", "json")
    assert done.code == 0, done.err
    assert done.json["rebuild"] == ["spam-detection@1"]
    assert done.json["by_hand"] == [str(EXAMPLES / "spam" / "train.csv")]
    assert done.json["records"]["examples"] >= 1
    assert json.dumps(value["text"], ensure_ascii=False) not in examples.read_text()
    again = spam("logs", "erase", "--match", match)
    assert (again.code, "nothing matches" in again.err) == (0, True)
    assert spam("diff", "spam-detection@1", "1").code == 0


def test_erase_wants_to_know_what(logged: Loopai) -> None:
    assert logged("logs", "erase", "spam").code == 2
    done = logged("logs", "erase", "spam", "--match", "(")
    assert (done.code, done.out) == (2, "")
    assert "no regular expression" in done.err


KEY = "11" * 32


def test_an_encrypted_log_goes_through_a_pipe_in_plain_text(spam: Loopai) -> None:
    env = {"LOOPAI_STORAGE__ENCRYPTION_KEY": KEY}
    for text in ("win a prize", "see you soon"):
        done = spam("run", "spam-detection", json.dumps({"text": text}), env=env)
        assert done.code == 0, done.err
    written = Layout(spam.data_dir).executions("spam-detection")
    assert [path.name for path in sorted(written.iterdir())] == [f"{TODAY}.0{n}.jsonl.enc" for n in (0, 1)]
    done = spam("logs", "decrypt", "spam-detection", env=env)
    assert (done.code, done.err) == (0, "")
    assert [line["input"]["text"] for line in done.lines] == ["win a prize", "see you soon"]
    assert spam("analyze", "-o", "json", env=env).json["total"]["count"] == 2
    assert "see you soon" in spam("logs", "tail", env=env).out


def test_an_encrypted_log_without_its_key_is_one_clear_error(spam: Loopai) -> None:
    spam("run", "spam-detection", '{"text": "hello"}', env={"LOOPAI_STORAGE__ENCRYPTION_KEY": KEY})
    for command in (("logs", "decrypt", "spam-detection"), ("logs", "tail"), ("analyze",)):
        done = spam(*command)
        assert (done.code, done.out) == (1, "")
        assert "is encrypted, and no key is given" in done.err
    done = spam("logs", "tail", env={"LOOPAI_STORAGE__ENCRYPTION_KEY": "secret"})
    assert done.code == 2
    assert "secret" not in done.err

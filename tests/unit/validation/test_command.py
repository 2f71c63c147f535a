"""An oracle that is a command: real processes."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bars import within

from loopai_runtime.errors import OracleError
from loopai_runtime.schemas import Schema
from loopai_runtime.validation.command import Command, _read
from loopai_runtime.validation.oracle import Verdict
from loopai_runtime.validation.paid import Fee

from .conftest import CountingPurse


def command(
    tmp_path: Path,
    code: str,
    *,
    timeout_s: float = 20,
    batch: int = 1,
    schema: Any = None,
    usd: float = 0.0,
    purse: Any = None,
) -> Command:
    script = tmp_path / "oracle.py"
    script.write_text(code)
    fee = Fee(purse or CountingPurse(), usd, purpose="validate", name="command")
    arguments = [sys.executable, "-I", str(script)]
    return Command(
        arguments,
        tmp_path,
        timeout_s=timeout_s,
        batch=batch,
        outputs=Schema(schema or {"type": "string"}),
        fee=fee,
    )


UPPER = "import sys, json\nfor line in sys.stdin:\n    print(json.dumps(json.loads(line)['text'].upper()))\n"


def test_one_input_a_line_and_one_answer_a_line(tmp_path: Path) -> None:
    answers = command(tmp_path, UPPER, batch=3).ask([{"text": "a"}, {"text": "b\nc"}, {"text": "ü"}])
    assert [a.output for a in answers if isinstance(a, Verdict)] == ["A", "B\nC", "Ü"]


def test_an_answer_may_be_wrapped_or_stand_on_several_lines(tmp_path: Path) -> None:
    code = "import json; print(json.dumps({'output': 'spam'}, indent=2))"
    (answer,) = command(tmp_path, code).ask([{}])
    assert isinstance(answer, Verdict)
    assert answer.output == "spam"
    (bare,) = command(tmp_path, code, schema={"type": "object"}).ask([{}])
    assert isinstance(bare, Verdict)
    assert bare.output == {"output": "spam"}


def test_it_runs_where_its_specification_is_and_through_no_shell(tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_text('"found"')
    fee = Fee(CountingPurse(), 0.0, purpose="validate", name="command")
    cat = Command(["cat", "answers.txt"], tmp_path, timeout_s=5, batch=1, outputs=Schema({}), fee=fee)
    (answer,) = cat.ask(["x"])
    assert isinstance(answer, Verdict)
    assert answer.output == "found"
    with pytest.raises(OracleError, match="failed with exit code"):
        Command(["cat", "answers.txt; true"], tmp_path, timeout_s=5, batch=1, outputs=Schema({}), fee=fee).ask(
            ["x"]
        )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; print('boom: no model', file=sys.stderr); sys.exit(3)",
            "failed with exit code 3: boom: no model",
        ),
        ("import os; os.kill(os.getpid(), 9)", "failed with signal 9"),
        ("", "printed 0 answers to 1 inputs"),
        ("print('spam')", "printed what is not JSON"),
        ("while True: print('x' * 65536)", "printed more than 16 MiB"),
    ],
)
def test_what_goes_wrong_is_one_line(tmp_path: Path, code: str, said: str) -> None:
    oracle = command(tmp_path, code)
    try:
        (error,) = oracle.ask([{}])
    except OracleError as raised:
        error = raised
    assert isinstance(error, OracleError)
    assert said in str(error)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    fee = Fee(CountingPurse(), 0.0, purpose="validate", name="command")
    with pytest.raises(OracleError, match="does not start: No such file"):
        Command(["/no/such/oracle"], tmp_path, timeout_s=5, batch=1, outputs=Schema({}), fee=fee).ask(["x"])


def test_after_its_time_it_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    with within(10), pytest.raises(OracleError, match="took more than 3 s"):
        command(tmp_path, code, timeout_s=3).ask([{}])
    child = int((tmp_path / "child").read_text())
    for _ in range(6000):
        if not _runs(child):
            break
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_what_it_prints_as_it_ends_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the look at its pipes is followed by the look at the process."""
    line = [sys.executable, "-I", "-c", "print('last words')"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:

        class Early(selectors.DefaultSelector):
            looks = 0

            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
                self.looks += 1
                if self.looks > 1:
                    return super().select(timeout)
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                return []

        monkeypatch.setattr(selectors, "DefaultSelector", Early)
        assert _read(process, time.monotonic() + 60) == (b"last words\n", b"")


def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    code = "import subprocess\nsubprocess.Popen(['sleep', '30'])\nprint('\"done\"')\n"
    with within(10):
        (answer,) = command(tmp_path, code).ask([{}])
    assert isinstance(answer, Verdict)


def test_a_command_that_reads_nothing_does_not_block(tmp_path: Path) -> None:
    (answer,) = command(tmp_path, "print('\"x\"')").ask([{"text": "y" * 5_000_000}])
    assert isinstance(answer, Verdict)


def test_each_call_is_paid_and_one_that_did_not_start_is_not(tmp_path: Path, purse: CountingPurse) -> None:
    oracle = command(tmp_path, UPPER, batch=2, usd=0.4, purse=purse)
    answers = oracle.ask([{"text": "a"}, {"text": "b"}])
    assert [a.usd for a in answers if isinstance(a, Verdict)] == [0.2, 0.2]
    (tmp_path / "oracle.py").unlink()
    with pytest.raises(OracleError):
        oracle.ask([{"text": "c"}])
    assert purse.spent == pytest.approx(0.4)
    assert not purse.reserved

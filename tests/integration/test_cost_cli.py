"""`loopai analyze --cost`, and that what costs nothing loads no model library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.integration.conftest import Loopai

from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Ledger
from loopai_runtime.llm import Spent


def pay(layout: Layout) -> None:
    purse = Ledger(layout, "spam", max_usd_per_command=10)
    for purpose, usd in (("write", 0.25), ("validate", 0.01)):
        purse.settle(purse.reserve(usd, purpose=purpose, model="m"), Spent("m", 100, 5, usd, False, 0.1))


def test_costs_as_json_as_a_table_and_as_csv(loopai: Loopai) -> None:
    pay(Layout(loopai.data_dir))
    found = loopai("analyze", "spam", "--cost", "-o", "json").json
    assert (found["spent_usd"], found["making_usd"], found["running_usd"]) == (0.26, 0.25, 0.01)
    assert [line["purpose"] for line in found["spent"]] == ["write", "validate"]
    assert found["model_call"]["basis"] == "measured"
    table = loopai("analyze", "spam", "--cost").out
    assert "spam: $0.26 spent on models" in table
    assert "m takes $0.010 for one input" in table
    assert loopai("analyze", "--cost", "-o", "csv").out.startswith("task_id,since,spent_usd")
    (line,) = loopai("analyze", "--cost", "-o", "jsonl").lines
    assert line["task_id"] == "spam"


def test_an_unknown_task_is_said(loopai: Loopai) -> None:
    done = loopai("analyze", "nothing", "--cost")
    assert done.code == 5
    assert "no task 'nothing'" in done.err


LOADS = """
import json, sys
from loopai_runtime.cli.main import run_line
code = run_line(json.loads(sys.argv[1]))
print(json.dumps([code, [name for name in ("litellm", "openai", "tiktoken") if name in sys.modules]]), file=sys.stderr)
"""


def test_generate_offline_and_run_load_no_model_library(loopai: Loopai, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "name: spam\ndescription: Classify as spam or ham\ninput_schema: {type: string}\n"
        "output_schema: {type: string, enum: [spam, ham]}\nexamples:\n"
        + "".join(
            f"- {{input: buy pills {i}, output: spam}}\n- {{input: meet me at {i}, output: ham}}\n"
            for i in range(20)
        )
        + "accuracy_target: 0.5\n"
    )
    for line in (["generate", str(spec)], ["run", "spam", '"buy pills now"'], ["analyze", "spam", "--cost"]):
        env = os.environ | {"LOOPAI_DATA_DIR": str(loopai.data_dir)}
        done = subprocess.run(
            [sys.executable, "-c", LOADS, json.dumps(line)], capture_output=True, text=True, env=env, timeout=120
        )
        code, loaded = json.loads(done.stderr.splitlines()[-1])
        assert (code, loaded) == (0, []), done.stderr


def test_start_loads_no_model_library(spam: Loopai, tmp_path: Path) -> None:
    """Python writes every import to stderr; only the server's own process is asked to."""
    imports = tmp_path / "imports"
    line = [sys.executable, "-X", "importtime", "-m", "loopai_runtime", "start", "--port", "0"]
    with (
        imports.open("wb") as file,
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=file, env=spam.environment()) as server,
    ):
        try:
            assert server.stdout
            url = server.stdout.readline().decode().strip()
            request = urllib.request.Request(
                f"{url}/v1/execute/spam-detection",
                data=b'{"input": {"text": "Buy now!"}}',
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=180) as answer:
                assert json.load(answer)["source"] == "program"
        finally:
            server.terminate()
    assert server.returncode == 0
    names = {line.rpartition("|")[2].strip().split(".")[0] for line in imports.read_text().splitlines()}
    assert "uvicorn" in names
    assert names & {"litellm", "openai", "tiktoken"} == set()

"""Transformation through the commands: two readings of the examples, and the input that settles which is meant."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from .conftest import Loopai
from .terminal import Terminal

SPEC = """
name: written-dates
description: Write a date in words
input_schema: {type: object, properties: {text: {type: string}}, required: [text]}
output_schema: {type: string}
examples:
  - {input: {text: 3/3/2026}, output: "March 3, 2026"}
  - {input: {text: 7/7/2025}, output: "July 7, 2025"}
unlabelled_from: [{file: more.jsonl}]
generate: {strategy: dsl}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    inputs = [{"text": "5/5/2024"}, {"text": "3/4/2024"}]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(one) + "\n" for one in inputs))
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


def test_where_two_readings_fit_the_best_is_kept_as_a_draft_and_the_separating_input_is_named(
    loopai: Loopai, spec: Path
) -> None:
    done = loopai("generate", spec)
    assert done.code == 3
    assert "two readings fit the examples" in done.err
    assert '{"text": "3/4/2024"}' in done.err
    lines = (loopai.data_dir / "tasks/written-dates/suggestions.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert first["input"] == {"text": "3/4/2024"}
    assert first["confidence"] < 0.5


def test_the_output_in_json_has_the_question(loopai: Loopai, spec: Path) -> None:
    asked = loopai("generate", spec, "-o", "json").json["question"]
    assert asked["input"] == {"text": "3/4/2024"}
    assert set(asked["answers"]) == {"March 4, 2024", "April 3, 2024"}


def labels(loopai: Loopai) -> list[tuple[str, str, str]]:
    path = loopai.data_dir / "tasks/written-dates/labels.jsonl"
    rows = map(json.loads, path.read_text().splitlines() if path.exists() else [])
    return [(row["input"]["text"], row["output"], row["source"]) for row in rows]


QUESTION = "what is right for"


def test_on_a_terminal_a_key_settles_which_reading_is_meant(loopai: Loopai, spec: Path) -> None:
    terminal = Terminal(loopai, "generate", spec)
    terminal.wait_for(QUESTION)
    terminal.wait_for("Enter alone")
    terminal.press("2\n")
    shown = terminal.rest()
    terminal.process.wait(180)
    terminal.close()
    [(text, output, source)] = labels(loopai)
    assert (text, source) == ("3/4/2024", "person")
    assert QUESTION not in shown
    assert "two readings" not in shown
    assert "labels.jsonl" in shown
    wanted = {"March 4, 2024": "January 2, 2023", "April 3, 2024": "February 1, 2023"}[output]
    assert loopai("run", "written-dates@1", '{"text": "1/2/2023"}').json == wanted
    assert [row["version"] for row in loopai("versions", "written-dates", "-o", "json").json] == [1]
    assert spec.read_text() == SPEC


def test_an_output_may_be_typed_and_what_does_not_fit_is_asked_for_again(loopai: Loopai, spec: Path) -> None:
    spec.write_text(SPEC.replace("output_schema: {type: string}", "output_schema: {type: string, minLength: 5}"))
    terminal = Terminal(loopai, "generate", spec)
    terminal.wait_for("Enter alone")
    terminal.press("no\n")
    terminal.wait_for("Enter alone")
    terminal.press("April 3, 2024\n")
    terminal.rest()
    terminal.process.wait(180)
    terminal.close()
    assert labels(loopai) == [("3/4/2024", "April 3, 2024", "person")]
    assert loopai("run", "written-dates@1", '{"text": "1/2/2023"}').json == "February 1, 2023"


def test_enter_alone_leaves_it_open(loopai: Loopai, spec: Path) -> None:
    terminal = Terminal(loopai, "generate", spec)
    terminal.wait_for("Enter alone")
    terminal.press("\n")
    assert "two readings fit the examples" in terminal.rest()
    assert terminal.process.wait(180) == 3
    terminal.close()
    assert labels(loopai) == []


def test_ctrl_c_at_the_question_makes_no_version(loopai: Loopai, spec: Path) -> None:
    terminal = Terminal(loopai, "generate", spec)
    terminal.wait_for("Enter alone")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(180) == 130
    terminal.close()
    assert loopai("versions", "written-dates").code == 5


@pytest.mark.parametrize(("more", "environment"), [(["--yes"], {}), ([], {"CI": "true"}), (["-o", "json"], {})])
def test_a_script_on_a_terminal_is_not_asked(
    loopai: Loopai, spec: Path, more: list[str], environment: dict[str, str]
) -> None:
    terminal = Terminal(loopai, "generate", spec, *more, **environment)
    assert QUESTION not in terminal.rest()
    assert terminal.process.wait(180) == 3
    terminal.close()

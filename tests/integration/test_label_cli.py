"""`loopai label`: a key a label, from a pipe or a real terminal."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.datasets import labels, queue
from loopai_runtime.layout import Layout

from .conftest import Loopai
from .terminal import Terminal
from .test_server import SPAM, add

ENUM = {"enum": ["spam", "ham"]}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "data")
    add(made, "mail", SPAM, output_schema=ENUM)
    return made


def fill(layout: Layout, count: int, task: str = "mail", **more: Any) -> None:
    for n in range(count):
        row = {"input": {"text": f"mail {n}"}, "output": "ham", "confidence": 0.9 - n / 100, "version": 1}
        row |= {"execution_id": f"e{n}", "timestamp": "2026-11-20T10:00:00Z", "source": "abstained"}
        queue.append(layout, task, [row | more])


def given(layout: Layout, task: str = "mail") -> list[tuple[str, Any, str]]:
    return [(one.input["text"], one.output, one.source) for one in labels.read(layout, task)]


def left(layout: Layout, task: str = "mail") -> list[str]:
    return [item["input"]["text"] for item in queue.read(layout, task)]


def test_a_key_is_a_label_the_least_sure_first_and_the_queue_is_emptied(layout: Layout) -> None:
    fill(layout, 4)
    done = Loopai(layout.root)("label", "mail", "-o", "json", stdin="1y2\n1")
    assert (done.code, done.json) == (0, {"task_id": "mail", "labelled": 4, "skipped": 0, "left": 0}), done.err
    assert given(layout) == [
        ("mail 3", "spam", "person"),
        ("mail 2", "ham", "person"),
        ("mail 1", "ham", "person"),
        ("mail 0", "spam", "person"),
    ]
    assert left(layout) == []
    assert '[1] "spam"  [2] "ham"' in done.err
    assert 'proposed: "ham" (87% sure)' in done.err
    assert {one.execution_id for one in labels.read(layout, "mail")} == {"e0", "e1", "e2", "e3"}
    again = Loopai(layout.root)("label", "mail")
    assert (again.code, "0 labelled, 0 skipped, 0 left" in again.err) == (0, True)


def test_skip_undo_and_quit(layout: Layout) -> None:
    fill(layout, 4)
    done = Loopai(layout.root)("label", "mail", stdin="u1s2uu2q1111")
    assert done.code == 0, done.err
    assert given(layout) == [("mail 3", "ham", "person")]
    assert left(layout) == ["mail 0", "mail 1", "mail 2"]
    assert "nothing to undo" in done.err
    assert "1 labelled, 1 skipped, 3 left" in done.err


def test_a_wrong_key_or_answer_is_said_and_asked_again(layout: Layout) -> None:
    fill(layout, 1)
    done = Loopai(layout.root)("label", "mail", stdin='9e"maybe"\nespam\n')
    assert done.code == 0, done.err
    assert "'9' is no key here" in done.err
    assert '"maybe" is not one of' in done.err
    assert given(layout) == [("mail 0", "spam", "person")]


def test_an_answer_that_is_no_label_is_typed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    add(layout, "bill", SPAM, output_schema=schema)
    fill(layout, 2, "bill", output={"total": 1})
    done = Loopai(tmp_path)("label", "bill", stdin='e{"total": "x"}\ne{"total": 2.5}\ny')
    assert done.code == 0, done.err
    assert [output for _, output, _ in given(layout, "bill")] == [{"total": 2.5}, {"total": 1}]


def test_a_made_up_input_that_a_person_confirms_is_reviewed(layout: Layout) -> None:
    fill(layout, 1, source="synthetic", output="spam")
    fill(layout, 1, input={"text": "real"})
    done = Loopai(layout.root)("label", "mail", stdin="1y")
    assert given(layout) == [("real", "spam", "person"), ("mail 0", "spam", "reviewed")], done.err


def test_what_was_answered_before_does_not_come_again(layout: Layout) -> None:
    fill(layout, 3)
    labels.append(layout, "mail", [labels.label({"text": "mail 2"}, "ham", "person")])
    labels.append(layout, "mail", [labels.label({"text": "mail 1"}, "ham", "oracle")])
    done = Loopai(layout.root)("label", "mail", stdin="1")
    assert "2 left" in done.err
    assert given(layout)[-1] == ("mail 1", "spam", "person")
    assert left(layout) == ["mail 0"]


def test_without_a_terminal_or_keys_it_fails_in_one_line(layout: Layout) -> None:
    fill(layout, 1)
    done = Loopai(layout.root)("label", "mail")
    assert done.code == 2
    assert "no terminal to read keys from, and nothing on stdin" in done.err
    assert left(layout) == ["mail 0"]
    assert Loopai(layout.root)("label", "nothing").code == 5


def test_what_an_input_holds_cannot_drive_the_terminal(layout: Layout) -> None:
    fill(layout, 1, input={"text": "\x1b]0;owned\x07\x1b[2J"})
    done = Loopai(layout.root)("label", "mail", stdin="q")
    assert "\x1b" not in done.err


def test_on_a_terminal_one_key_is_enough_and_ctrl_c_loses_nothing(layout: Layout) -> None:
    fill(layout, 4)
    terminal = Terminal(Loopai(layout.root), "label", "mail")
    terminal.wait_for("4 left")
    terminal.press("1")
    terminal.wait_for("3 left")
    terminal.press("e")
    terminal.wait_for("answer:")
    terminal.press('"ham"\n')
    terminal.wait_for("2 left")
    assert len(given(layout)) == 2  # kept at once
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(180) == 130
    terminal.close()
    assert given(layout) == [("mail 3", "spam", "person"), ("mail 2", "ham", "person")]
    assert left(layout) == ["mail 0", "mail 1"]


def test_killed_in_the_middle_it_goes_on_where_it_was(layout: Layout) -> None:
    fill(layout, 3)
    terminal = Terminal(Loopai(layout.root), "label", "mail")
    terminal.wait_for("3 left")
    terminal.press("1")
    terminal.wait_for("2 left")
    terminal.process.kill()
    terminal.process.wait(180)
    terminal.close()
    assert len(left(layout)) == 3
    done = Loopai(layout.root)("label", "mail", stdin="12")
    assert "\n2 left" in done.err
    assert json.dumps(given(layout)).count("mail 2") == 1
    assert left(layout) == []

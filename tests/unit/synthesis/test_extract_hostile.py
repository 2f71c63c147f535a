"""Extraction programs on texts made to be slow: work grows with a text's length, not with a power of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.bars import within

from loopai_runtime.synthesis.learners.extract import Extract
from loopai_runtime.synthesis.learners.extract.formats import Example, learn
from loopai_runtime.synthesis.learners.extract.locate import Span
from loopai_runtime.synthesis.learners.extract.reading import decimal_number, text_at, whole_number
from loopai_runtime.synthesis.strategy import Calibration, Problem

LONG = 30_000  # characters
THINGS = ["red", "big ship", "Ann Lee", "old dock", "the bay", "x 9", "cold storm", "long-term plan"]


def moved(seed: int) -> tuple[Any, Any]:
    """Four values of several words between words: four groups that anything may stand in."""
    who, where, to, why = (random.Random(seed).choice(THINGS[seed % 3 :]) for _ in range(4))
    output = {"who": who, "from": where, "to": to, "why": why}
    return {"text": f"{who} moved {where} to {to} as {why} did"}, output


def paid(seed: int) -> tuple[Any, Any]:
    draw = random.Random(seed)
    items = [
        {
            "mail": f"{draw.choice(['ann', 'bo.li', 'cy-t'])}@{draw.choice(['a.com', 'mail.b.org'])}",
            "amount": f"{draw.choice('$€')}{draw.randrange(1, 900)}.{draw.randrange(10, 99)}",
            "share": f"{draw.randrange(1, 99)}%",
        }
        for _ in range(1 + draw.randrange(4))
    ]
    lines = [f"* {one['mail']} paid {one['amount']} ({one['share']})" for one in items]
    return {"text": "\n".join(["Report", *lines, "End"])}, {"items": items}


def cards(seed: int) -> tuple[Any, Any]:
    draw = random.Random(seed)
    people = [
        {
            "name": draw.choice(["Ada Byron", "Bo Li", "Cy Tan"]),
            "phone": f"+44 20 {draw.randrange(1000, 9999)} 0100",
        }
        for _ in range(1 + draw.randrange(3))
    ]
    return {"text": "\n\n".join(f"Name: {one['name']}\nPhone: {one['phone']}" for one in people)}, {
        "people": people
    }


def hostile(text: str) -> list[str]:
    """Texts of single signs and of parts of a real one, over and over."""
    pieces = [
        " ",
        "\n",
        "\n ",
        "1",
        "1 ",
        "1,",
        "1 111",
        "a",
        "a ",
        "a\n",
        "“",
        '"',
        "-",
        ".",
        "$1",
        "@",
        "a@",
        "x:",
    ]
    pieces += [text[at : at + size] for at in range(0, len(text), 7) for size in (2, 11, 40)]
    return [(piece * (LONG // len(piece) + 1))[:LONG] for piece in pieces]


@pytest.mark.parametrize("row", [moved, paid, cards])
def test_no_text_takes_long(row: Callable[[int], tuple[Any, Any]]) -> None:
    rows = [row(seed) for seed in range(12)]
    task = Problem("t", {}, {}, [i for i, _ in rows], [o for _, o in rows], list(range(len(rows))))
    source = Extract().fit(task, range(len(rows)), 0)[0].emit(task, Calibration(1.0, 0.0, 0.0))
    program: dict[str, Any] = {}
    exec(compile(source, "program.py", "exec"), program)
    assert all(program["run"](value) == output for value, output in map(row, range(100, 140)))
    for text in hostile(rows[3][0]["text"]):
        with within(1):
            program["run"]({"text": text})


def example(*values: str) -> Example:
    text = "{} moved {} to {}".format(*values)
    return Example(
        text, {at: [Span(text.index(one), text.index(one) + len(one))] for at, one in enumerate(values)}
    )


def test_of_several_groups_that_anything_may_stand_in_the_last_alone_is_tried_in_several_places() -> None:
    known = learn([example("a b", "c d", "e f g"), example("x", "y z v", "w")])
    assert known[0].pattern.startswith("(?=(?P<f0>.+?) moved )(?P=f0) moved (?=(?P<f1>.+?) to )(?P=f1) to (?P<f2>")
    assert known[0].read("m n moved o to p to q") == {0: "m n", 1: "o", 2: "p to q"}


def test_of_long_space_the_beginning_is_kept() -> None:
    text = "a" + " " * 5_000 + "b" + "\n" * 40 + "c"
    assert text_at({"t": text}, ("t",)) == "a" + " " * 50 + "b" + "\n" * 40 + "c"
    assert text_at({"t": "a" + " " * 500}, ("t",)) == "a" + " " * 500


def test_a_number_of_more_digits_than_any_is_none() -> None:
    assert whole_number("7" * 5_000) is None
    assert decimal_number("7" * 400) is None
    assert whole_number("7" * 25) == int("7" * 25)

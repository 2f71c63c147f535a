"""A program's names beside those of other programs."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from loopai_runtime.errors import PolicyRefused
from loopai_runtime.synthesis.writer.source import Source, tidy

TAKEN: dict[str, str | None] = {"run": None, "score": None, "WORDS": None, "re": "re", "helper": None}

PROGRAM = '''\
import re
from collections import Counter as Many

WORDS = {"free": 2}  # ünïcode before a name: WORDS


def helper(text, WORDS=None, *, limit=3):
    """WORDS in a docstring stays."""
    counts = Many(re.findall(r"\\w+", text))
    return [word for word in counts if counts[word] < limit]


def run(input_data):
    found = helper(input_data["text"], limit=5)
    try:
        best = max(found, key=lambda word: WORDS.get(word, 0))
    except ValueError as error:
        return f"none {error!s:.0} {len(WORDS)}"
    return f"{best}:{WORDS.get(best, 0)}"
'''


def load(source: Source) -> Any:
    namespace: dict[str, Any] = {}
    exec(compile(source.text, "p", "exec"), namespace)
    return namespace[source.entry]


@pytest.mark.parametrize("text", ["a free lunch free", "", "é"])
def test_a_renamed_program_does_the_same(text: str) -> None:
    source = Source.of(PROGRAM)
    other = source.beside(TAKEN, "_2")
    assert other.entry == "run_2"
    assert load(other)({"text": text}) == load(source)({"text": text})
    bound = {node.id for node in ast.walk(ast.parse(other.text)) if isinstance(node, ast.Name)}
    assert "WORDS" not in bound
    assert "re" in bound  # an import that means the same is shared


def test_renaming_keeps_comments_and_strings_where_it_can() -> None:
    text = '# why\nWORDS = ["WORDS"]\n\n\ndef answer(x):\n    # WORDS\n    return len(WORDS), 1.0\n'
    other = Source.of(text).beside({"WORDS": None}, "_1")
    assert other.text == text.replace("WORDS = ", "WORDS_1 = ").replace("len(WORDS)", "len(WORDS_1)").replace(
        "def answer", "def answer_1"
    )


def test_a_keyword_of_a_function_of_ones_own_is_renamed_with_it() -> None:
    text = "size = 3\n\n\ndef f(size):\n    return size\n\n\ndef answer(x):\n    return f(size=size + 1), sorted([2, 1], key=None)\n"
    source = Source.of(text)
    assert load(source.beside({"size": None}, "_1"))(0) == load(source)(0) == (4, [1, 2])


def test_a_program_without_clashes_stays_as_it_is() -> None:
    source = Source.of(PROGRAM)
    assert source.beside({"other": None}, "_1") is source


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("def run(x):\n    return 1\n\n\ndef answer(x):\n    return 1, 1.0\n", "answer"),
        ("def run(x):\n    return 1\n\n\ndef score(x):\n    return 1, 1.0\n", "score"),
        ("def run(x):\n    return 1\n", "run"),
    ],
)
def test_the_function_asked_for_is_taken_else_its_usual_names(text: str, entry: str) -> None:
    assert Source.of(text).entry == entry


@pytest.mark.parametrize(
    "text",
    [
        "X = 1\n",
        "def other(x):\n    return 1\n",
        "def answer(x):\n    match x:\n        case 1:\n            return 1\n",
    ],
)
def test_a_program_that_cannot_answer_everywhere_is_refused(text: str) -> None:
    with pytest.raises(PolicyRefused):
        Source.of(text)


def test_habits_that_the_policy_refuses_are_cut_off() -> None:
    text = "from __future__ import annotations\nX = 1\n\nif __name__ == '__main__':\n    print(X)\n"
    assert tidy(text) == "\nX = 1\n"

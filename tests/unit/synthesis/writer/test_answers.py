"""Finding the program in whatever a model says."""

from __future__ import annotations

import pytest

from loopai_runtime.synthesis.writer.answers import program_in

PROGRAM = "def answer(input_data):\n    return 1, 0.9, 'always'\n"
BLOCK = f"```python\n{PROGRAM}```"


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        f"Sure, here it is:\n\n{BLOCK}\n\nIt always answers 1.",
        f"```\n{PROGRAM}```",
        f"~~~py\n{PROGRAM}~~~",
        PROGRAM,
        f"Here is the program.\n\n{PROGRAM}",
        f"<think>\n```python\ndef answer(x):\n    return 0\n```\n</think>\n{BLOCK}",
        f"First a try:\n```python\ndef answer(x):\n    return 0\n```\nNo, better:\n{BLOCK}",
        f'```json\n{{"a": 1}}\n```\n{BLOCK}',
        "```python\n" + PROGRAM,  # cut off before the fence closed
        BLOCK.replace("\n", "\r\n"),
        "1. The program:\n\n   ```python\n" + "".join(f"   {line}\n" for line in PROGRAM.splitlines()) + "   ```",
    ],
)
def test_the_program_is_found_in_prose_and_fences(text: str) -> None:
    found = program_in(text)
    assert found is not None
    namespace: dict[str, object] = {}
    exec(found[found.index("def answer") :], namespace)
    assert namespace["answer"]({}) == (1, 0.9, "always")


def test_blocks_that_need_each_other_are_one_program() -> None:
    text = (
        "Constants:\n```python\nWORDS = {'a'}\n```\nand\n```python\ndef answer(x):\n    return x in WORDS\n```\n"
    )
    found = program_in(text)
    assert found is not None
    assert "WORDS = {'a'}" in found
    assert "def answer" in found


@pytest.mark.parametrize(
    "text", ["", "I cannot do that.", "```python\nprint('hello')\n```", "```\n" + "x" * 600_000]
)
def test_what_holds_no_program_is_none(text: str) -> None:
    assert program_in(text) is None

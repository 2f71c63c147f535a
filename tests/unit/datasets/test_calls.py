"""Past calls are read in the forms that people have them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.datasets.calls import Call, call_of, read_calls
from loopai_runtime.errors import NotFound, UsageError

ASKED = [{"role": "system", "content": "Label it."}, {"role": "user", "content": "Buy now!"}]
CHOICES = {"choices": [{"message": {"role": "assistant", "content": "spam"}}]}

FORMS: dict[str, dict[str, Any]] = {
    "request and response": {"request": {"model": "m", "messages": ASKED}, "response": CHOICES},
    "response in a body": {"body": {"model": "m", "messages": ASKED}, "response": {"body": CHOICES}},
    "both in one object": {"model": "m", "messages": ASKED, **CHOICES},
    "a conversation": {"model": "m", "messages": [*ASKED, {"role": "assistant", "content": "spam"}]},
    "parts of content": {
        "model": "m",
        "messages": [ASKED[0], {"role": "user", "content": [{"type": "text", "text": "Buy now!"}]}],
        "response": "spam",
    },
    "the Responses API": {
        "request": {"model": "m", "instructions": "Label it.", "input": "Buy now!"},
        "response": {"output": [{"type": "message", "content": [{"type": "output_text", "text": "spam"}]}]},
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_call(form: str) -> None:
    call = call_of(FORMS[form], 1)
    assert [tuple(message) for message in call.messages] == [("system", "Label it."), ("user", "Buy now!")]
    assert (call.answer, call.model) == ("spam", "m")


def test_a_function_call_answers_its_arguments() -> None:
    message = {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]}
    assert call_of({"messages": ASKED, "choices": [{"message": message}]}, 1).answer == '{"a": 1}'


def test_tokens_money_and_times_are_taken_along() -> None:
    row = {"messages": ASKED, "response": {**CHOICES, "created": 1_760_000_000, "usage": {"input_tokens": 9}}}
    call = call_of({**row, "cost": 0.25}, 1)
    assert (call.at, call.prompt_tokens, call.completion_tokens, call.usd) == (1_760_000_000, 9, None, 0.25)
    assert call_of({**row, "timestamp": "2025-10-09T08:53:20Z"}, 1).at == 1_760_000_000
    assert call_of({**row, "timestamp": 1_760_000_000_500}, 1).at == 1_760_000_000.5


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_the_two_files_of_a_batch_are_joined(tmp_path: Path) -> None:
    asked = write(
        tmp_path / "in.jsonl",
        *({"custom_id": f"r{n}", "body": {"messages": ASKED, "model": "m"}} for n in range(3)),
    )
    answered = write(
        tmp_path / "out.jsonl",
        *({"custom_id": f"r{n}", "response": {"body": CHOICES}, "error": None} for n in (2, 0, 7)),
    )
    log = read_calls([answered, asked])
    assert [call.answer for call in log.calls] == ["spam", "spam"]
    assert log.skipped == 2
    assert "no answer to the batch request 'r1'" in log.first_skipped[0]


def test_what_is_no_call_is_counted_with_its_line(tmp_path: Path) -> None:
    picture = {"messages": [{"role": "user", "content": [{"type": "image_url"}]}], "response": "a cat"}
    bad = ["{", "7", {"a": 1}, {"messages": ASKED}, picture, {"messages": [{}], "response": "x"}, {"messages": 3}]
    log = read_calls([write(tmp_path / "calls.jsonl", *bad, FORMS["a conversation"])])
    assert (len(log.calls), log.skipped) == (1, len(bad))
    assert log.calls[0] == Call(log.calls[0].messages, "spam", 8, "m")
    assert all(where.startswith(f"{tmp_path}/calls.jsonl:{n}: ") for n, where in enumerate(log.first_skipped, 1))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        read_calls([tmp_path / "none.jsonl"])
    with pytest.raises(UsageError, match="directory"):
        read_calls([tmp_path])
    assert read_calls([write(tmp_path / "empty.jsonl")]).calls == []

"""Which options go with which oracle; what a model is told."""

from __future__ import annotations

from typing import Any

import pytest

from loopai_runtime.errors import SpecError
from loopai_runtime.models import OracleConfig
from loopai_runtime.validation import options, prompt
from loopai_runtime.validation.prompt import Example


def config(**given: Any) -> OracleConfig:
    return OracleConfig.model_validate(given)


@pytest.mark.parametrize(
    ("given", "name", "said"),
    [
        ({"kind": "llm"}, "", "kind llm needs model"),
        ({"kind": "openai", "url": "http://x/v1"}, "", "kind openai needs model"),
        ({"kind": "http"}, "", "kind http needs url"),
        ({"kind": "http", "url": "oracle.example.com"}, "url", "must be an address"),
        ({"kind": "http", "url": "https://me:pw@x.com/"}, "url", "must not hold a user name"),
        ({"kind": "http", "url": "https://x.com/", "model": "m"}, "model", "model does not go with kind http"),
        ({"kind": "command"}, "", "kind command needs command"),
        ({"kind": "command", "command": " "}, "command", "command must not be empty"),
        ({"kind": "command", "command": "say 'hi"}, "command", "cannot be split"),
        ({"kind": "labels", "output": "label"}, "", "which is not given"),
        ({"kind": "human", "n": 3}, "n", "n does not go with kind human"),
    ],
)
def test_options_that_do_not_fit_are_named(given: dict[str, Any], name: str, said: str) -> None:
    ((where, message),) = list(options.wrong(config(**given)))
    assert where == name
    assert said in message


def test_each_kind_can_be_given_in_one_line() -> None:
    for given in (
        {"kind": "llm", "model": "gpt-4o-mini"},
        {
            "kind": "openai",
            "model": "llama3",
            "url": "http://localhost:11434/v1",
            "headers": {"X-Team": "${TEAM}"},
        },
        {"kind": "http", "url": "https://oracle.example.com/answer", "usd_per_call": 0.001, "batch": 20},
        {"kind": "command", "command": ["python", "oracle.py"]},
        {"kind": "labels"},
        {"kind": "human"},
    ):
        assert list(options.wrong(config(**given))) == []


def test_variables_are_expanded_where_secrets_and_places_stand() -> None:
    given = config(kind="http", url="https://${HOST}/x", api_key="${KEY}", headers={"X-Plain": "$${HOST}"})
    made = options.expanded(given, {"HOST": "oracle.example.com", "KEY": "k-1\n"})
    assert (made.url, made.api_key, made.headers) == (
        "https://oracle.example.com/x",
        "k-1",
        {"X-Plain": "${HOST}"},
    )
    with pytest.raises(SpecError, match=r"\$\.oracle\.api_key: the environment variable KEY is not set"):
        options.expanded(given, {"HOST": "x"})
    with pytest.raises(SpecError, match="no HTTP header can hold"):
        options.expanded(given, {"HOST": "x.com", "KEY": "k\r\nX-Evil: 1"})


def test_labels_are_told_with_their_meaning() -> None:
    schema = {"oneOf": [{"const": "p1", "description": "the service is down"}, {"const": "p2"}]}
    told = prompt.messages("Rate it.", {}, schema, [], {"text": "x"})[0]["content"]
    assert '- "p1": the service is down\n- "p2"' in told
    free = prompt.messages("Total?", {}, {"type": "number", "minimum": 0}, [], 1)[0]["content"]
    assert '{"type": "number", "minimum": 0}' in free


def test_the_input_schema_is_told_where_it_says_more_than_types() -> None:
    plain = {"type": "object", "properties": {"text": {"type": "string"}}}
    said = {"type": "object", "properties": {"text": {"type": "string", "description": "subject and body"}}}
    assert "# Inputs" not in prompt.messages("d", plain, {}, [], 1)[0]["content"]
    assert "subject and body" in prompt.messages("d", said, {}, [], 1)[0]["content"]


def test_each_label_has_its_share_of_the_examples_that_are_shown() -> None:
    many = [Example({"text": f"mail {i}" * (1 + i % 5)}, "spam") for i in range(100)]
    few = [Example({"text": "hello"}, "ham"), Example({"text": "x" * 5000}, "ham")]
    shown = prompt.shown(many + few, None)
    assert len(shown) == 8
    assert [one.output for one in shown].count("ham") == 1
    assert len(prompt.shown(many, 3)) == 3
    assert prompt.shown(many, 0) == []
    labels = [Example(i, f"label {i % 20}") for i in range(100)]
    assert {one.output for one in prompt.shown(labels, None)} == {f"label {i}" for i in range(20)}
    assert prompt.shown(many, 8) == prompt.shown(many, 8)

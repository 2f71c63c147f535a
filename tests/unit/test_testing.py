"""The scripted server itself, asked over plain HTTP."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from typing import Any

import httpx
import pytest

from loopai_runtime.llm.provider import litellm
from loopai_runtime.testing import (
    Failure,
    Fault,
    FaultProxy,
    Raw,
    Says,
    ScriptedClock,
    ScriptedLLM,
    ScriptedOracle,
)


def post(llm: ScriptedLLM, **more: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **more}
    return httpx.post(f"{llm.api_base}/chat/completions", json=body, headers={"X-Me": "1"}, timeout=60)


def test_a_list_is_played_in_order_and_its_last_item_repeats() -> None:
    with ScriptedLLM(["a", "b"]) as llm:
        texts = [post(llm).json()["choices"][0]["message"]["content"] for _ in range(3)]
        assert texts == ["a", "b", "b"]
        assert llm.requests[0].prompt == "hello"
        assert llm.requests[0].headers["x-me"] == "1"


def test_a_function_answers_what_was_asked() -> None:
    with ScriptedLLM(lambda body: body["messages"][0]["content"].upper()) as llm:
        assert post(llm).json()["choices"][0]["message"]["content"] == "HELLO"


def test_failures_are_worded_as_openai_does() -> None:
    with ScriptedLLM([Failure(429, "slow down", retry_after="7")]) as llm:
        answer = post(llm)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["message"] == "slow down"


def test_anything_may_be_said_about_usage_and_the_reason_to_stop() -> None:
    with ScriptedLLM(
        [Says("x", finish_reason="length", usage={"prompt_tokens": "many"}), Says("four" * 4)]
    ) as llm:
        odd, counted = post(llm).json(), post(llm).json()
    assert odd["choices"][0]["finish_reason"] == "length"
    assert odd["usage"] == {"prompt_tokens": "many"}
    assert counted["usage"] == {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}


def test_a_stream_is_the_same_answer_in_pieces() -> None:
    with ScriptedLLM(["one two three"]) as llm:
        answer = post(llm, stream=True)
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert answer.headers["content-type"] == "text/event-stream"
    assert events[-1] == "[DONE]"
    parts = [json.loads(event) for event in events[:-1]]
    assert "".join(part["choices"][0]["delta"].get("content", "") for part in parts) == "one two three"
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.skipif(find_spec("litellm") is None, reason="litellm is not installed")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_litellm_reads_the_stream() -> None:
    with ScriptedLLM(["one two three"]) as llm:
        chunks = litellm().completion(
            model="openai/x",
            messages=[{"role": "user", "content": "x"}],
            api_base=llm.api_base,
            api_key="none",
            stream=True,
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"


def test_raw_answers_may_be_anything() -> None:
    with ScriptedLLM([Raw(b"<html>", 418, "text/html"), Raw(b"no HTTP at all", headless=True)]) as llm:
        answer = post(llm)
        assert (answer.status_code, answer.text, answer.headers["content-type"]) == (418, "<html>", "text/html")
        with pytest.raises(httpx.RemoteProtocolError):
            post(llm)


def test_slowness_ends_with_the_test() -> None:
    started = time.monotonic()
    with ScriptedLLM([Says("x", delay_s=600)]) as llm, pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{llm.api_base}/chat/completions", json={}, timeout=httpx.Timeout(60, read=0.2))
    assert time.monotonic() - started < 300


def test_a_scripted_clock_moves_when_told() -> None:
    clock = ScriptedClock(100.0)
    assert clock() == clock() == 100.0
    clock.advance(2.5)
    assert clock() == 102.5


def test_a_fault_proxy_does_what_the_script_says_and_then_nothing() -> None:
    script: list[Fault | None] = [None, "refuse", "reset", "error", "lose", "twice", "slow"]
    with ScriptedOracle(lambda body: (200, {"got": body})) as oracle:
        target, path = oracle.url.rsplit("/", 1)
        with FaultProxy(target, script, slow_s=0.01) as proxy:

            def ask(n: int) -> int | None:
                try:
                    return httpx.post(f"{proxy.url}/{path}", json=n, timeout=60, trust_env=False).status_code
                except httpx.TransportError:
                    return None

            answers = [ask(n) for n in range(len(script) + 1)]
            assert answers == [200, None, None, 503, None, 200, 200, 200]
            assert proxy.done == [*script, None]
    assert oracle.asked == [0, 4, 5, 5, 6, 7]

"""A language model asked through the real litellm, at a real server that plays scripts."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.bars import SOAK, within

from loopai_runtime.errors import CapReached, LoopaiError, ModelError
from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Ledger, read
from loopai_runtime.llm import AnswerCache, Endpoint, Model, Prices, Reply, model, provider
from loopai_runtime.llm.bill import most_tokens
from loopai_runtime.testing import MODEL, Failure, Raw, Says, ScriptedLLM

# litellm hands odd answers to pydantic, which warns of them; outside of tests that is silenced when it is loaded.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
    pytest.mark.skipif(find_spec("litellm") is None, reason="litellm is not installed"),
]

HELLO = [{"role": "user", "content": "hello"}]
PRICES = Prices(1.0, 2.0)
LABEL = {"type": "string", "enum": ["spam", "ham"]}
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(model, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def asking(layout: Layout) -> Callable[..., Model]:
    def make(llm: ScriptedLLM, name: str = MODEL, cap: float = math.inf, **more: Any) -> Model:
        options = {"prices": PRICES, "timeout_s": 10.0} | {
            key: more.pop(key) for key in ("prices", "timeout_s", "attempt_s", "api_key") if key in more
        }
        return Model(Endpoint(name, llm.api_base, **options), Ledger(layout, max_usd_per_command=cap), **more)

    return make


def ask(one: Model, **more: Any) -> Reply:
    return one.ask(HELLO, **{"purpose": "write", "max_tokens": 50, **more})


# --- answers and their price


def test_an_answer_and_what_it_cost(asking: Callable[..., Model], layout: Layout) -> None:
    with ScriptedLLM([Says("hi", usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})]) as llm:
        reply = ask(asking(llm), temperature=0.5)
    assert reply.text == "hi"
    assert reply.spent[:5] == (MODEL, 9, 4, pytest.approx(17e-6), False)
    assert [(entry.state, entry.usd) for entry in read(layout)] == [("spent", 17e-6)]
    (asked,) = llm.requests
    assert (asked.path, asked.body["model"]) == ("/v1/chat/completions", "scripted")
    assert (asked.body["max_tokens"], asked.body["temperature"]) == (50, 0.5)


def test_a_known_price_counts_on_this_machine_too(asking: Callable[..., Model]) -> None:
    with ScriptedLLM([Says("hi", usage={"prompt_tokens": 1000, "completion_tokens": 10})]) as llm:
        priced = asking(llm, "gpt-4o-mini", prices=None)
        assert priced.prices() == pytest.approx((0.15, 0.6))
        assert priced.most_usd(HELLO, 50) > 0
        free = asking(llm, "openai/never-heard-of", prices=None)
        assert free.most_usd(HELLO, 50) == 0
        assert ask(free).spent.usd == 0


def test_an_unknown_price_elsewhere_is_refused_before_anything_is_sent(layout: Layout) -> None:
    one = Model(Endpoint("openai/never-heard-of", "http://192.0.2.1/v1"), Ledger(layout, max_usd_per_command=1))
    with pytest.raises(ModelError, match=r"price of 'openai/never-heard-of' at 192.0.2.1 is not known") as caught:
        ask(one)
    assert "prices:" in str(caught.value.hint)
    assert read(layout) == []


def test_a_limit_of_nothing_makes_no_call(asking: Callable[..., Model]) -> None:
    with ScriptedLLM() as llm:
        with pytest.raises(CapReached, match="no call"):
            ask(asking(llm, cap=0.0, prices=Prices(0, 0)))
        assert llm.requests == []


def test_the_call_that_could_pass_the_limit_is_not_made(asking: Callable[..., Model]) -> None:
    with ScriptedLLM([Says("hi", usage={"prompt_tokens": 9, "completion_tokens": 50})]) as llm:
        one = asking(llm)
        most = one.most_usd(HELLO, 50)
        one = asking(llm, cap=most + 2 * 109e-6)
        for _ in range(3):
            ask(one)
        with pytest.raises(CapReached):
            ask(one)
        assert len(llm.requests) == 3


def test_a_server_that_reports_more_than_can_be_is_not_asked_again(
    asking: Callable[..., Model], layout: Layout
) -> None:
    with ScriptedLLM([Says("hi", usage={"prompt_tokens": 500, "completion_tokens": 400})]) as llm:
        one = asking(llm)
        assert ask(one).spent.usd == pytest.approx(1300e-6)
        with pytest.raises(CapReached, match="reports 500 \\+ 400 tokens"):
            ask(one)
        assert len(llm.requests) == 1
    assert sum(entry.usd for entry in read(layout)) == pytest.approx(1300e-6)


# --- the form of answers


@pytest.mark.parametrize("text", ['"spam"', 'Well: ```json\n"spam"\n```', "spam"])
def test_a_value_that_the_schema_accepts_is_found_in_prose(asking: Callable[..., Model], text: str) -> None:
    with ScriptedLLM([text]) as llm:
        assert ask(asking(llm), schema=LABEL).data == "spam"
    assert '"enum": ["spam", "ham"]' in llm.requests[0].prompt


def test_a_model_that_can_be_held_to_a_schema_is(asking: Callable[..., Model]) -> None:
    with ScriptedLLM(['{"answer": "ham"}']) as llm:
        assert ask(asking(llm, "gpt-4o-mini"), schema=LABEL).data == "ham"
    held = llm.requests[0].body["response_format"]["json_schema"]
    assert held["schema"]["properties"] == {"answer": LABEL}
    assert len(llm.requests[0].messages) == 1


def test_a_server_that_refuses_formats_is_asked_in_words(asking: Callable[..., Model], layout: Layout) -> None:
    script = [Failure(400, "response_format is not supported"), '"ham"', '"spam"']
    with ScriptedLLM(script) as llm:
        one = asking(llm, "gpt-4o-mini")
        assert ask(one, schema=LABEL).data == "ham"
        assert ask(one, schema=LABEL).data == "spam"
    assert ["response_format" in asked.body for asked in llm.requests] == [True, False, False]
    assert [entry.state for entry in read(layout)] == ["released", "spent", "spent"]


def test_an_answer_in_another_form_is_one_clear_line(asking: Callable[..., Model]) -> None:
    said = r"in the form asked for: no JSON in it \(it began 'I am only"
    with ScriptedLLM(["I am only a language model."]) as llm, pytest.raises(ModelError, match=said):
        ask(asking(llm), schema=LABEL)


# --- the cache


def test_the_same_question_is_paid_for_once(asking: Callable[..., Model], layout: Layout) -> None:
    with ScriptedLLM(["one", "two", "three"]) as llm:
        first, again = (asking(llm, cache=AnswerCache(layout)) for _ in range(2))
        assert (ask(first).text, ask(again).text) == ("one", "one")
        assert ask(again).spent == (MODEL, 1, 1, 0.0, True, 0.0)
        assert ask(again, sample=1).text == "two"
        assert ask(again, max_tokens=51).text == "three"
    assert len(llm.requests) == 3
    assert len(read(layout)) == 3


def test_what_is_known_needs_no_money(asking: Callable[..., Model], layout: Layout) -> None:
    with ScriptedLLM(["one"]) as llm:
        ask(asking(llm, cache=AnswerCache(layout)))
        assert ask(asking(llm, cap=0.0, cache=AnswerCache(layout))).text == "one"


def test_failures_are_not_kept(asking: Callable[..., Model], layout: Layout) -> None:
    with ScriptedLLM([Says("half", finish_reason="length"), "gibberish", '"ham"']) as llm:
        one = asking(llm, cache=AnswerCache(layout))
        for _ in range(2):
            with pytest.raises(ModelError):
                ask(one, schema=LABEL)
        assert ask(one, schema=LABEL).data == "ham"


# --- what leaves


def test_what_leaves_is_announced_once_and_before(asking: Callable[..., Model]) -> None:
    told: list[tuple[str, int]] = []
    with ScriptedLLM() as llm:
        one = asking(llm, leaving=lambda destination: told.append((destination, len(llm.requests))))
        threads = [threading.Thread(target=ask, args=(one,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == [(llm.api_base.split("/")[2], 0)]
        assert len(llm.requests) == 4


def test_the_environment_names_the_address(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedLLM() as llm:
        for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
            monkeypatch.setenv(name, llm.api_base)
            endpoint = Endpoint("openai/x", timeout_s=5)
            assert endpoint.loopback
            assert endpoint.destination == llm.api_base.split("/")[2]
            assert ask(Model(endpoint, Ledger(layout, max_usd_per_command=1))).text == "ok"
            monkeypatch.delenv(name)
    assert len(llm.requests) == 2


def test_a_name_without_a_provider_is_fine_at_an_address_of_its_own(asking: Callable[..., Model]) -> None:
    with ScriptedLLM() as llm:
        assert ask(asking(llm, "qwen/some-model")).text == "ok"
    assert llm.requests[0].body["model"] == "qwen/some-model"


def test_destinations_are_hosts_or_providers() -> None:
    assert Endpoint("openai/gpt-4o-mini").destination == "api.openai.com"
    assert Endpoint("x", "https://gpu.example:8443/v1?key=1").destination == "gpu.example:8443"
    assert Endpoint("anthropic/claude-sonnet-4-5").destination == "anthropic"
    assert Endpoint("ollama/llama3").loopback


# --- failures


def test_a_storm_of_429_is_waited_out(asking: Callable[..., Model], layout: Layout) -> None:
    storm = [Failure(429, retry_after="0.05"), Failure(429, retry_after="0.05"), Failure(503), "at last"]
    with ScriptedLLM(storm) as llm:
        assert ask(asking(llm)).text == "at last"
    assert [entry.state for entry in read(layout)] == ["released"] * 3 + ["spent"]


def test_a_call_that_hangs_is_made_again(asking: Callable[..., Model], layout: Layout) -> None:
    with ScriptedLLM([Says("never", delay_s=3600), "at last"]) as llm:
        assert ask(asking(llm, timeout_s=120.0, attempt_s=1.5)).text == "at last"
    hung, answered = read(layout)
    assert (hung.state, hung.usd) == ("spent", hung.most_usd)  # nobody knows whether the provider worked on it
    assert answered.usd < answered.most_usd


def test_retry_after_is_honoured_within_the_time_there_is(asking: Callable[..., Model]) -> None:
    with ScriptedLLM([Failure(429, retry_after="0.4"), "ok", Failure(429, retry_after="3600")]) as llm:
        one, started = asking(llm, timeout_s=30.0), time.monotonic()
        ask(one)
        assert time.monotonic() - started >= 0.4
        with pytest.raises(ModelError, match="429"):
            ask(one)
        assert time.monotonic() - started < 600  # an hour is not waited for


def test_retries_end(asking: Callable[..., Model]) -> None:
    with ScriptedLLM([Failure(500, "boom")]) as llm:
        with pytest.raises(ModelError, match="failed with 500: boom"):
            ask(asking(llm))
        assert len(llm.requests) == model.ATTEMPTS


def test_each_attempt_is_within_the_limit(asking: Callable[..., Model], layout: Layout) -> None:
    """A gateway's 504 may hide a call that was made and billed: then there is no money for another."""
    with ScriptedLLM([Failure(504)]) as llm:
        one = asking(llm)
        one = asking(llm, cap=1.5 * one.most_usd(HELLO, 50))
        with pytest.raises(CapReached):
            ask(one)
        assert len(llm.requests) == 1
    assert [(entry.state, entry.usd) for entry in read(layout)] == [("spent", one.most_usd(HELLO, 50))]


@pytest.mark.parametrize(
    ("failure", "said", "hint", "times"),
    [
        (Failure(401, f"Incorrect API key provided: {KEY}"), "refused the key", "check the key", 1),
        (Failure(403, "no"), "refused the key", "check the key", 1),
        (Failure(404, "no such model"), "does not know", "check the model's name", 1),
        (Failure(400, "context too long"), "refused the request (400): context too long", None, 1),
        (Failure(429, "You exceeded your current quota"), "over its limit (429)", "wait", 1),
        (Raw(b"", 301, headers={"Location": "http://localhost:1"}), "redirects to another address", "api_base", 1),
        (Says("x", delay_s=60), "did not answer within", "again", 1),
        (Says("x", drip_s=0.2), "did not answer within", "again", 1),
        (Raw(b"HTTP/1.1 200 OK\r\n", headless=True), "broke the connection off", "network", 4),
        (Raw(b"garbage", headless=True), "broke the connection off", "network", 4),
        (Says("hi", finish_reason="length"), "was cut off at 50 tokens", "more tokens", 1),
        (Says(""), "answered nothing (stop)", None, 1),
        (Says(" \n"), "answered nothing", None, 1),
        (Says("half a", finish_reason="content_filter"), "stopped by its provider's content filter", None, 1),
    ],
)
def test_every_failure_is_one_clear_line(
    asking: Callable[..., Model], failure: Any, said: str, hint: str | None, times: int
) -> None:
    with ScriptedLLM([failure]) as llm:
        with pytest.raises(ModelError) as caught:
            ask(asking(llm, timeout_s=1.5 if "within" in said else 30, api_key=SecretStr(KEY)))
        assert len(llm.requests) == times
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    assert len(text) < 400
    assert KEY not in text + str(caught.value.hint)
    assert (hint in str(caught.value.hint)) if hint else caught.value.hint is None


def test_other_providers_go_over_the_same_wire(asking: Callable[..., Model]) -> None:
    """Whatever client litellm has for them: redirects are not followed, and slow answers end."""
    answer = {
        "id": "m", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 9, "output_tokens": 3},
    }  # fmt: skip
    elsewhere = Raw(b"", 307, headers={"Location": "http://localhost:1"})
    script = [Raw(json.dumps(answer).encode()), elsewhere, Says("x", drip_s=0.2), Failure(400, "odd request")]
    with ScriptedLLM(script) as llm:
        one = asking(llm, "anthropic/claude-sonnet-4-5", timeout_s=1.5, api_key=SecretStr(KEY))
        assert ask(one).spent[1:4] == (9, 3, PRICES.usd(9, 3))
        for said in ("redirects", "did not answer within", r"refused the request \(400\): odd request$"):
            with pytest.raises(ModelError, match=said):
                ask(one)
        assert len(llm.requests) == 4


def test_keys_are_written_nowhere(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pydantic import SecretStr\nfrom loopai_runtime.errors import ModelError\n"
        "from loopai_runtime.layout import Layout\nfrom loopai_runtime.ledger import Ledger\n"
        "from loopai_runtime.llm import AnswerCache, Endpoint, Model\n"
        "layout = Layout(sys.argv[2])\n"
        f"one = Model(Endpoint('openai/x', sys.argv[1], SecretStr({KEY!r})),"
        " Ledger(layout, max_usd_per_command=1), AnswerCache(layout))\n"
        "for _ in range(3):\n    try:\n"
        "        print(one.ask([{'role': 'user', 'content': 'x'}], purpose='write', max_tokens=9, sample=_))\n"
        "    except ModelError as error:\n        print(error, error.hint)\n"
    )
    script = ["fine", Failure(401, f"the key {KEY} is wrong"), Raw(b"<html>")]
    with ScriptedLLM(script) as llm:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, llm.api_base, str(tmp_path)],
            capture_output=True,
            text=True,
            env=os.environ | {"LITELLM_LOG": "DEBUG", "OPENAI_LOG": "debug"},
            timeout=300,
        )
        assert [asked.headers["authorization"] for asked in llm.requests] == [f"Bearer {KEY}"] * 3
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert KEY not in done.stdout + done.stderr
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(KEY.encode() in content for content in kept)


def test_an_installation_without_litellm_says_what_to_type() -> None:
    code = (
        "import sys\nsys.modules['litellm'] = None\nfrom loopai_runtime.errors import MissingExtra\n"
        "from loopai_runtime.llm import Endpoint\n"
        "try:\n    Endpoint('gpt-4o-mini').loopback\nexcept MissingExtra as error:\n    print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout.strip() == "pip install 'loopai-runtime[llm]'"


def test_long_prompts_have_their_higher_price(monkeypatch: pytest.MonkeyPatch) -> None:
    library = provider.litellm()
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "openai"}
    above = {"input_cost_per_token_above_200k_tokens": 3e-6, "output_cost_per_token_above_200k_tokens": 5e-6}
    priority = {"input_cost_per_token_above_200k_tokens_priority": 9e-6}
    monkeypatch.setitem(library.model_cost, "tiered", prices | above | priority)
    endpoint = Endpoint("openai/tiered")
    assert provider.known_prices(endpoint, 200_000) == pytest.approx((1.0, 2.0))
    assert provider.known_prices(endpoint, 200_001) == pytest.approx((3.0, 5.0))
    for broken in ({"input_cost_per_token": None}, {"output_cost_per_token": -1}, {"litellm_provider": "other"}):
        monkeypatch.setitem(library.model_cost, "tiered", prices | broken)
        assert provider.known_prices(endpoint, 1) is None


def test_nobody_listening_is_said_at_once(layout: Layout) -> None:
    with ScriptedLLM() as llm:
        gone = llm.api_base
    with within(5), pytest.raises(ModelError, match="cannot be reached"):
        ask(Model(Endpoint(MODEL, gone, timeout_s=60), Ledger(layout, max_usd_per_command=1)))
    assert [entry.state for entry in read(layout)] == ["released"]


def test_a_missing_key_names_its_variable_and_sends_nothing(layout: Layout) -> None:
    for name, variable in (
        ("gpt-4o-mini", "OPENAI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
    ):
        with pytest.raises(ModelError, match="no key for") as caught:
            ask(Model(Endpoint(name, prices=PRICES), Ledger(layout, max_usd_per_command=1)))
        assert variable in str(caught.value.hint)
    assert read(layout) == []


def test_an_unknown_model_is_said_before_anything_is_sent(layout: Layout) -> None:
    with pytest.raises(ModelError, match="'no-such-model' is unknown"):
        ask(Model(Endpoint("no-such-model", prices=PRICES), Ledger(layout, max_usd_per_command=1)))


def test_an_interrupted_call_counts_as_spent(asking: Callable[..., Model], layout: Layout) -> None:
    def interrupted(destination: str) -> None:
        raise KeyboardInterrupt

    with ScriptedLLM() as llm:
        one = asking(llm, leaving=interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask(one)
    (entry,) = read(layout)
    assert (entry.state, entry.usd) == ("spent", pytest.approx(entry.most_usd))


# --- answers that are none


def good() -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


ODD: list[Any] = [None, [], {}, "", "x", 0, -1, 1e308, True, [None], [[]], {"x": None}, "\u0000", "é" * 1000]
BODIES = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"5",
    b'"text"',
    b"<html><body>502 Bad Gateway</body></html>",
    b"{",
    b'{"choices": [',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"NaN",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"data: {}\n\ndata: [DONE]\n\n",
    b'{"error": {"message": "odd", "code": 7}}',
    b'{"error": "plain"}',
    b"x" * 9_000_000,
    json.dumps(good() | {"choices": []}).encode(),
    b'{"choices": [{"message": {"content": "' + b"a" * 200_000,
    json.dumps(good()).encode().replace(b'"hi"', b'"\\ud800"'),
    json.dumps(good()).encode().replace(b"5", b"1" * 5000),
    json.dumps(good()).encode().replace(b"5", b"1e999"),
]
TYPES = ["application/json", "text/html", "text/plain; charset=klingon", "", "application/octet-stream", "é/ü"]


def spoiled(dice: random.Random) -> Raw:
    """Some answer that is not as it should be."""
    kind = dice.randrange(3)
    if kind == 0:
        return Raw(dice.choice(BODIES), content_type=dice.choice(TYPES[:1] * 5 + TYPES))
    whole = good()
    if kind == 1:
        place: Any = whole
        while True:
            key = dice.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], dict | list) and place[key] and dice.random() < 0.7:
                place = place[key]
                continue
            if isinstance(place, dict) and dice.random() < 0.3:
                del place[key]
            else:
                place[key] = dice.choice(ODD)
            break
        return Raw(json.dumps(whole).encode())
    data = bytearray(json.dumps(whole).encode())
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(data))
        if dice.random() < 0.5:
            data[at] = dice.randrange(256)
        else:
            del data[at : at + dice.randrange(1, 30)]
    return Raw(bytes(data))


def outcome(one: Model) -> str | LoopaiError:
    try:
        return ask(one).text
    except LoopaiError as exc:
        return exc


def no_malformed_answer_ends_in_anything_but_a_clear_line(
    asking: Callable[..., Model], layout: Layout, script: list[Raw]
) -> None:
    with ScriptedLLM(script) as llm:
        # A model each: a bill that cannot be ends a model's calls.
        outcomes = [outcome(asking(llm)) for _ in script]
        assert len(llm.requests) == len(script)
    lines = [str(error) for error in outcomes if isinstance(error, ModelError)]
    assert len(lines) + sum(isinstance(text, str) for text in outcomes) == len(script)
    assert [line for line in lines if "\n" in line or len(line) > 400 or "Traceback" in line] == []
    assert len(lines) > len(script) / 4
    # Whatever came back, each call has been paid for.
    assert len(read(layout)) == len(script)
    assert all(entry.state == "spent" and entry.usd > 0 for entry in read(layout))


def test_a_malformed_answer_ends_in_a_clear_line(asking: Callable[..., Model], layout: Layout) -> None:
    dice = random.Random(7)
    script = [Raw(body) for body in BODIES] + [spoiled(dice) for _ in range(25)]
    no_malformed_answer_ends_in_anything_but_a_clear_line(asking, layout, script)


@pytest.mark.slow
def test_no_malformed_answer_ends_in_anything_else(asking: Callable[..., Model], layout: Layout) -> None:
    dice = random.Random(11)
    script = [spoiled(dice) for _ in range(round(4000 * SOAK))]
    no_malformed_answer_ends_in_anything_but_a_clear_line(asking, layout, script)


# --- two at once

ASKS_ON = """
import sys
from loopai_runtime.errors import CapReached
from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Ledger
from loopai_runtime.llm import Endpoint, Model, Prices
url, place, cap = sys.argv[1:]
one = Model(Endpoint("openai/x", url, prices=Prices(1.0, 2.0)),
            Ledger(Layout(place), max_usd_per_command=10.0, max_usd_per_day=float(cap)))
while True:
    try:
        one.ask([{"role": "user", "content": "hello"}], purpose="write", max_tokens=50)
    except CapReached:
        break
"""


@pytest.mark.slow
def test_two_processes_together_stay_within_the_day(layout: Layout) -> None:
    most = Prices(1.0, 2.0).usd(most_tokens(HELLO), 50)
    cap = 30.5 * most
    # The server bills all that was set aside, so that the last dollar counts.
    with ScriptedLLM([Says("hi", usage={"prompt_tokens": most_tokens(HELLO), "completion_tokens": 50})]) as llm:
        line = [sys.executable, "-c", ASKS_ON, llm.api_base, str(layout.root), str(cap)]
        both = [subprocess.Popen(line) for _ in range(2)]
        assert [process.wait(300) for process in both] == [0, 0]
        assert len(llm.requests) == 30
    assert len({entry.command for entry in read(layout)}) == 2
    assert sum(entry.usd for entry in read(layout)) <= cap

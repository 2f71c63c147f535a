"""An oracle that is an HTTP service: real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.bars import within

from loopai_runtime.errors import CapReached, OracleError
from loopai_runtime.testing import ScriptedOracle
from loopai_runtime.validation.oracle import Verdict
from loopai_runtime.validation.paid import Fee
from loopai_runtime.validation.post import Post
from loopai_runtime.validation.service import Service

from .conftest import CountingPurse, Handler

Serve = Callable[[Handler], ScriptedOracle]


def service(
    url: str, *, timeout_s: float = 20, batch: int = 1, usd: float = 0.0, purse: Any = None, key: str | None = None
) -> Service:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    fee = Fee(purse or CountingPurse(), usd, purpose="validate", name="http")
    return Service(Post(url, headers, "the oracle", key), timeout_s=timeout_s, batch=batch, fee=fee)


def outputs(answers: list[Any]) -> list[Any]:
    return [answer.output for answer in answers if isinstance(answer, Verdict)]


def test_an_input_is_posted_and_an_output_comes_back(serve: Serve) -> None:
    there = serve(lambda body: (200, {"output": body["input"]["text"].upper()}))
    assert outputs(service(there.url, key="k-123").ask([{"text": "hi"}])) == ["HI"]
    assert there.headers[0]["authorization"] == "Bearer k-123"
    assert there.asked == [{"input": {"text": "hi"}}]


def test_a_batch_goes_as_one(serve: Serve) -> None:
    there = serve(lambda body: (200, {"outputs": [value * 2 for value in body["inputs"]]}))
    assert outputs(service(there.url, batch=5).ask([1, 2, 3])) == [2, 4, 6]
    assert len(there.asked) == 1


def test_what_may_pass_is_tried_again_and_paid_once(serve: Serve, purse: CountingPurse) -> None:
    replies = iter([(503, {}), (429, {"error": "slow"}), (200, {"output": 1})])
    there = serve(lambda _body: next(replies))
    assert outputs(service(there.url, usd=0.1, purse=purse).ask(["x"])) == [1]
    assert purse.spent == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("reply", "said", "why"),
    [
        (
            (401, {"error": {"message": "key sk-secret is wrong"}}),
            "the oracle answers 401: key … is wrong",
            "unreachable",
        ),
        ((404, b"<html>"), "the oracle answers 404", "unreachable"),
        ((422, {"detail": "too long"}), "the oracle answers 422: too long", "answer"),
        ((302, b""), "redirects to another address", "unreachable"),
        ((200, b"<html>hello</html>"), "answers what is not JSON", "unreachable"),
        ((200, {"label": "spam"}), 'answers no {"output": …}', "answer"),
        ((200, b'{"output": NaN}'), "NaN is not JSON", "unreachable"),
        ((200, b"[" * 100_000), "nested too deeply", "unreachable"),
    ],
)
def test_what_goes_wrong_is_one_line(serve: Serve, reply: tuple[int, Any], said: str, why: str) -> None:
    there = serve(lambda _body: reply)
    with pytest.raises(OracleError) as error:
        service(there.url, timeout_s=60, key="sk-secret").ask(["x"])
    assert said in str(error.value)
    assert error.value.why == why
    assert "sk-secret" not in str(error.value)


def test_nobody_there_and_nobody_who_answers() -> None:
    with pytest.raises(OracleError, match="cannot be reached: connection refused"):
        service("http://127.0.0.1:9/", timeout_s=1).ask(["x"])
    late = pytest.raises(OracleError, match="no answer from the oracle within")
    with socket.create_server(("127.0.0.1", 0)) as silent, within(5), late:
        service(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.5).ask(["x"])


def test_an_empty_purse_makes_no_call(serve: Serve) -> None:
    there = serve(lambda _body: (200, {"output": 1}))
    with pytest.raises(CapReached):
        service(there.url, usd=0.1, purse=CountingPurse(0.05)).ask(["x"])
    assert not there.asked

"""What stands around every oracle that is reached by a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopai_runtime.errors import CapReached, OracleError
from loopai_runtime.layout import Layout
from loopai_runtime.redaction import Redactor
from loopai_runtime.schemas import Schema
from loopai_runtime.validation.answers import MAX_AGE_S, Answers
from loopai_runtime.validation.oracle import Answer, Remote, Verdict
from loopai_runtime.validation.pace import Breaker, Pace
from loopai_runtime.validation.veil import Veil


class Told:
    """A source that answers by a function, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Any], Any], batch: int = 1) -> None:
        self.batch = batch
        self.asked: list[list[Any]] = []
        self._answer = answer

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        self.asked.append(list(inputs))
        return [Verdict(self._answer(value), 0.01, 1.0) for value in inputs]


def remote(
    source: Any,
    tmp_path: Path | None = None,
    *,
    schema: Any = None,
    veil: Veil | None = None,
    breaker: Breaker | None = None,
    announced: list[Any] | None = None,
    concurrency: int = 4,
) -> Remote:
    return Remote(
        "command",
        "told",
        source,
        outputs=Schema(schema or {}),
        veil=veil or Veil(),
        cache=Answers(Layout(tmp_path), {"who": 1}) if tmp_path else None,
        breaker=breaker or Breaker(),
        pace=Pace(None, 1.0),
        concurrency=concurrency,
        before_first=(announced if announced is not None else []).append,
    )


def outputs(answers: list[Answer]) -> list[Any]:
    return [answer.output if isinstance(answer, Verdict) else type(answer) for answer in answers]


def test_answers_come_in_order_and_equal_inputs_are_paid_for_once() -> None:
    source = Told(lambda value: value * 2, batch=2)
    answers = remote(source).ask([1, 2, 1, 3, 1.0])
    assert outputs(answers) == [2, 4, 2, 6, 2]
    assert sorted(map(len, source.asked)) == [1, 2]
    assert [a.usd for a in answers if isinstance(a, Verdict)] == [0.01, 0.01, 0.0, 0.01, 0.0]


def test_what_was_answered_is_never_asked_again(tmp_path: Path) -> None:
    source = Told(str)
    first = remote(source, tmp_path).ask([1, 2])
    again = remote(source, tmp_path).ask([1, 2, 3])
    assert outputs(again) == [*outputs(first), "3"]
    assert sorted(source.asked) == [[1], [2], [3]]
    assert [a.usd for a in again if isinstance(a, Verdict)] == [0.0, 0.0, 0.01]


def test_a_damaged_or_old_answer_is_asked_for_again(tmp_path: Path) -> None:
    import os
    import time

    source = Told(str)
    remote(source, tmp_path).ask([1])
    (path,) = tmp_path.rglob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    for damaged in (b"", b"{", b'{"output": 1}', b"[1]"):
        path.write_bytes(damaged)
        assert outputs(remote(source, tmp_path).ask([1])) == ["1"]
    old = time.time() - MAX_AGE_S - 10
    os.utime(path, (old, old))
    remote(source, tmp_path).ask([1])
    assert len(source.asked) == 6


def test_another_way_of_asking_has_answers_of_its_own(tmp_path: Path) -> None:
    mine, other = Answers(Layout(tmp_path), {"n": 1}), Answers(Layout(tmp_path), {"n": 3})
    mine.put(b"1", Verdict("spam"))
    assert mine.get(b"1") == Verdict("spam")
    assert other.get(b"1") is None


def test_an_answer_that_the_schema_refuses_is_none(tmp_path: Path) -> None:
    (answer,) = remote(Told(lambda _v: "maybe"), schema={"enum": ["spam", "ham"]}).ask(["x"])
    assert isinstance(answer, OracleError)
    assert answer.why == "answer"
    assert "output_schema" in str(answer)


def test_what_fails_is_each_inputs_own_answer() -> None:
    class Failing:
        batch = 2

        def ask(self, inputs: Sequence[Any]) -> list[Answer]:
            if 3 in inputs:
                raise CapReached("no money left")
            return [Verdict(1), OracleError("not this one", why="answer")]

    answers = remote(Failing(), concurrency=1).ask([1, 2, 3, 4])
    assert isinstance(answers[0], Verdict)
    assert [a.why for a in answers[1:] if isinstance(a, OracleError)] == ["answer", "money", "money"]


def test_it_is_announced_once_before_the_first_call(tmp_path: Path) -> None:
    announced: list[Any] = []
    source = Told(str)
    oracle = remote(source, tmp_path, announced=announced)
    oracle.ask([7, 8])
    oracle.ask([9])
    assert announced in ([7], [8])
    heard: list[Any] = []
    remote(source, tmp_path, announced=heard).ask([7])
    assert heard == []  # from the cache: nothing leaves


def test_calls_go_out_together() -> None:
    together = threading.Barrier(3, timeout=120)

    def answer(value: Any) -> Any:
        together.wait()
        return value

    assert outputs(remote(Told(answer), concurrency=3).ask([1, 2, 3])) == [1, 2, 3]


# --- one that is down ------------------------------------------------------------------------------------------


def test_after_failures_in_a_row_it_is_left_alone_for_a_while_and_then_tried_by_one() -> None:
    now = [0.0]
    breaker = Breaker(failures=3, rest_s=30, clock=lambda: now[0])
    calls: list[int] = []

    class Down:
        batch = 1
        up = False

        def ask(self, inputs: Sequence[Any]) -> list[Answer]:
            calls.append(1)
            if not self.up:
                raise OracleError("refused")
            return [Verdict(1)]

    source = Down()
    oracle = remote(source, breaker=breaker, concurrency=1)
    oracle.ask(list(range(10)))
    assert len(calls) == 3
    (error,) = oracle.ask([1])
    assert "failed 3 times in a row; trying again in 30 s" in str(error)
    now[0] = 31
    source.up = True
    breaker.enter()  # one tries; the others wait for what becomes of it
    with pytest.raises(OracleError):
        breaker.enter()
    breaker.leave(answered=True)
    assert outputs(oracle.ask([1, 2])) == [1, 1]


def test_inputs_that_get_no_usable_answer_do_not_count_as_failures() -> None:
    class Picky:
        batch = 1

        def ask(self, inputs: Sequence[Any]) -> list[Answer]:
            raise OracleError("I will not say", why="answer")

    oracle = remote(Picky(), concurrency=1)
    assert all("I will not say" in str(answer) for answer in oracle.ask(list(range(20))))


def test_calls_are_spread_and_none_waits_longer_than_it_may() -> None:
    import time

    pace = Pace(100.0, patience_s=0.055)
    started = time.monotonic()
    for _ in range(4):
        pace.wait()
    assert time.monotonic() - started >= 0.03
    slow = Pace(0.01, patience_s=0.05)
    slow.wait()
    with pytest.raises(OracleError, match="more inputs wait"):
        slow.wait()


# --- what it sees ----------------------------------------------------------------------------------------------


def test_personal_data_is_hidden_and_put_back_in_the_answer() -> None:
    seen: list[Any] = []

    def answer(value: Any) -> Any:
        seen.append(value)
        return {"mail": value["text"].split()[-1]}

    oracle = remote(Told(answer), veil=Veil(Redactor()))
    (found,) = oracle.ask([{"text": "write to anna.schmidt@example.com"}])
    assert seen == [{"text": "write to [EMAIL]"}]
    assert isinstance(found, Verdict)
    assert found.output == {"mail": "anna.schmidt@example.com"}


def test_an_answer_that_hangs_on_what_was_hidden_is_none() -> None:
    oracle = remote(Told(lambda _value: "[EMAIL]"), veil=Veil(Redactor()))
    (answer,) = oracle.ask([{"text": "a@example.com or b@example.com"}])
    assert isinstance(answer, OracleError)
    assert answer.why == "answer"
    assert "[EMAIL]" in str(answer)
    assert "oracle.send" in (answer.hint or "")
    (secret,) = remote(Told(lambda _value: "[SECRET]"), veil=Veil(Redactor())).ask([{"password": 1234}])
    assert isinstance(secret, OracleError)


def test_placeholders_that_were_in_the_input_are_the_users_own() -> None:
    (answer,) = remote(Told(lambda _value: "[EMAIL]"), veil=Veil(Redactor())).ask([{"text": "the word [EMAIL]"}])
    assert outputs([answer]) == ["[EMAIL]"]


@given(
    st.text(max_size=60), st.sampled_from(["anna@example.org", "+49 170 1234567", "DE89 3704 0044 0532 0130 00"])
)
def test_what_comes_back_whole_is_what_went_in(text: str, personal: str) -> None:
    value = {"note": f"{text} {personal} end"}
    hidden = Veil(Redactor()).hide(value)
    try:
        restored = hidden.restore(hidden.sent)
    except OracleError:
        return  # more than one value behind a placeholder
    assert restored == value

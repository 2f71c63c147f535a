"""How answers that would change are told apart, grouped and counted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from loopai_runtime.errors import GateMissed
from loopai_runtime.flows.changes import EXAMPLES, MOST_GROUPS, Answer, Change, Replayed, Verdict

SPAM, HAM = Answer.given("spam"), Answer.given("ham")


def change(old: Answer, new: Answer, verdict: Verdict | None = None, at: int = 0) -> Change:
    plain = Change(f"e{at}", "2026-03-04T00:00:00Z", {"text": f"text {at}"}, old, new)
    return plain if verdict is None else plain._replace(checked=True, right="ham", verdict=verdict)


@pytest.fixture
def replayed() -> Replayed:
    return Replayed("spam", 2, datetime(2026, 3, 4, tzinfo=UTC))


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (SPAM, SPAM, True),
        (SPAM, HAM, False),
        (Answer.given({"a": 1, "b": 2}), Answer.given({"b": 2, "a": 1}), True),
        (Answer.given(None), Answer.withheld(), False),
        (Answer.given(""), Answer.withheld(), False),
        (Answer.withheld(), Answer.withheld(), True),
        (Answer.failed("KeyError"), Answer.failed("Timeout"), True),
        (Answer.failed("KeyError"), SPAM, False),
        (Answer.given(True), Answer.given(1), False),
    ],
)
def test_answers_are_compared_as_values(old: Answer, new: Answer, same: bool) -> None:
    assert change(old, new).is_same is same


def test_the_same_two_answers_are_one_group_with_some_examples(replayed: Replayed) -> None:
    for at in range(10):
        assert replayed.add(change(SPAM, HAM, at=at))
        assert not replayed.add(change(SPAM, SPAM, at=at))
    (group,) = replayed.groups
    assert (replayed.executions, replayed.changed, group.count, len(group.examples)) == (20, 10, 10, EXAMPLES)


def test_groups_that_were_judged_come_first_and_those_that_break_most_before_them(replayed: Replayed) -> None:
    for _ in range(5):
        replayed.add(change(SPAM, Answer.withheld()))
    replayed.add(change(SPAM, HAM, "fixed"))
    replayed.add(change(SPAM, HAM, "fixed"))
    replayed.add(change(HAM, SPAM, "broken"))
    assert [(group.old, group.new) for group in replayed.groups] == [
        (HAM, SPAM),
        (SPAM, HAM),
        (SPAM, Answer.withheld()),
    ]
    assert replayed.verdicts == {"broken": 1, "fixed": 2, "both_wrong": 0, "both_right": 0}
    assert replayed.checked == 3


def test_an_example_that_was_judged_takes_the_place_of_one_that_was_not(replayed: Replayed) -> None:
    for at in range(EXAMPLES + 2):
        replayed.add(change(SPAM, HAM, at=at))
    replayed.add(change(SPAM, HAM, "fixed", at=99))
    shown = replayed.as_dict()["groups"][0]["examples"]
    assert len(shown) == EXAMPLES
    assert (shown[0]["execution_id"], shown[0]["right"], shown[0]["verdict"]) == ("e99", "ham", "fixed")


def test_groups_are_bounded_and_the_rest_goes_together_by_kind(replayed: Replayed) -> None:
    for at in range(MOST_GROUPS + 50):
        replayed.add(change(SPAM, Answer.given(f"answer {at}"), at=at))
    replayed.add(change(SPAM, Answer.given("x" * 5000)))
    rest: list[Any] = [group for group in replayed.groups if group.old is None]
    assert [(group.kinds, group.count) for group in rest] == [(("answer", "answer"), 51)]
    assert sum(group.count for group in replayed.groups) == replayed.changed == MOST_GROUPS + 51


def test_the_gate_wants_judgements_and_few_that_break(replayed: Replayed) -> None:
    replayed.add(change(SPAM, HAM))
    with pytest.raises(GateMissed, match="no oracle has judged any of the 1 executions"):
        replayed.require(1)
    replayed.add(change(HAM, SPAM, "broken"))
    replayed.require(2)
    with pytest.raises(GateMissed, match="v2 breaks 1 of 1"):
        replayed.require(1)

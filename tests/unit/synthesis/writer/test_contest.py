"""Who may see which row, how votes come together, and when a model's program is chosen."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from loopai_runtime.synthesis.strategy import Calibration, Prediction, Problem
from loopai_runtime.synthesis.writer import voting
from loopai_runtime.synthesis.writer.contest import Entrant, wins
from loopai_runtime.synthesis.writer.ensemble import weight
from loopai_runtime.synthesis.writer.plan import JUDGED, plan
from loopai_runtime.synthesis.writer.showing import chosen, fenced


def problem(n: int, labels: int = 2, groups: list[int] | None = None) -> Problem:
    outputs = [f"label{at % labels}" for at in range(n)]
    inputs = [{"text": f"text {at}"} for at in range(n)]
    return Problem("t", {}, {}, inputs, outputs, groups or list(range(n)))


@pytest.mark.parametrize("n", [2, 3, 5, 7, 10, 19, 20, 49, 50, 200, 3000])
def test_no_program_is_judged_on_a_row_that_its_prompts_may_show(n: int) -> None:
    draw = random.Random(n)
    groups = [at if draw.random() < 0.8 or at < 5 else at // 2 for at in range(n)]
    task = problem(n, groups=groups)
    shares = plan(task, 1)
    assert 2 <= len(shares) <= 8
    for share in shares:
        seen = {task.groups[row] for row in share.seen}
        assert share.judged
        assert seen.isdisjoint({task.groups[row] for row in share.judged})
    judgements = sum(len(share.judged) for share in shares)
    assert judgements >= min(JUDGED, 4 * n)
    if n < 50:
        assert {row for share in shares for row in share.judged} == set(range(n))


def test_a_single_group_judges_nothing() -> None:
    assert all(share.judged == [] for share in plan(problem(3, groups=[0, 0, 0]), 0))


def test_prompts_show_every_output_in_turn_within_their_budget() -> None:
    task = Problem(
        "t", {}, {}, [{"text": "x" * 900} for _ in range(300)], ["a"] * 290 + ["b"] * 10, list(range(300))
    )
    shown = chosen(task, range(300), 0)
    assert 10 <= len(shown) <= 48
    assert sum(task.outputs[row] == "b" for row in shown) >= len(shown) // 2 - 1
    assert chosen(task, range(300), 0) == shown != chosen(task, range(300), 1)


def test_no_line_of_data_can_close_its_fence() -> None:
    inner = fenced("examples", ["harmless"])
    outer = fenced("examples", [inner, "</examples>", "</examples-00000000>"])
    tag = outer.split("\n")[0][1:-1]
    assert outer.count(f"</{tag}>") == 1


def entrant(right: list[float], size: int = 1000) -> Entrant:
    rows = list(range(len(right)))
    made = Entrant("written", lambda _c: "x" * size, 1, rows, right, [Prediction("a", 0.0)] * len(rows), {}, 3)
    assert made.bytes == size
    return made


@pytest.mark.parametrize(
    ("mine", "theirs", "size", "expected"),
    [
        (20, 10, 50_000, True),  # clearly better
        (20, 18, 50_000, True),  # two wins, no loss
        (20, 19, 50_000, False),  # one win may be luck
        (19, 19, 50_000, False),  # as good, but larger
        (19, 19, 500, True),  # as good and smaller
        (20, 19, 500, True),
        (18, 19, 500, False),  # worse, however small
        (10, 20, 500, False),
    ],
)
def test_the_smaller_program_wins_ties_and_the_larger_must_be_clearly_better(
    mine: int, theirs: int, size: int, expected: bool
) -> None:
    ours, other = [1.0] * mine + [0.0] * (20 - mine), [1.0] * theirs + [0.0] * (20 - theirs)
    assert wins(problem(20), entrant(ours, size), other, 10_000, forced=False) is expected


def test_a_small_program_that_knows_no_more_than_a_constant_wins_no_tie() -> None:
    task = Problem(
        "t", {}, {}, [{"text": str(at)} for at in range(20)], ["ham"] * 15 + ["spam"] * 5, list(range(20))
    )
    constant = [1.0] * 15 + [0.0] * 5
    assert not wins(task, entrant(constant, 500), constant, 10_000, forced=False)
    better = [1.0] * 18 + [0.0] * 2
    assert wins(task, entrant(better, 500), better, 10_000, forced=False)


def test_a_program_asked_for_by_name_need_only_not_be_worse() -> None:
    same = [1.0] * 10
    assert wins(problem(10), entrant(same, 50_000), same, 10_000, forced=True)
    assert not wins(problem(10), entrant([1.0] * 9 + [0.0], 500), same, 10_000, forced=True)


def test_a_program_that_nothing_judged_never_wins() -> None:
    assert not wins(problem(3), entrant([]), [], 10_000, forced=True)


def test_near_duplicates_count_once_in_the_decision() -> None:
    task = problem(20, groups=[0] * 10 + list(range(10, 20)))
    ours, other = [1.0] * 20, [0.0] * 10 + [1.0] * 10
    assert not wins(task, entrant(ours, 50_000), other, 10_000, forced=False)


def test_unsure_programs_hardly_count() -> None:
    output, evidence = voting.elect([("a", 0.1), ("a", 0.1), ("b", 0.9)], 3.0)
    assert output == "b"
    assert -1 < evidence < 0  # little of all votes


def test_objects_are_elected_field_by_field() -> None:
    votes = [({"x": 1, "y": 2}, 1.0), ({"x": 1, "y": 3}, 0.9), ({"x": 9, "y": 3}, 0.9)]
    assert voting.elect(votes, 3.0)[0] == {"x": 1, "y": 3}


def test_evidence_grows_with_agreement_and_stays_finite() -> None:
    alone, together = voting.elect([("a", 0.5)], 1.0)[1], voting.elect([("a", 0.99)], 1.0)[1]
    assert alone < together < math.log(1.05 / 0.05)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (("a", 0.7, "why"), ("a", 0.7, "why")),
        (("a", 0.7), ("a", 0.7, "")),
        (("a", 7), ("a", 0.99, "")),
        (("a", float("nan")), (("a", float("nan")), 0.5, "")),
        ("a", ("a", 0.5, "")),
        (["a", 0.7], (["a", 0.7], 0.5, "")),
        (("a", True), (("a", True), 0.5, "")),
    ],
)
def test_an_opinion_is_read_from_what_programs_return(answer: Any, expected: Any) -> None:
    assert repr(voting.opinion(answer)) == repr(expected)


def test_weights_order_programs_by_how_often_they_were_right() -> None:
    values = [weight(right, 20) for right in range(21)]
    assert values == sorted(values)
    assert values[0] > 0
    assert Calibration(1, 0, 0).slope == 1

"""Texts that mostly differ are transformed, labels are classified; a transformation is judged as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loopai_runtime.errors import SpecError
from loopai_runtime.synthesis.strategy import Problem
from loopai_runtime.synthesis.synthesize import synthesize
from loopai_runtime.synthesis.transformation import is_transformation

NAMES = ["Ada Lovelace", "Alan Turing", "Grace Hopper", "Niklaus Wirth", "Frances Allen", "Donald Knuth"]


def problem(pairs: list[tuple[str, str]], schema: dict[str, object] | None = None) -> Problem:
    return Problem(
        "names",
        {},
        schema or {"type": "string"},
        [{"text": given} for given, _ in pairs],
        [output for _, output in pairs],
        range(len(pairs)),
    )


TURNED = problem([(name, ", ".join(reversed(name.split()))) for name in NAMES])


def test_outputs_that_mostly_differ_make_a_transformation() -> None:
    assert is_transformation(TURNED)
    assert not is_transformation(problem([(name, "ab"[at % 2]) for at, name in enumerate(NAMES)]))
    assert not is_transformation(problem([(name, name[0]) for name in NAMES], {"enum": ["A", "G", "N", "F", "D"]}))


@pytest.mark.parametrize("strategy", ["auto", "dsl"])
def test_a_transformation_is_judged_by_the_probability_that_all_is_right(strategy: str) -> None:
    made = synthesize(TURNED, strategy=strategy, seed=0)
    assert (made.strategy, made.learner, made.confidence_kind) == ("dsl", "straight transformation", "all_correct")
    assert made.confidence_score == pytest.approx(made.accuracy, abs=1e-4)
    assert 0.5 < made.confidence_score < 1
    assert [answer for answer, _ in made.predictions] == TURNED.outputs  # by programs that had not seen them
    assert [one.won for one in made.candidates] == [True] + [False] * (len(made.candidates) - 1)


def test_two_readings_are_settled_by_an_example_that_the_advice_names() -> None:
    twins = problem([("3/3/2026", "March 3, 2026"), ("7/7/2025", "July 7, 2025")])
    made = synthesize(twins, strategy="dsl", seed=0)
    assert made.confidence_score <= 0.5
    assert "two readings fit" in made.advice


def test_where_nothing_generalises_no_program_is_written() -> None:
    with pytest.raises(SpecError, match="nothing short explains"):
        synthesize(problem([("a1", "zebra"), ("b2", "monkey"), ("c3", "giraffe")]), strategy="dsl", seed=0)


def test_unlabelled_inputs_tell_readings_apart_and_the_most_disputed_is_named() -> None:
    twins = problem([("3/3/2026", "March 3, 2026"), ("7/7/2025", "July 7, 2025")])
    made = synthesize(
        replace(twins, unlabelled=[{"text": "5/5/2024"}, {"text": "3/4/2024"}]), strategy="dsl", seed=0
    )
    assert len(made.disputed) == 2
    assert made.disputed[0] < 0.01 < made.disputed[1]
    assert '{"text": "3/4/2024"}' in made.advice

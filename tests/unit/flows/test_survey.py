"""What a program makes of inputs without answers: the reference, and what to label next."""

from __future__ import annotations

from typing import Any

from loopai_runtime.flows.survey import MOST_INPUTS, SUGGESTIONS, of_examples, of_unlabelled, some
from loopai_runtime.sandbox import Outcome


def test_a_reservoir_keeps_some_of_all() -> None:
    kept = some(iter(range(50_000)), seed=1)
    assert len(kept) == MOST_INPUTS
    assert len(set(kept)) == MOST_INPUTS
    assert 23_000 < sum(kept) / len(kept) < 27_000
    assert some(iter(range(10)), seed=1) == list(range(10))


def survey(answers: list[tuple[str, str, float]]) -> Any:
    inputs = [{"text": text} for text, _, _ in answers]
    outcomes = [Outcome("success", label, sure) for _, label, sure in answers]
    return of_unlabelled(inputs, outcomes, [{"text": "the old parcel"}], are_labels=True)


def test_the_reference_is_how_answers_are_spread() -> None:
    found = survey(
        [("the parcel", "a", 0.95), ("new words", "b", 0.15), ("old", "a", 1.0), ("the the", "a", 0.91)]
    )
    reference = found.reference
    assert (reference.source, reference.inputs, reference.labels) == ("unlabelled", 4, {'"a"': 0.75, '"b"': 0.25})
    assert (reference.confidence[9], reference.confidence[1]) == (0.75, 0.25)
    assert reference.unknown_words == round(2 / 7, 4)
    assert of_examples([("a", 0.5)], are_labels=True).reference.source == "examples"


def test_the_least_sure_answers_are_suggested_near_copies_once() -> None:
    copies = [(f"please send the invoice number {n} to the office again", "a", 0.3) for n in range(8)]
    others = [
        (f"{word} {word}s", "ab"[at % 2], 0.4 + at / 100) for at, word in enumerate("abcdefghijklmnopqrstuvwxyz")
    ]
    found = survey(copies + others + [("sure thing", "a", 0.99)]).suggestions
    assert len(found) == SUGGESTIONS
    assert sum("invoice" in one.input["text"] for one in found) == 1
    assert found[0].confidence == 0.3
    assert {one.output for one in found} == {"a", "b"}
    assert all(one.confidence < 0.99 for one in found)


def test_a_failed_execution_is_not_suggested() -> None:
    found = of_unlabelled(
        [{"text": "x"}, {"text": "y"}], [Outcome("error"), Outcome("success", "a", 0.5)], [], True
    )
    assert [one.input for one in found.suggestions] == [{"text": "y"}]


def test_what_programs_dispute_is_suggested_before_what_one_doubts() -> None:
    inputs = [{"text": text} for text in ("alpha bravo", "carol delta", "early forest")]
    outcomes = [Outcome("success", label, sure) for label, sure in (("a", 0.5), ("b", 0.9), ("c", 0.8))]
    found = of_unlabelled(inputs, outcomes, [], are_labels=False, disputed=[0.0, 0.6])
    assert [(one.output, one.confidence) for one in found.suggestions] == [("b", 0.36), ("a", 0.5), ("c", 0.8)]

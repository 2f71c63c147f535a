"""Programs by example: what is learned from a few rows is right on others, readable, and knows its doubts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from loopai_runtime.sandbox.policy import compile_restricted
from loopai_runtime.synthesis.dsl import Transformation, transform

Pairs = Sequence[tuple[Any, str]]


def learned(pairs: Pairs, **more: Any) -> Transformation:
    made = transform([given for given, _ in pairs], [output for _, output in pairs], **more)
    assert made is not None
    return made


def program(made: Transformation) -> dict[str, Any]:
    """The emitted program, which the sandbox must let in."""
    compile_restricted(made.code, "program.py")
    scope: dict[str, Any] = {}
    exec(compile(made.code, "program.py", "exec"), scope)
    return scope


TASKS: dict[str, tuple[Pairs, Pairs]] = {
    "initial and family name": (
        [("Ada Lovelace", "A. Lovelace"), ("Alan Turing", "A. Turing"), ("Grace Hopper", "G. Hopper")],
        [("Niklaus Wirth", "N. Wirth"), ("Frances Allen", "F. Allen")],
    ),
    "domain of an address": (
        [("ada@example.org", "example.org"), ("alan.t@mail.example.com", "mail.example.com")],
        [("g@navy.example", "navy.example")],
    ),
    "messy white space": (
        [("  a   b ", "a b"), ("x  y    z", "x y z"), (" one two", "one two")],
        [("   p q   r  ", "p q r")],
    ),
    "weekday of a date": (
        [("2026-11-22", "Sunday"), ("2024-02-29", "Thursday"), ("1999-12-31", "Friday")],
        [("2000-01-01", "Saturday"), ("2026-07-04", "Saturday")],
    ),
    "date in words to ISO": (
        [
            ("Sunday, 22nd of Nov 2026", "2026-11-22"),
            ("3 January 2025", "2025-01-03"),
            ("Feb 9, 1998", "1998-02-09"),
        ],
        [("the 31st of July 2020", "2020-07-31"), ("Mon 5 Oct 2026", "2026-10-05")],
    ),
    "time of day in twelve hours": (
        [("18:25", "6:25 PM"), ("09:05", "9:05 AM"), ("23:59", "11:59 PM")],
        [("00:10", "12:10 AM"), ("12:00", "12:00 PM")],
    ),
    "slots of two hours": (
        [("11:12:29", "10AM-12PM"), ("08:29:52", "8AM-10AM"), ("12:41:14", "12PM-2PM")],
        [("04:54:07", "4AM-6AM"), ("23:00:00", "10PM-12AM")],
    ),
    "amount without its signs": (
        [("$1,234.50", "1234.50"), ("$99.00", "99.00"), ("$20,000.10", "20000.10")],
        [("$7.25", "7.25"), ("$1,000,000.00", "1000000.00")],
    ),
    "rounding to fifties": (
        [("1234", "1250"), ("1219", "1200"), ("88", "100")],
        [("25", "50"), ("1024", "1000"), ("9999", "10000")],
    ),
    "buckets": (
        [("7", "0-9"), ("13", "10-19"), ("30", "30-39")],
        [("29", "20-29"), ("100", "100-109")],
    ),
    "unit conversion": (
        [("3 inch", "7.62 cm"), ("10 inch", "25.40 cm"), ("7 inch", "17.78 cm")],
        [("1 inch", "2.54 cm"), ("100 inch", "254.00 cm")],
    ),
    "padding": ([("7", "00007"), ("123", "00123"), ("45", "00045")], [("99999", "99999"), ("1", "00001")]),
    "digits of another script": ([("٣٤٥", "345"), ("١٢", "12")], [("٩٠", "90")]),
    "accents": ([("café", "cafe"), ("naïve", "naive")], [("crème brûlée", "creme brulee")]),
    "names with and without titles": (
        [
            ("Dr. Ada Lovelace", "Lovelace, A."),
            ("Alan Turing", "Turing, A."),
            ("Prof. Grace B. Hopper", "Hopper, G."),
        ],
        [("Mr. Niklaus Wirth", "Wirth, N."), ("Frances Allen", "Allen, F.")],
    ),
    "names in either order": (
        [("Lovelace, Ada", "Ada Lovelace"), ("Alan Turing", "Alan Turing"), ("Hopper, Grace", "Grace Hopper")],
        [("Hoare, Tony", "Tony Hoare"), ("Frances Allen", "Frances Allen")],
    ),
    "family name before a suffix": (
        [("Sammy Davis Jr.", "Davis"), ("Ada Lovelace", "Lovelace"), ("John Smith, PhD", "Smith")],
        [("Bo Li III", "Li")],
    ),
    "phone numbers written in several ways": (
        [
            ("(425) 390-9292", "425-390-9292"),
            ("206.555.0100", "206-555-0100"),
            ("+1 312 555 0199", "312-555-0199"),
        ],
        [("1-415-555-2671", "415-555-2671"), ("4155552671", "415-555-2671")],
    ),
    "country codes": (
        [("+442079460958", "44"), ("+13125550199", "1"), ("+35315550100", "353")],
        [("+4930123456", "49")],
    ),
    "city of an address": (
        [
            ("12 Main St, Springfield, IL 62704", "Springfield"),
            ("9 Elm Ave, Apt 4, Reno, NV 89501-1234", "Reno"),
            ("100 Oak Road, Salt Lake City, UT 84101", "Salt Lake City"),
        ],
        [("5 A St, Unit 3, Bo Town, CA 90001", "Bo Town")],
    ),
    "bands of a number": (
        [
            (f"{age}", "child" if age < 18 else "adult" if age < 65 else "senior")
            for age in (3, 12, 17, 18, 30, 64, 66, 70, 90)
        ],
        [("5", "child"), ("60", "adult"), ("100", "senior")],
    ),
    "acronym": (
        [("as soon as possible", "ASAP"), ("for your information", "FYI"), ("best before", "BB")],
        [("in real life", "IRL")],
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_learned_is_right_on_other_rows(name: str) -> None:
    pairs, others = TASKS[name]
    made = learned(pairs)
    run = program(made)["run"]
    for given, output in [*pairs, *others]:
        assert run(given) == output
        assert made.run(given) == output


def test_several_properties_become_one_text() -> None:
    rows = [
        ({"first": "Ada", "last": "Lovelace", "born": "1815-12-10"}, "LOVELACE, Ada (1815)"),
        ({"first": "Alan", "last": "Turing", "born": "1912-06-23"}, "TURING, Alan (1912)"),
        ({"first": "Grace", "last": "Hopper", "born": "1906-12-09"}, "HOPPER, Grace (1906)"),
    ]
    run = program(learned(rows))["run"]
    assert run({"first": "Niklaus", "last": "Wirth", "born": "1934-02-15"}) == "WIRTH, Niklaus (1934)"


def test_a_condition_takes_two_examples_a_branch() -> None:
    rows = [("425-390-9292", "425-390-9292"), ("390-9292", "425-390-9292")]
    assert transform([given for given, _ in rows], [output for _, output in rows]) is None or (
        learned(rows).form == "straight"
    )
    rows = [
        *rows,
        ("999-999-2020", "999-999-2020"),
        ("321-2020", "425-321-2020"),
        ("206-555-0100", "206-555-0100"),
    ]
    made = learned(rows)
    assert made.form == "conditional"
    assert program(made)["run"]("555-0199") == "425-555-0199"
    assert program(made)["run"]("312-555-0199") == "312-555-0199"


def test_a_limit_between_numbers_takes_two_examples_on_either_side() -> None:
    light = [(f"{n} kg", f"{n} kg") for n in (3, 12, 49)]
    heavy = [(f"{n} kg", f"heavy ({n})") for n in (151, 199, 170)]
    made = learned([*light, *heavy])
    assert "if number(text) >= 100:" in made.code
    assert program(made)["run"]("600 kg") == "heavy (600)"
    few = transform([given for given, _ in [*light, heavy[0]]], [output for _, output in [*light, heavy[0]]])
    assert few is None or few.form == "straight"


@pytest.mark.parametrize(
    "rows",
    [
        [("a1", "zebra"), ("b2", "monkey"), ("c3", "giraffe")],  # nothing explains these
        [("same", "one"), ("same", "two"), ("other", "one")],  # no function does
    ],
)
def test_where_nothing_generalises_there_is_no_program(rows: Pairs) -> None:
    assert transform([given for given, _ in rows], [output for _, output in rows]) is None


@pytest.mark.parametrize("inputs", [[3, 4], [{"a": {"b": "c"}}, {"a": {"b": "d"}}], [["x"], ["y"]], []])
def test_inputs_that_are_no_texts_are_not_taken(inputs: list[Any]) -> None:
    assert transform(inputs, ["a" for _ in inputs]) is None


def test_two_orders_of_day_and_month_are_told_apart_by_an_input() -> None:
    rows = [("3/3/2026", "March 3, 2026"), ("7/7/2025", "July 7, 2025")]
    made = learned(rows, unlabelled=["5/5/2024", "3/4/2024"])
    assert made.question is not None
    assert made.question.input == "3/4/2024"
    assert set(made.question.answers) == {"March 4, 2024", "April 3, 2024"}
    assert made.next_input == 1
    assert made.disagreement[0] < 0.01
    settled = learned([*rows, ("3/4/2024", "April 3, 2024")])
    assert settled.run("1/2/2023") == "February 1, 2023"


def test_score_drops_where_readings_part_and_on_kinds_never_seen() -> None:
    made = learned([("3/3/2026", "March 3, 2026"), ("7/7/2025", "July 7, 2025")])
    score = program(made)["score"]
    agreed = score("5/5/2024")[1]
    assert agreed == pytest.approx(made.confidence, abs=0.001)
    assert score("3/4/2024")[1] < agreed
    assert score("5.5.2024 or so")[1] < agreed
    assert score("no date at all") == ("", 0.0)


def test_explain_goes_step_by_step_to_the_output() -> None:
    scope = program(learned(TASKS["initial and family name"][0]))
    steps = scope["explain"]("Niklaus Wirth")
    assert "".join(step["gives"] for step in steps) == scope["run"]("Niklaus Wirth") == "N. Wirth"
    assert all(step["step"] for step in steps)


def test_a_program_holds_only_the_helpers_that_it_calls() -> None:
    code = learned(TASKS["domain of an address"][0]).code
    assert "read_date" not in code
    assert "Decimal" not in code
    assert "read_date" in learned(TASKS["weekday of a date"][0]).code


def test_the_same_examples_give_the_same_program() -> None:
    for pairs, _ in TASKS.values():
        assert learned(pairs).code == learned(pairs).code


def test_properties_with_awkward_names_are_read() -> None:
    rows = [
        ({"Full Name": "Ada Lovelace", "class": "x"}, "Ada x"),
        ({"Full Name": "Alan Turing", "class": "y"}, "Alan y"),
    ]
    assert program(learned(rows))["run"]({"Full Name": "Grace Hopper", "class": "z"}) == "Grace z"


def test_more_examples_of_a_straight_rule_raise_the_confidence() -> None:
    names = ["Ada Lovelace", "Alan Turing", "Grace Hopper", "Niklaus Wirth", "Frances Allen", "Donald Knuth"]
    pairs = [(name, name.split()[1] + ", " + name.split()[0]) for name in names]
    few, many = learned(pairs[:1]), learned(pairs)
    assert few.confidence < many.confidence <= 1

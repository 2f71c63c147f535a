"""Extraction: fields copied out of texts."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests import shared_data

from loopai_runtime.sandbox.pool import check
from loopai_runtime.synthesis.learners.extract import Extract
from loopai_runtime.synthesis.learners.extract.extraction import Extraction
from loopai_runtime.synthesis.learners.extract.reading import date_as, decimal_number, whole_number
from loopai_runtime.synthesis.strategy import Calibration, Problem
from loopai_runtime.synthesis.synthesize import synthesize

Rows = Sequence[tuple[Any, Any]]


def problem(rows: Rows, schema: dict[str, Any] | None = None) -> Problem:
    return Problem("t", {}, schema or {}, [i for i, _ in rows], [o for _, o in rows], list(range(len(rows))))


def learn(rows: Rows, schema: dict[str, Any] | None = None) -> Extraction:
    return Extract().fit(problem(rows, schema), range(len(rows)), 0)[0]


def program(rows: Rows, schema: dict[str, Any] | None = None) -> Callable[[Any], Any]:
    """The written program's `run`, which must pass the policy and answer as the model."""
    task = problem(rows, schema)
    fitted = learn(rows, schema)
    source = fitted.emit(task, Calibration(1.0, 0.0, 0.0))
    check(source)
    namespace: dict[str, Any] = {}
    exec(compile(source, "program.py", "exec"), namespace)
    for value, _ in rows:
        answer = fitted.answer(value)
        output, confidence = namespace["score"](value)
        assert output == answer.output
        assert confidence == pytest.approx(1 / (1 + math.exp(-answer.evidence)))
        assert all({"field", "value", "rule", "certainty"} == set(step) for step in namespace["explain"](value))
    return namespace["run"]  # type: ignore[no-any-return]


def line(i: int, job: bool = True) -> tuple[Any, Any]:
    day, name = f"2026-03-{1 + i % 28:02}", ["cron", "mail-relay", "db", "web01"][i % 4]
    text = f"{day} {name}{f'[{1000 + 37 * i}]' if job else ''}: did {['start', 'stop: now', 'a [b] c'][i % 3]}"
    output = {"day": day, "name": name, "message": f"did {['start', 'stop: now', 'a [b] c'][i % 3]}"}
    return {"line": text}, {**output, "job": 1000 + 37 * i} if job else output


def test_a_log_line_is_read_by_its_format_with_an_integer_and_an_absent_field() -> None:
    run = program([line(i, job=i % 3 != 1) for i in range(12)])
    for i in range(50, 90):
        value, wanted = line(i, job=i % 2 == 0)
        assert run(value) == wanted


@pytest.mark.parametrize(("absent", "shown"), [(None, None), ("", ""), ("missing", "missing")])
def test_absence_is_shown_as_the_examples_show_it(absent: Any, shown: Any) -> None:
    def row(i: int, mail: bool) -> tuple[Any, Any]:
        output: dict[str, Any] = {"id": f"A-{i}"}
        if mail or absent != "missing":
            output["mail"] = f"u{i}@example.com" if mail else absent
        return {"text": f"order A-{i} placed" + (f" by u{i}@example.com" if mail else "")}, output

    run = program([row(i, i % 2 == 0) for i in range(10)])
    for i in (77, 78):
        value, wanted = row(i, i % 2 == 0)
        assert run(value) == wanted


def test_fields_come_from_several_texts_and_go_into_nested_objects() -> None:
    def row(i: int) -> tuple[Any, Any]:
        value = {"subject": f"Invoice {4000 + i * 7}", "body": f"Please pay {i + 1},500.25 EUR.\nRegards, Bo"}
        return value, {"invoice": {"number": 4000 + i * 7, "total": (i + 1) * 1000 + 500.25}}

    run = program([row(i) for i in range(8)])
    assert run(row(30)[0]) == row(30)[1]


def test_a_nested_object_vanishes_with_its_fields() -> None:
    def row(i: int, there: bool) -> tuple[Any, Any]:
        text = f"id={i}" + (f" host=h{i} port={8000 + i}" if there else "")
        return {"t": text}, {"id": i, "at": {"host": f"h{i}", "port": 8000 + i} if there else None}

    run = program([row(i, i % 3 > 0) for i in range(12)])
    assert [run(row(i, i % 2 == 0)[0]) for i in (40, 41)] == [row(40, True)[1], row(41, False)[1]]


def test_a_list_is_every_match_and_empty_where_there_is_none() -> None:
    def row(count: int, seed: int) -> tuple[Any, Any]:
        mails = [f"p{seed}{n}@example.org" for n in range(count)]
        return {"text": f"cc {' and '.join(mails) or 'nobody'}, thanks"}, {"mails": mails}

    run = program([row(i % 4, i) for i in range(12)])
    assert [run(row(n, 90)[0]) for n in (0, 1, 6)] == [row(n, 90)[1] for n in (0, 1, 6)]


def test_a_list_in_one_piece_is_cut_at_its_separator() -> None:
    words = ["red", "dark blue", "green", "off-white", "pink", "sand"]

    def row(seed: int) -> tuple[Any, Any]:
        chosen = random.Random(seed).sample(words, 1 + seed % 3)
        return {"text": f"sku {seed} colours: {', '.join(chosen)}; stock {seed * 3}"}, {"colours": chosen}

    run = program([row(i) for i in range(15)])
    assert [run(row(i)[0]) for i in range(20, 26)] == [row(i)[1] for i in range(20, 26)]


def test_a_date_is_written_as_the_examples_write_it() -> None:
    months = ["Jan", "Feb", "Mar", "Apr"]

    def row(i: int) -> tuple[Any, Any]:
        return {"t": f"due on {i} {months[i % 4]} 2026 at noon"}, {"due": f"2026-{i % 4 + 1:02}-{i:02}"}

    run = program([row(i) for i in range(1, 11)])
    assert run(row(23)[0]) == row(23)[1]


def test_what_cannot_be_read_leaves_the_rest_of_the_output_standing() -> None:
    rows = [(value, {**output, "mood": "fine"}) for value, output in (line(i) for i in range(10))]
    run = program([*rows, ({"line": "??"}, {"mood": "fine"})])
    value, wanted = line(60)
    assert run(value) == {**wanted, "mood": "fine"}


@pytest.mark.parametrize(
    "value", [{}, {"line": ""}, {"line": None}, {"line": "\n" * 50}, {"other": 3}, "bare", None]
)
def test_any_input_gets_an_answer(value: Any) -> None:
    assert isinstance(program([line(i) for i in range(6)])(value), dict)


FILLERS = ["hello", "well", "ok", "so", "please", "my", "friend", "thanks", "soon", "and", "quiet", "with", "dogs"]
BOOKINGS = [
    ("book a {} for {} in {}", ("kind", "people", "city")),
    ("i need a {} in {} for {} tonight", ("kind", "city", "people")),
    ("we are {} and want a {} please", ("people", "kind")),
    ("any {} around {}", ("kind", "city")),
]
VALUES = {
    "kind": ["bar", "cafe", "steak house", "diner"],
    "people": ["two", "three", "seven", "4"],
    "city": ["Oslo", "New York", "Lima", "Kyoto", "San Juan"],
}


def booking(seed: int) -> tuple[Any, Any]:
    draw = random.Random(seed)
    form, slots = draw.choice(BOOKINGS)
    output = dict.fromkeys(VALUES, "") | {slot: draw.choice(VALUES[slot]) for slot in slots}
    said = form.format(*[output[slot] for slot in slots])
    before, after = (" ".join(draw.choices(FILLERS, k=draw.randrange(5))) for _ in range(2))
    return {"text": f"{before} {said} {after}".strip()}, output


def test_free_text_is_tagged_and_the_program_answers_as_the_model() -> None:
    rows = [booking(seed) for seed in range(60)]
    fitted = learn(rows)
    assert any(plan.way == "tagger" for plan in fitted.plans)
    run = program(rows)
    unseen = [booking(seed) for seed in range(100, 200)]
    assert sum(run(value) == output for value, output in unseen) >= 90


def test_the_same_examples_give_the_same_program() -> None:
    rows = [booking(seed) for seed in range(30)]
    first, second = (learn(rows).emit(problem(rows), Calibration(1.0, 0.0, 0.0)) for _ in range(2))
    assert first == second


def test_single_values_are_refused() -> None:
    assert "single values" in str(Extract().refuses(problem([({"t": "a"}, "x"), ({"t": "b"}, "y")])))


def test_synthesize_judges_extraction_like_any_other_strategy() -> None:
    result = synthesize(problem([line(i, job=i % 3 != 1) for i in range(20)]), strategy="extract", seed=0)
    assert (result.strategy, result.learner) == ("extract", "extraction")
    assert result.accuracy > 0.9


def test_numbers_and_dates_are_read_as_people_write_them() -> None:
    assert [whole_number(text) for text in ("1,234", "twelve", "-7", "none")] == [1234, 12, -7, None]
    assert [decimal_number(text) for text in ("$1,234.50", "1.234,50 €", "3,5")] == [1234.5, 1234.5, 3.5]
    assert date_as("Sunday, 22nd of Nov 2026", "%Y-%m-%d", True) == "2026-11-22"
    assert [date_as("03/04/26", "%Y-%m-%d", first) for first in (True, False)] == ["2026-04-03", "2026-03-04"]
    assert date_as("31.02.2026", "%Y-%m-%d", True) is None


@pytest.mark.parametrize("name", ["linux", "zookeeper", "proxifier"])
def test_ten_lines_of_a_real_log_are_enough(name: str) -> None:
    train, test = (shared_data.rows(f"extract_log_{name}", part) for part in ("train", "test"))
    rows = [(row["input"], row["output"]) for row in random.Random(3).sample(train, 10)]
    run = program(rows)
    assert sum(run(row["input"]) == row["output"] for row in test[:300]) >= 270


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linux", "proxifier", "android"])
def test_more_lines_of_a_log_are_never_read_worse(name: str) -> None:
    train, test = (shared_data.rows(f"extract_log_{name}", part) for part in ("train", "test"))
    for seed in range(3):
        order = random.Random(f"m{seed}").sample(train, 60)
        right = []
        for n in (5, 10, 20, 30, 60):
            model = learn([(row["input"], row["output"]) for row in order[:n]])
            right.append(sum(model.answer(row["input"]).output == row["output"] for row in test[:300]))
        assert right == sorted(right)


FRUIT = ["apple", "dark pear", "kiwi", "sour plum", "fig", "melon ball"]


def basket(seed: int) -> tuple[int, list[dict[str, Any]]]:
    draw = random.Random(seed)
    count = draw.randrange(4)
    return 100 + seed, [
        {"name": draw.choice(FRUIT), "pieces": draw.randrange(1, 30), "price": draw.randrange(50, 999) / 100}
        for _ in range(count)
    ]


def listed(seed: int) -> tuple[Any, Any]:
    order, items = basket(seed)
    lines = [f"- {one['pieces']} x {one['name']} at {one['price']:.2f} EUR" for one in items]
    return {"text": "\n".join([f"Order {order}", *lines, "Thanks, Bo"])}, {"order": order, "items": items}


def in_a_sentence(seed: int) -> tuple[Any, Any]:
    order, items = basket(seed)
    parts = "; ".join(f"{one['name']} ({one['pieces']}, {one['price']:.2f})" for one in items)
    return {"text": f"Order {order}: {parts}. Ship soon."}, {"order": order, "items": items}


def table(seed: int) -> tuple[Any, Any]:
    items = basket(seed)[1]
    lines = [f"{one['name']} | {one['pieces']} | {one['price']:.2f}" for one in items]
    return {"text": "\n".join(["name | pieces | price", *lines])}, items


def cards(seed: int) -> tuple[Any, Any]:
    draw = random.Random(seed)
    people: list[dict[str, Any]] = []
    for _ in range(1 + draw.randrange(3)):
        one = {"name": draw.choice(["Ada Byron", "Bo Li", "Cy Tan"]), "tags": draw.sample(["a1", "b2", "c3"], 2)}
        people.append(
            one | ({"phone": f"+44 20 {draw.randrange(1000, 9999)} 0100"} if draw.random() < 0.5 else {})
        )
    blocks = [
        f"Name: {one['name']}\nTags: {', '.join(one['tags'])}"
        + (f"\nPhone: {one['phone']}" if "phone" in one else "")
        for one in people
    ]
    return {"text": "\n\n".join(blocks)}, {"people": people}


@pytest.mark.parametrize("row", [listed, in_a_sentence, table, cards])
def test_a_list_of_objects_is_cut_into_records_and_each_is_read(row: Callable[[int], tuple[Any, Any]]) -> None:
    run = program([row(seed) for seed in range(10)])
    unseen = [row(seed) for seed in range(100, 160)]
    assert sum(run(value) == output for value, output in unseen) >= 57

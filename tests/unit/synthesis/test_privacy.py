"""No program contains personal data, nor what too few examples have, whatever strategy wrote it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.unit.synthesis.test_extract import booking

from loopai_runtime.errors import SpecError
from loopai_runtime.redaction import flags
from loopai_runtime.synthesis.learners.extract import Extract
from loopai_runtime.synthesis.learners.extract.recognise import RECOGNISERS
from loopai_runtime.synthesis.privacy import Admission, constants, spelled
from loopai_runtime.synthesis.strategy import Calibration, Problem, Synthesis
from loopai_runtime.synthesis.synthesize import synthesize

MAIL, PHONE, CARD, IBAN = "bob@example.com", "+1 415-555-2671", "4111 1111 1111 1111", "GB33BUKB20201555555555"
PLANTED = (MAIL, PHONE, CARD, IBAN)
THINGS = ["lamp", "chair", "kettle", "table", "shop", "mirror", "carpet", "stool", "clock"]
ADMISSION = Admission(flags)


def made(inputs: list[Any], outputs: list[Any], strategy: str, **settings: Any) -> Synthesis:
    groups = list(range(len(inputs)))
    return synthesize(
        Problem("task", {}, settings.pop("schema", {}), inputs, outputs, groups, forbidden=flags, **settings),
        strategy=strategy,
        seed=0,
    )


def program(found: Synthesis) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(compile(found.code, "program.py", "exec"), scope)
    return scope


def leaks(code: str) -> list[Any]:
    return [constant for _, constant in constants(code) if not ADMISSION.admits(constant)]


def letters(n: int, tails: dict[str, str]) -> tuple[list[Any], list[Any]]:
    """Texts of two labels that only what is planted in them tells apart for sure."""
    draw = random.Random(0)
    rows = [(label, f"{draw.choice(THINGS)} {draw.choice(THINGS)} {at} {tails[label]}")
            for at in range(n) for label in tails]  # fmt: skip
    return [{"text": text} for _, text in rows], [label for label, _ in rows]


@pytest.mark.parametrize("n", [20, 120])
@pytest.mark.parametrize("strategy", ["rule", "ml", "hybrid"])
def test_classifiers_do_not_learn_personal_data(strategy: str, n: int) -> None:
    inputs, outputs = letters(n, {"good": f"write to {MAIL} or {PHONE}", "bad": f"pay {CARD} to {IBAN}"})
    found = made(inputs, outputs, strategy)
    assert not leaks(found.code)
    assert found.accuracy > 0.95  # `write`, `pay` tell as much
    assert program(found)["run"](inputs[0]) == outputs[0]


def test_cuts_of_numbers_are_no_cards() -> None:
    inputs = [{"text": "x", "card": 4111111111111111 + at % 2 * 10**15 + at} for at in range(60)]
    found = made(inputs, ["ab"[at % 2] for at in range(60)], "rule")
    assert not leaks(found.code)


def test_labels_that_are_personal_data_are_refused_with_a_reason() -> None:
    inputs = [{"text": f"{'bill' if at % 2 else 'crash'} {THINGS[at % 9]}"} for at in range(40)]
    outputs = [[MAIL, "it@example.com"][at % 2] for at in range(40)]
    with pytest.raises(SpecError, match="2 labels are personal data, which no program may contain"):
        made(inputs, outputs, "ml")
    with pytest.raises(SpecError, match="personal data"):
        made(inputs, outputs, "auto")


def test_labels_that_are_personal_data_may_be_copied() -> None:
    mails = [f"{name}@example.com" for name in ("bob", "eve", "joe", "ann")]
    inputs = [{"text": f"{THINGS[at % 9]} of <{mails[at % 4]}>"} for at in range(24)]
    found = made(inputs, [mails[at % 4] for at in range(24)], "auto")
    assert found.strategy == "dsl"
    assert not leaks(found.code)
    assert program(found)["run"]({"text": "stool of <kim@example.org>"}) == "kim@example.org"


@pytest.mark.parametrize("planted", PLANTED)
def test_transformations_have_no_such_constant(planted: str) -> None:
    names = ["Ann Lee", "Bo Poe", "Cy Roe", "Di Fox", "Ed Kay"]
    with pytest.raises(SpecError, match="can only copy it"):
        made(names, [f"{name}: {planted}" for name in names], "dsl")


def test_transformations_do_not_ask_for_personal_data() -> None:
    """Two kinds of rows that an address tells apart, or else their beginnings."""
    inputs = [f"to {MAIL} {one}-{two}" for one, two in (("a", "b"), ("cc", "d"), ("eee", "f"), ("g", "hh"))]
    inputs += [f"no mail {one}-{two}" for one, two in (("i", "j"), ("kk", "l"), ("mmm", "n"), ("o", "pp"))]
    outputs = [text.rsplit(" ", 1)[1].split("-")[0] for text in inputs[:4]]
    outputs += [text.rsplit(" ", 1)[1].split("-")[1] for text in inputs[4:]]
    found = made(inputs, outputs, "dsl")
    assert not leaks(found.code)
    assert [program(found)["run"](text) for text in inputs] == outputs


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("john.smith", "john.smith@example.com"),  # a domain is nobody's address
        ("2024-03-07", "07/03/2024"),
        ("10.0.0.7 GET", "10.0.0.7"),
        ("ann@shop.example", "shop.example"),
    ],
)
def test_what_only_looks_like_personal_data_is_not_lost(given: str, wanted: str) -> None:
    def varied(text: str, at: int) -> str:
        return text.translate(str.maketrans("jn7", "jxq"[at] + "nmr"[at] + "789"[at]))

    found = made([varied(given, at) for at in range(3)], [varied(wanted, at) for at in range(3)], "dsl")
    assert program(found)["run"](given) == wanted
    assert not leaks(found.code)


def test_extraction_has_no_personal_data_in_landmarks_formats_and_constants() -> None:
    draw = random.Random(1)
    inputs, outputs = [], []
    for at in range(60):
        thing, price = draw.choice(THINGS), draw.randrange(1000)
        inputs.append({"text": f"from {MAIL} call {PHONE} item {thing} for {price} EUR card {CARD} #{at}"})
        outputs.append({"item": thing, "price": price, "seller": MAIL, "support": "yes"})
    found = made(inputs, outputs, "extract")
    assert not leaks(found.code)
    assert "bob" not in found.code
    answer = program(found)["run"](inputs[0])
    assert answer == outputs[0]  # the address is read, not known


def test_a_constant_field_that_is_personal_data_is_left_empty() -> None:
    inputs = [{"text": f"item {THINGS[at % 9]} number {at}"} for at in range(40)]
    outputs = [{"item": THINGS[at % 9], "seller": MAIL} for at in range(40)]
    found = made(inputs, outputs, "extract")
    assert not leaks(found.code)
    assert program(found)["run"](inputs[3])["item"] == THINGS[3]
    assert found.accuracy == 0  # which says that the field is never right


def test_a_field_that_is_named_by_personal_data_refuses_the_program() -> None:
    inputs = [{"text": f"item {THINGS[at % 9]} number {at}"} for at in range(20)]
    with pytest.raises(SpecError, match="each would contain personal data"):
        made(inputs, [{MAIL: THINGS[at % 9]} for at in range(20)], "extract")


def test_from_200_examples_on_what_few_have_stays_out() -> None:
    """Each text has a word of its own; no program may know it."""
    own = ["".join(random.Random(at).choices("bcdfghjklmnpqrstvwxz", k=9)) for at in range(240)]
    texts = [{"text": f"{'great' if at % 2 else 'awful'} {THINGS[at % 9]} {word}"} for at, word in enumerate(own)]
    labels = ["ab"[at % 2] for at in range(240)]
    items = [{"item": THINGS[at % 9]} for at in range(240)]
    for strategy, outputs in (("rule", labels), ("ml", labels), ("hybrid", labels), ("extract", items)):
        code = made(texts, outputs, strategy).code
        assert not [word for word in own if word in code], strategy


def test_the_support_that_is_asked_for_is_kept() -> None:
    texts = [{"text": f"{'great' if at % 2 else 'awful'} thing{at // 4}"} for at in range(240)]
    labels = ["ab"[at % 2] for at in range(240)]
    assert "thing7" in made(texts, labels, "ml").code
    assert "thing7" not in made(texts, labels, "ml", min_support=5).code


def test_a_tagger_knows_no_word_that_one_example_has() -> None:
    own = ["".join(random.Random(at).choices("bcdfghjklmnpqrstvwxz", k=9)) for at in range(200)]
    rows = [booking(seed) for seed in range(200)]
    inputs = [{"text": f"{word} {value['text']} {word}"} for word, (value, _) in zip(own, rows, strict=True)]
    outputs = [output for _, output in rows]
    task = Problem("task", {}, {}, inputs, outputs, list(range(200)), forbidden=flags)
    code = Extract().fit(task, range(200), 0)[0].emit(task, Calibration(1.0, 0.0, 0.0))
    known = {text for _, text in constants(code)}
    assert {"book", "_for", "-ble"} & known  # the table is read line by line, without its weights
    assert not [word for word in own if word in code]


def test_a_pattern_counts_as_the_text_it_spells() -> None:
    assert spelled(r"from bob@example\.com") == "from bob@example.com"
    assert not ADMISSION.admits(r"from\s+bob@example\.com")
    assert ADMISSION.admits(r"(\w+)@example\.com")
    assert ADMISSION.admits(r"(?P<who>[\w.+-]+)@example\.com")
    assert all(map(ADMISSION.admits, RECOGNISERS.values()))

"""What learners make of inputs and labels as they come."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loopai_runtime import jsonl
from loopai_runtime.sandbox.pool import check
from loopai_runtime.synthesis.labels import named
from loopai_runtime.synthesis.learners import bayes, linear
from loopai_runtime.synthesis.learners.bayes import NaiveBayes
from loopai_runtime.synthesis.learners.hybrid import Hybrid, Ruled
from loopai_runtime.synthesis.learners.linear import Linear
from loopai_runtime.synthesis.learners.noise import mislabelled
from loopai_runtime.synthesis.learners.rules import DecisionList, Rule
from loopai_runtime.synthesis.learners.sizes import fitting, room
from loopai_runtime.synthesis.learners.targets import Targets, not_labels
from loopai_runtime.synthesis.strategy import Calibration, Fitted, Problem, Strategy
from loopai_runtime.synthesis.table import Table
from loopai_runtime.synthesis.vocabulary import Reading, Vocabulary

Rows = list[tuple[Any, Any]]
LEARNERS: list[Strategy] = [NaiveBayes(), Linear()]
WORDS = [
    "alpha",
    "bravo",
    "carol",
    "delta",
    "early",
    "forest",
    "green",
    "hotel",
    "india",
    "jolly",
    "karma",
    "lemon",
    "mango",
    "night",
    "ocean",
    "piano",
]


def problem(rows: Rows, schema: dict[str, Any] | None = None) -> Problem:
    return Problem("t", {}, schema or {}, [i for i, _ in rows], [o for _, o in rows], list(range(len(rows))))


def learn(strategy: Strategy, rows: Rows, schema: dict[str, Any] | None = None) -> Fitted:
    asked = problem(rows, schema)
    return strategy.fit(asked, range(len(asked)), 0)[-1]


def program(fitted: Fitted) -> dict[str, Any]:
    code = fitted.emit(problem([(1, 1)]), Calibration(1.0, 0.0, 0.5))
    check(code)
    namespace: dict[str, Any] = {}
    exec(compile(code, "program.py", "exec"), namespace)
    return namespace


def accuracy(fitted: Fitted, rows: Rows) -> float:
    """Of the program as it is written; it must answer as the model."""
    run = program(fitted)["run"]
    answers = [run(value) for value, _ in rows]
    asked = problem(rows)
    assert answers == [answer.output for answer in fitted.predict(asked, range(len(asked)))]
    return sum(a == o for a, (_, o) in zip(answers, rows, strict=True)) / len(rows)


def made(make: Callable[[random.Random], tuple[Any, Any]], n: int, seed: int) -> Rows:
    draw = random.Random(seed)
    return [make(draw) for _ in range(n)]


# --- fields -----------------------------------------------------------------------------------------------------


def order(draw: random.Random) -> tuple[Any, Any]:
    amount = round(draw.uniform(1, 2000), 2)
    return {"amount": amount, "country": draw.choice(["de", "fr", "it"])}, "review" if amount > 1200 else "pass"


def parcel(draw: random.Random) -> tuple[Any, Any]:
    fragile = draw.random() < 0.5
    value = {"size": {"cm": draw.randint(1, 99)}, "fragile": fragile, "note": " ".join(draw.choices(WORDS, k=3))}
    return value, "by hand" if fragile else "by belt"


def claim(draw: random.Random) -> tuple[Any, Any]:
    value: dict[str, Any] = {"text": " ".join(draw.choices(WORDS, k=6))}
    if draw.random() < 0.5:
        value["receipt"] = draw.choice(["r1", "r2", None, "r3"])
    return value, "complete" if "receipt" in value else "ask"


def basket(draw: random.Random) -> tuple[Any, Any]:
    items = [
        {"kind": draw.choice(["book", "shoe", "wine"]), "n": draw.randint(1, 3)} for _ in range(draw.randint(1, 4))
    ]
    return {"items": items}, "check age" if any(item["kind"] == "wine" for item in items) else "ship"


def mail(draw: random.Random) -> tuple[Any, Any]:
    urgent = draw.random() < 0.5
    subject = draw.choice(["urgent please", "urgent now"] if urgent else ["hello there", "weekly news"])
    body = " ".join(draw.choices([*WORDS, "urgent"], k=12))
    return {"subject": subject, "body": body}, urgent


@pytest.mark.parametrize("learner", LEARNERS, ids=["bayes", "linear"])
@pytest.mark.parametrize("make", [order, parcel, claim, basket, mail])
def test_every_kind_of_field_can_decide(
    learner: Strategy, make: Callable[[random.Random], tuple[Any, Any]]
) -> None:
    assert accuracy(learn(learner, made(make, 300, 0)), made(make, 200, 1)) >= (
        0.85 if make is order or learner is LEARNERS[0] else 0.95
    )


def test_a_number_is_cut_where_examples_are_not_at_values_of_theirs() -> None:
    asked = problem([({"x": value}, value > 5) for value in (1, 2, 3, 4, 6, 7, 8, 9)])
    assert [
        sum(low < cut <= low + 1 for cut in Reading.of(asked, letters=True).cuts["x"]) for low in (1, 2, 3)
    ] == [1, 1, 1]
    assert Reading.of(problem([({"x": v}, v) for v in (0.13, 0.87)]), letters=True).cuts["x"] == (0.5,)


def test_numbers_beyond_all_bounds_are_no_trouble() -> None:
    fitted = learn(Linear(), [({"x": value}, value > 0) for value in (-2, -1, 1, 2, 10**400, -(10**400))])
    for value in (1e400, -1e400, float("nan"), 10**500):
        program(fitted)["score"]({"x": value})


def test_a_text_reads_alike_whether_or_not_another_field_is_there() -> None:
    rows = [({"body": f"buy pills {word}", "sender": word}, "spam") for word in WORDS]
    rows += [({"body": f"see you {word}", "sender": word}, "ham") for word in WORDS]
    run = program(learn(Linear(), rows))["run"]
    assert run({"body": "buy pills"}) == "spam"
    assert run({"body": "see you", "sender": "alpha"}) == "ham"


@pytest.mark.parametrize("value", [None, [], {}, "", 7, {"text": None}, {"other": [[{}]]}, [["a"], {"b": True}]])
def test_any_input_gets_an_answer(value: Any) -> None:
    rows = [({"text": f"buy {word}"}, "spam") for word in WORDS] + [
        ({"text": f"meet {word}"}, "ham") for word in WORDS
    ]
    for strategy in (*LEARNERS, DecisionList()):
        answer, confidence = program(learn(strategy, rows))["score"](value)
        assert answer in ("spam", "ham")
        assert 0 <= confidence <= 1


# --- scripts ----------------------------------------------------------------------------------------------------

SCRIPTS = {
    "chinese": (["我要退款", "退货怎么办理", "请把钱退给我"], ["忘记密码了", "密码无法登录", "账号登录失败"], ["我想退款谢谢"], ["登录密码错误"]),
    "japanese": (["返金してください", "返金をお願いします"], ["パスワードを忘れました", "ログインできません"], ["すぐに返金を希望"], ["パスワードが違う"]),
    "thai": (["ขอคืนเงินหน่อย", "อยากได้เงินคืน"], ["ลืมรหัสผ่านแล้ว", "เปลี่ยนรหัสผ่านไม่ได้"], ["ต้องการคืนเงินครับ"], ["รหัสผ่านไม่ถูกต้อง"]),
    "arabic": (["أريد استرداد المال", "استرداد المبلغ من فضلك"], ["نسيت كلمة المرور", "كلمة المرور خاطئة"], ["طلب استرداد"], ["تغيير كلمة المرور"]),
    "cyrillic": (["верните деньги", "возврат денег за заказ"], ["забыл пароль", "не подходит пароль"], ["хочу вернуть деньги"], ["сменить пароля"]),
    "korean": (["환불해 주세요", "환불을 받고 싶어요"], ["비밀번호를 잊었어요", "비밀번호가 틀려요"], ["빠른 환불 요청"], ["비밀번호 변경"]),
    "mixed": (["refund 退款 please", "I want 退款"], ["password 密码 lost", "reset 密码"], ["请 refund 退款"], ["my 密码"]),
}  # fmt: skip


@pytest.mark.parametrize("learner", LEARNERS, ids=["bayes", "linear"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_any_script_is_read(learner: Strategy, script: str) -> None:
    money, access, new_money, new_access = SCRIPTS[script]
    rows = [({"text": text}, "m") for text in money] + [({"text": text}, "a") for text in access]
    assert accuracy(learn(learner, rows), [({"text": new_money[0]}, "m"), ({"text": new_access[0]}, "a")]) == 1.0


# --- lists of labels --------------------------------------------------------------------------------------------

TOPICS = {
    "price": ["cheap", "cost", "expensive"],
    "food": ["tasty", "soup", "dish"],
    "staff": ["waiter", "rude", "kind"],
}
TAGS = {"type": "array", "items": {"enum": ["staff", "price", "food"]}}


def review(draw: random.Random, least: int = 0) -> tuple[Any, Any]:
    topics = [topic for topic in ("staff", "price", "food") if draw.random() < 0.4] or ["food"][:least]
    words = [draw.choice(TOPICS[topic]) for topic in topics] + draw.choices(WORDS, k=3)
    draw.shuffle(words)
    return {"text": " ".join(words)}, topics


@pytest.mark.parametrize(("learner", "bar"), [(NaiveBayes(), 0.8), (Linear(), 0.95)], ids=["bayes", "linear"])
def test_several_labels_are_listed_in_the_schemas_order(learner: Strategy, bar: float) -> None:
    fitted = learn(learner, made(review, 400, 0), TAGS)
    assert accuracy(fitted, made(review, 200, 1)) >= bar
    assert program(fitted)["run"]({"text": "tasty soup cheap cost rude waiter"}) == ["staff", "price", "food"]
    assert program(fitted)["run"]({"text": "mango night"}) == []


def test_a_list_that_was_never_empty_stays_so() -> None:
    fitted = learn(Linear(), made(lambda draw: review(draw, least=1), 300, 0), TAGS)
    assert program(fitted)["run"]({"text": "nothing known"}) != []


def test_the_order_of_a_list_without_a_schema_is_that_of_the_examples() -> None:
    rows: Rows = [({"t": "z a"}, ["z", "a"]), ({"t": "z m"}, ["z", "m"]), ({"t": "m a"}, ["m", "a"])]
    asked = problem(rows)
    words = Vocabulary.of(asked, Reading.of(asked, letters=False))
    assert Targets.of(asked, range(3), words).labels == ["z", "m", "a"]


def test_explain_names_the_label_of_each_reason() -> None:
    reasons = program(learn(Linear(), made(review, 300, 0), TAGS))["explain"]({"text": "rude waiter"})
    assert {reason["label"] for reason in reasons} == {"staff"}


def test_outputs_that_do_not_repeat_are_no_labels() -> None:
    assert "no labels" in (not_labels(problem([(i, f"name {i}") for i in range(40)])) or "")
    assert "no labels" in (not_labels(problem([(i, [f"name {i}"]) for i in range(40)])) or "")
    assert not_labels(problem([(i, [WORDS[i % 3], WORDS[3 + i % 7]]) for i in range(40)])) is None


# --- names of labels --------------------------------------------------------------------------------------------


def test_a_label_without_an_example_is_known_by_its_name() -> None:
    rows: Rows = [({"text": f"my parcel is late {w}"}, "lateParcel") for w in WORDS[:4]]
    rows += [({"text": f"the card was stolen {w}"}, "stolen_card") for w in WORDS[4:8]]
    schema = {"enum": ["lateParcel", "stolen_card", "exchange_rate"]}
    for strategy in LEARNERS:
        assert (
            program(learn(strategy, rows, schema))["run"]({"text": "which exchange rate do you use"})
            == "exchange_rate"
        )


def test_the_description_of_a_label_counts_as_its_name() -> None:
    rows: Rows = [({"text": f"alpha {w}"}, "A1") for w in WORDS[:4]] + [
        ({"text": f"bravo {w}"}, "B1") for w in WORDS[4:8]
    ]
    schema = {"oneOf": [{"const": "A1"}, {"const": "B1"}, {"const": "C1", "description": "Invoices and billing"}]}
    assert program(learn(Linear(), rows, schema))["run"]({"text": "my invoices are wrong"}) == "C1"


def test_a_code_is_no_name() -> None:
    rows: Rows = [({"text": f"la casa {w}"}, "es") for w in WORDS[:4]] + [
        ({"text": f"il gatto {w}"}, "it") for w in WORDS[4:8]
    ]
    assert named(problem(rows, {"enum": ["es", "it", "de"]})) == {}
    assert [one.words for one in named(problem([(1, "lateParcel"), (2, "退款")])).values()] == [
        "late parcel",
        "退款",
    ]


def test_with_many_examples_names_say_nothing() -> None:
    rows: Rows = [({"text": f"{w} {v}"}, w) for w in ("alpha", "bravo") for v in WORDS * 8]
    fitted = learn(Linear(), rows, {"enum": ["alpha", "bravo", "carol"]})
    assert isinstance(fitted, Table)
    assert fitted.labels == ["alpha", "bravo"]


# --- wrong labels -----------------------------------------------------------------------------------------------


def ticket(draw: random.Random) -> tuple[Any, Any]:
    label = draw.choice(sorted(TOPICS))
    return {"text": " ".join(draw.choices(TOPICS[label], k=2) + draw.choices(WORDS, k=4))}, label


def test_wrong_labels_cost_little() -> None:
    rows, fresh = made(ticket, 1500, 0), made(ticket, 400, 1)
    draw = random.Random(2)
    noisy = [(i, "food" if o == "price" and draw.random() < 0.3 else o) for i, o in rows]
    assert accuracy(learn(Linear(), noisy), fresh) >= accuracy(learn(Linear(), rows), fresh) - 0.01


def test_where_sure_answers_are_right_no_label_is_doubted() -> None:
    evidence = [float(i) for i in range(1000)]
    assert mislabelled(evidence, [i > 300 or i % 2 == 0 for i in range(1000)]) == []


def test_disagreement_is_the_labels_fault_as_far_as_it_does_not_rise() -> None:
    evidence = [float(i) for i in range(1000)]
    agrees = [i % 10 != 0 if i >= 200 else i % 2 == 0 for i in range(1000)]
    assert mislabelled(evidence, agrees) == [i for i in range(200, 1000) if i % 10 == 0]


# --- what a program contains ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [*bayes.candidates(), *linear.candidates(), DecisionList()])
def test_what_is_forbidden_is_not_emitted(strategy: Strategy) -> None:
    asked = problem([({"text": f"mail bob@x.org about {w}"}, w) for w in ("cars", "ships") for _ in range(20)])
    asked = replace(asked, forbidden=lambda name: "bob" in name or "_bo" in name)
    for fitted in strategy.fit(asked, range(len(asked)), 0):
        assert "bob" not in fitted.emit(asked, Calibration(1.0, 0.0, 0.0))


def test_the_same_input_twice_is_no_support() -> None:
    rows: Rows = (
        made(ticket, 250, 0)
        + [({"text": "secret sauce"}, "food")] * 2
        + [({"text": "tasty olives"}, "food"), ({"text": "no olives"}, "food")]
    )
    asked = problem(rows)
    words = Vocabulary.of(asked, Reading.of(asked, letters=False))
    kept = {words.names[at] for at in words.rarities(range(len(asked)))}
    assert "olives" in kept
    assert "secret" not in kept


def test_an_input_of_unknown_words_is_new_and_doubted() -> None:
    fitted = learn(Linear(), made(ticket, 300, 0))
    known, new = problem([({"text": "rude waiter"}, 0), ({"text": "quux frobnicate rude"}, 0)]), range(2)
    one, two = fitted.predict(known, new)
    assert one.novelty < 0.2 < two.novelty <= 1.0
    code = fitted.emit(known, Calibration(0.0, 0.0, 1.0))
    namespace: dict[str, Any] = {}
    exec(compile(code, "program.py", "exec"), namespace)
    assert namespace["score"](known.inputs[1])[1] < namespace["score"](known.inputs[0])[1]


def test_tables_are_as_large_as_their_labels_allow() -> None:
    assert room(2) == room(9) < room(20) < room(77) < room(150) < 512_000
    assert fitting(["ab", "é", "abcd"], [1, 2, 3], 3, 14) == 2
    assert fitting(["ab", "é", "abcd"], [1, 2, 1], 3, 19) == 3
    rows = made(
        lambda draw: (
            {"text": " ".join(draw.choices([f"{a}{b}" for a in WORDS for b in WORDS], k=12))},
            draw.choice("xy"),
        ),
        2100,
        0,
    )
    sizes = [
        len(f.emit(problem(rows), Calibration(1.0, 0.0, 0.0))) for f in Linear().fit(problem(rows), range(2100), 0)
    ]
    assert sizes[0] < 25_000
    assert sizes[1] < 65_536
    assert sizes[2] < 393_216


def test_rules_are_tried_in_the_order_they_stand() -> None:
    rows: Rows = [({"text": f"{a} {w}"}, a) for a in ("stop", "go") for w in WORDS]
    fitted = learn(DecisionList(), rows)
    assert accuracy(fitted, rows) == 1.0
    assert program(fitted)["explain"]({"text": "please stop"})[0]["answer"] == "stop"
    assert jsonl.canonical(program(fitted)["explain"]({"text": "?"}))


def exception(draw: random.Random) -> tuple[Any, Any]:
    """A ticket that one long code settles against all its words."""
    value, label = ticket(draw)
    if draw.random() < 0.1:
        words = [word for topic in TOPICS.values() for word in topic]
        return {"text": " ".join(draw.choices(words, k=12)) + " vip"}, "board"
    return value, label


def test_a_rule_goes_before_the_table_where_it_is_surer() -> None:
    fitted = learn(Hybrid(), made(exception, 800, 0))
    assert isinstance(fitted, Ruled)
    assert accuracy(fitted, made(exception, 300, 1)) >= 0.97
    ruled = Ruled([*fitted.rules, Rule("vip", "board", 4.0)], fitted.table)
    assert program(ruled)["run"]({"text": "waiter rude vip"}) == "board"
    assert program(ruled)["explain"]({"text": "waiter rude vip"})[0]["feature"] == "vip"


def test_without_a_surer_rule_a_hybrid_is_its_table() -> None:
    rows = made(ticket, 300, 0)
    fitted = learn(Hybrid(), rows)
    assert isinstance(fitted, Ruled)
    assert fitted.rules == []
    assert accuracy(fitted, made(ticket, 100, 1)) >= 0.97

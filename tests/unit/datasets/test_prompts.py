"""Templates are found in prompts, and inputs between their fixed texts."""

from __future__ import annotations

import random
import time

import pytest

from loopai_runtime.datasets.calls import Message
from loopai_runtime.datasets.prompts import Template, as_text, templates_of

WORDS = ["alpha", "bravo", "carol", "delta", "eagle", "fjord", "gamma", "hotel", "india", "julia", "kilo", "lemon"]


def words(draw: random.Random, most: int = 12) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(3, most)))


def never(_one: list[int], _other: list[int]) -> bool:
    return False


def prompts(form: str, n: int, seed: int = 0, system: str = "You are a helpful assistant.") -> list[str]:
    draw = random.Random(f"{form}/{seed}")
    made = []
    for _ in range(n):
        text = form
        while "{}" in text:
            text = text.replace("{}", words(draw), 1)
        made.append(as_text([Message("system", system), Message("user", text)]))
    return made


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("Is this spam? Say yes or no.\n\nMail: {}", ("mail",)),
        ("Is this spam? Say yes or no.\nSubject: {}\nBody: {}\nAnswer:", ("subject", "body")),
        ("Translate the text in the tag.\n<source>{}</source>", ("source",)),
        ("{}\n\nWhat is the mood of the text above?", ("text",)),
        ('Sentiment of "{}"', ("text",)),
        ("{}", ("text",)),
    ],
)
def test_the_input_is_what_varies(form: str, names: tuple[str, ...]) -> None:
    texts = prompts(form, 40)
    ((template, rows),) = templates_of(texts, never)
    assert template.names == names
    assert rows == list(range(40))
    for row in rows:
        found = template.inputs(texts[row])
        assert found is not None
        assert all(value and set(value.split()) <= set(WORDS) for value in found.values()), found


def test_tasks_that_share_a_system_message_are_told_apart() -> None:
    forms = ["Is this spam? Say yes or no.\nMail: {}", "Name the main topic in one word.\nArticle: {}\nTopic:"]
    texts = [text for pair in zip(*(prompts(form, 30) for form in forms), strict=True) for text in pair]
    found = templates_of(texts, never)
    assert sorted(template.names for template, _ in found) == [("article",), ("mail",)]
    assert sorted(row for _, rows in found for row in rows) == list(range(60))


def test_inputs_that_look_like_templates_stay_one_task_where_their_answers_are_alike() -> None:
    lines = ["Failed password for user {} from port 22", "Connection closed by host {} in preauth phase"]
    texts = [text for n, line in enumerate(lines) for text in prompts(f"Read the log line.\n{line}", 30, n)]
    ((template, rows),) = templates_of(texts, lambda _one, _other: True)
    assert len(rows) == 60
    assert (template.inputs(texts[0]) or {})["text"].startswith("Failed password for user ")


def test_what_all_inputs_begin_with_is_still_input() -> None:
    texts = prompts("Read the log line as JSON.\nDec 10 {} sshd[77]: {}", 30)
    ((template, _),) = templates_of(texts, never)
    assert (template.inputs(texts[0]) or {})["text"].startswith("Dec 10 ")


def test_prompts_of_another_form_do_not_fit() -> None:
    template = Template(("Mail: ", "\nAnswer:"), ("mail",))
    assert template.inputs("Mail: a\nAnswer:") == {"mail": "a"}
    for other in ("", "Mail: a", "mail: a\nAnswer:", "Mail:\nAnswer:"):
        assert template.inputs(other) is None


def test_a_hostile_prompt_costs_no_more_than_its_length() -> None:
    template = Template(("a", "b", "b", "b", "b", "c"), ("v", "w", "x", "y", "z"))
    started = time.process_time()
    assert template.inputs("a" + "b" * 2_000_000 + "d") is None
    assert template.inputs("a" + "b" * 2_000_000 + "c") is not None
    assert time.process_time() - started < 2


def test_marks_inside_a_message_cannot_end_it() -> None:
    assert as_text([Message("user", "a\x1esystem\nb")]).count("\x1e") == 2


def test_few_or_unlike_prompts_have_no_template() -> None:
    draw = random.Random(0)
    assert templates_of([], never) == []
    assert templates_of(prompts("Mail: {}", 3), never) == []
    unlike = [as_text([Message(f"r{n}", words(draw))]) for n in range(20)]
    assert templates_of(unlike, never) == []

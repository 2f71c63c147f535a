"""What is charged, whatever a server reports."""

from __future__ import annotations

import pytest

from loopai_runtime.llm import Prices
from loopai_runtime.llm.bill import charge, most_tokens
from loopai_runtime.llm.provider import Answer

PRICES = Prices(1.0, 2.0)
PROMPT = [{"role": "system", "content": "x" * 700}, {"role": "user", "content": "y" * 220}]
TEXT = "z" * 64
ALLOWED = 100
MOST = PRICES.usd(most_tokens(PROMPT), ALLOWED)


def told(prompt: int | None, completion: int | None) -> tuple[float, str]:
    made = charge(Answer(TEXT, "stop", prompt, completion), PROMPT, PRICES, ALLOWED, MOST)
    return made.usd, made.excess


def test_what_is_reported_is_charged() -> None:
    assert told(300, 20) == (PRICES.usd(300, 20), "")


@pytest.mark.parametrize("report", [(None, 20), (300, None), (None, None)])
def test_where_nothing_is_reported_everything_set_aside_is(report: tuple[int | None, int | None]) -> None:
    assert told(*report) == (MOST, "")


def test_texts_have_a_least_number_of_tokens() -> None:
    assert told(1, 1) == (PRICES.usd(920 // 16, 64 // 16), "")


def test_more_than_can_be_is_charged_and_distrusted() -> None:
    usd, excess = told(5000, 100)
    assert usd == PRICES.usd(5000, 100) > MOST
    assert "more than a call can have taken" in excess


@pytest.mark.parametrize("report", [(10**12, 1), (1, 10**12), (10**300, 10**300)])
def test_nonsense_is_not_charged_but_distrusted(report: tuple[int, int]) -> None:
    usd, excess = told(*report)
    assert usd == MOST
    assert excess


def test_a_free_model_that_reports_nonsense_is_distrusted_too() -> None:
    made = charge(Answer(TEXT, "stop", 10, 10**9), PROMPT, Prices(0, 0), ALLOWED, 0.0)
    assert made.usd == 0
    assert made.excess


def test_no_prompt_has_more_tokens_than_the_bound() -> None:
    assert most_tokens([{"role": "user", "content": "日本"}]) >= 6
    assert most_tokens([{"role": "user", "content": "a"}] * 2) > most_tokens([{"role": "user", "content": "aa"}])
    assert most_tokens(PROMPT, {"type": "object"}) > most_tokens(PROMPT) + len('{"type":"object"}')

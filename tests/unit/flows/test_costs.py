"""What a task cost and saves: sums, break-even, a month, and where the price of a call comes from."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.executions import execution

from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.errors import NotFound
from loopai_runtime.flows.costs import all_costs, costs
from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Ledger
from loopai_runtime.llm import Spent

SPEC = """
name: spam
description: Classify e-mails as spam or ham
input_schema: {type: object}
output_schema: {type: string}
oracle: {kind: llm, model: openai/own, prices: {input: 1.0, output: 10.0}}
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def pay(
    layout: Layout, purpose: str, usd: float, n: int = 1, model: str = "m", tokens: tuple[int, int] = (100, 5)
) -> None:
    purse = Ledger(layout, "spam", max_usd_per_command=1000)
    for _ in range(n):
        purse.settle(purse.reserve(usd, purpose=purpose, model=model), Spent(model, *tokens, usd, False, 0.1))


def log(layout: Layout, n: int, *, hours_ago: float = 0.0, **changes: Any) -> None:
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    sure = {"status": "success", "abstained": False, "output": "spam", "source": "program"} | changes
    records = [execution(i, rng=random.Random(i), **sure) for i in range(n)]
    ExecutionLog(layout).append(r | {"timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000000Z")} for r in records)


def write_spec(layout: Layout) -> None:
    layout.task("spam").mkdir(parents=True)
    layout.spec("spam").write_text(SPEC)


def test_what_the_program_answered_would_have_cost_what_calls_cost(layout: Layout) -> None:
    pay(layout, "write", 0.5, 2)
    pay(layout, "validate", 0.01, 10)
    log(layout, 800)
    log(layout, 200, output=None, abstained=True, source="none")
    found = costs(layout, "spam")
    assert found.spent_usd == pytest.approx(1.1)
    assert (found.making_usd, found.running_usd) == (pytest.approx(1.0), pytest.approx(0.1))
    assert found.call is not None
    assert (found.call.model, found.call.usd, found.call.basis, found.call.n) == (
        "m",
        pytest.approx(0.01),
        "measured",
        10,
    )
    assert found.avoided_usd == pytest.approx(8.0)
    assert found.saved_usd == pytest.approx(6.9)
    # One execution saves 0.8 calls, and takes 0.0001 of validation: 1.0 / 0.0079.
    assert found.break_even_calls == 127


def test_a_month_goes_on_as_it_was_seen(layout: Layout) -> None:
    pay(layout, "defer", 0.01, 10)
    log(layout, 90, hours_ago=48)
    log(layout, 10, source="oracle")
    found = costs(layout, "spam")
    assert found.traffic.days == pytest.approx(2.0, abs=0.05)
    assert found.traffic.deferred == 10
    assert found.month is not None
    assert found.month.executions == pytest.approx(1500, rel=0.03)
    assert found.month.model_usd == pytest.approx(15, rel=0.03)
    assert found.month.running_usd == pytest.approx(1.5, rel=0.03)
    assert found.month.saved_usd == pytest.approx(12, rel=0.03)


def test_a_service_that_costs_more_than_the_model_is_never_paid_for(layout: Layout) -> None:
    pay(layout, "write", 1.0)
    pay(layout, "validate", 0.01, 100)
    log(layout, 50)
    found = costs(layout, "spam")
    assert found.gain_usd == pytest.approx(-0.01)
    assert found.break_even_calls is None


def test_what_was_made_for_nothing_is_paid_for_at_once(layout: Layout) -> None:
    pay(layout, "validate", 0.01)
    log(layout, 50)
    assert costs(layout, "spam").break_even_calls == 0


def test_failed_executions_answer_nothing(layout: Layout) -> None:
    pay(layout, "validate", 0.01)
    log(layout, 5)
    log(layout, 5, status="error", output=None, error={"type": "E", "message": "m"})
    assert costs(layout, "spam").traffic.answered == 5


def test_the_specifications_price_counts_for_as_many_tokens_as_the_texts_have(layout: Layout) -> None:
    write_spec(layout)
    log(layout, 30, input={"text": "x" * 400})
    call = costs(layout, "spam").call
    assert call is not None
    assert (call.model, call.basis, call.n) == ("openai/own", "estimated", 30)
    assert call.prompt_tokens == pytest.approx((31 + 17 + 411) / 4, abs=1)
    assert call.usd == pytest.approx((call.prompt_tokens * 1.0 + call.completion_tokens * 10.0) / 1e6)


@pytest.mark.skipif(find_spec("litellm") is None, reason="litellm is not installed")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_another_model_is_compared_by_the_tokens_that_were_measured(layout: Layout) -> None:
    pay(layout, "validate", 0.01, tokens=(1000, 100))
    log(layout, 10)
    call = costs(layout, "spam", model="gpt-4o-mini").call
    assert call is not None
    assert (call.model, call.basis) == ("gpt-4o-mini", "measured")
    assert call.usd == pytest.approx(0.15e-3 + 0.06e-3)


def test_why_a_price_is_not_known_is_said(layout: Layout) -> None:
    log(layout, 10)
    pay(layout, "write", 0.1, model="", tokens=(0, 0))
    write_spec(layout)
    layout.spec("spam").write_text(SPEC.replace("oracle:", "unlabelled_from: []\n#"))
    Ledger(layout, "other", max_usd_per_command=1).reserve(0.5, purpose="write", model="unheard-of")
    other = costs(layout, "other")
    assert other.call is None
    assert other.unknown
    assert (other.saved_usd, other.month, other.break_even_calls) == (None, None, None)
    assert (other.spent_usd, other.unsettled_usd) == (0.5, 0.5)


def test_days_limit_what_is_looked_at_but_not_the_making(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    from loopai_runtime import ledger

    monkeypatch.setattr(ledger, "utc_now", lambda: "2026-01-01T00:00:00.000000Z")
    pay(layout, "write", 1.0)
    monkeypatch.undo()
    pay(layout, "validate", 0.5)
    log(layout, 10)
    log(layout, 10, hours_ago=24 * 20)
    found = costs(layout, "spam", days=2)
    assert (found.spent_usd, found.making_usd, found.traffic.executions) == (0.5, 1.0, 10)
    assert costs(layout, "spam").traffic.executions == 20


def test_all_tasks_and_none(layout: Layout) -> None:
    assert all_costs(layout) == []
    pay(layout, "write", 1.0)
    write_spec(layout)
    (one,) = all_costs(layout)
    assert one.task_id == "spam"
    assert one.as_dict()["spent_usd"] == 1.0
    with pytest.raises(NotFound):
        costs(layout, "none-such")

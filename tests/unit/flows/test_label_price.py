"""What an answer of the oracle costs, and the number of labels a day that a month's money buys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.versions import artifact

from loopai_runtime.config import Config
from loopai_runtime.files import make_dir
from loopai_runtime.flows import label_price
from loopai_runtime.flows.sample import sampling_of
from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Ledger
from loopai_runtime.llm import Spent

TASK = "spam"
MODEL = {"kind": "openai", "model": "small", "url": "http://127.0.0.1:9/v1"}


def config(root: Path, **sampling: Any) -> Config:
    flags = {f"sampling.{name}": value for name, value in ({"max_usd_per_month": 30.0} | sampling).items()}
    return Config.load(data_dir=root, environ={}, flags=flags)


def layout(root: Path, oracle: dict[str, Any] | None) -> Layout:
    found = Layout(root)
    make_dir(found.task(TASK))
    spec = {"name": TASK, "description": "d", "input_schema": {}, "output_schema": {}, "oracle": oracle}
    found.spec(TASK).write_text(json.dumps(spec), encoding="utf-8")
    return found


def ask(place: Layout, *prices: float, purpose: str = "validate", model: str = "small") -> None:
    ledger = Ledger(place, TASK, max_usd_per_command=100.0)
    for usd in prices:
        ledger.settle(ledger.reserve(1.0, purpose=purpose, model=model), Spent(model, 10, 1, usd, False, 0.1))


def labels_per_day(place: Layout, told: list[str], **sampling: Any) -> float | None:
    return sampling_of(artifact(), config(place.root, **sampling), place, told.append).plan.labels_per_day


@pytest.mark.parametrize(("n", "labels"), [(1, 100.0), (3, 100.0 / 3)])
def test_a_model_costs_what_its_calls_have_cost(tmp_path: Path, n: int, labels: float) -> None:
    place, told = layout(tmp_path, MODEL | {"n": n}), list[str]()
    ask(place, 0.005, 0.015)
    ask(place, 0.9, purpose="write")  # no answer to an input
    ask(place, 0.9, model="large")  # that is no longer asked
    assert labels_per_day(place, told) == pytest.approx(labels)
    assert told == []


def test_a_price_that_is_given_wins(tmp_path: Path) -> None:
    place = layout(tmp_path, MODEL)
    ask(place, 0.005)
    assert labels_per_day(place, [], usd_per_label=0.1) == pytest.approx(10.0)


def test_before_anything_was_asked_the_limit_has_no_effect_and_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    assert labels_per_day(layout(tmp_path, MODEL), told) is None
    assert told == [label_price.UNKNOWN]


@pytest.mark.parametrize(
    ("oracle", "usd"),
    [
        ({"kind": "labels"}, 0.0),
        ({"kind": "http", "url": "http://127.0.0.1:9/", "usd_per_call": 0.02}, 0.02),
        ({"kind": "http", "url": "http://127.0.0.1:9/", "usd_per_call": 0.02, "batch": 50}, None),
        (None, None),
    ],
)  # fmt: skip
def test_other_kinds_have_the_price_of_their_call(
    tmp_path: Path, oracle: dict[str, Any] | None, usd: float | None
) -> None:
    place = layout(tmp_path, oracle)
    assert label_price.usd_per_label(artifact(), config(tmp_path), place) == usd

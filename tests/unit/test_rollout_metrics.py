"""What `/metrics` says of rollouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from loopai_runtime.edge.rollout_metrics import RolloutMetrics
from loopai_runtime.layout import Layout
from loopai_runtime.rollout import Failures
from loopai_runtime.rollouts import Rollout, only_change

NOW = "2026-03-04T05:06:07.000000Z"
BEGUN = Rollout("one", "spam", 3, 2, NOW, NOW, NOW).changed("started", "", "cli", stage=10)


def keep(layout: Layout, rollout: Rollout) -> None:
    with only_change(layout, rollout.task_id) as write:
        write(rollout)


class Page:
    """A page of metrics, read again and again as a scraper does."""

    def __init__(self, layout: Layout) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(RolloutMetrics(layout))  # type: ignore[arg-type]

    def __call__(self) -> dict[str, float]:
        lines = generate_latest(self._registry).decode().splitlines()
        return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if x[0] != "#")}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_where_no_rollout_ever_was_nothing_is_said(layout: Layout) -> None:
    assert Page(layout)() == {}


def test_how_a_rollout_stands(layout: Layout) -> None:
    labels = (1, 1, -1, 1) * 10
    seen = replace(BEGUN, shadowed=1000, differed=80, dropped=7, labelled=labels, errors=Failures(1, 2))
    keep(layout, seen)
    found = Page(layout)()
    assert found['loopai_rollout_stage{task_id="spam"}'] == 10
    assert found['loopai_rollout_share{task_id="spam"}'] == 0.1
    assert found['loopai_rollout_labels{task_id="spam"}'] == 40
    assert found['loopai_rollout_labels_left{task_id="spam"}'] == 960
    assert found['loopai_rollout_shadowed_total{task_id="spam"}'] == 1000
    assert found['loopai_rollout_differed_total{task_id="spam"}'] == 80
    assert found['loopai_rollout_dropped_shadows_total{task_id="spam"}'] == 7
    assert found['loopai_rollout_failed_total{arm="candidate",task_id="spam"}'] == 2
    good = found['loopai_rollout_e_value{against="worse_by_delta",task_id="spam"}']
    assert good > found['loopai_rollout_e_value_needed{task_id="spam"}'] == 20
    assert found['loopai_rollout_e_value{against="not_worse",task_id="spam"}'] < 1
    assert found['loopai_ab_test_confidence{task_id="spam"}'] == pytest.approx(1 - 1 / good)
    states = {
        state: found[f'loopai_canary_deployment_status{{state="{state}",task_id="spam",version="3"}}']
        for state in ("running", "watching", "promoted", "rolled_back", "aborted")
    }
    assert states == {"running": 1, "watching": 0, "promoted": 0, "rolled_back": 0, "aborted": 0}


def test_each_transition_counts_once_and_the_next_rollout_counts_on(layout: Layout) -> None:
    page = Page(layout)
    started, rolled_back = 'loopai_ab_tests_total{task_id="spam"}', 'loopai_canary_rollbacks_total{task_id="spam"}'
    keep(layout, BEGUN)
    assert page()[started] == page()[started] == 1
    keep(layout, BEGUN.changed("rolled_back", "worse", "evidence", state="rolled_back", stage=0))
    assert (page()[started], page()[rolled_back]) == (1, 1)
    keep(layout, replace(BEGUN, rollout_id="two"))
    found = page()
    assert (found[started], found[rolled_back]) == (2, 1)
    assert found['loopai_rollout_transitions_total{event="started",task_id="spam"}'] == 2


def test_a_state_that_cannot_be_read_takes_nothing_else_down(layout: Layout) -> None:
    keep(layout, BEGUN)
    layout.rollout("spam").write_text("{")
    assert Page(layout)() == {}

"""What `/metrics` says of rollouts, from their state on disk: any process may have changed it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from loopai_runtime import rollout as rule
from loopai_runtime import rollouts
from loopai_runtime.errors import LoopaiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from loopai_runtime.layout import Layout
    from loopai_runtime.rollouts import Rollout

STATES = ("running", "watching", "promoted", "rolled_back", "aborted")
_COUNTS = (
    ("loopai_rollout_shadowed", "Requests of the rollout that both versions answered.", "shadowed"),
    ("loopai_rollout_differed", "Of those, answered differently.", "differed"),
    ("loopai_rollout_dropped_shadows", "Requests that only one version answered: there were too many.", "dropped"),
)


class RolloutMetrics:
    """Remembers how far it has counted each rollout's history, so that a next rollout counts on."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._events: Counter[tuple[str, str]] = Counter()
        self._counted: dict[str, tuple[str, int]] = {}

    def collect(self) -> Iterator[Metric]:
        try:
            found = rollouts.all_of(self._layout)
        except LoopaiError:  # it cannot be read now, which is no reason to say nothing of the rest
            return
        for each in found:
            self._count(each)
        yield from self._transitions()
        yield from _states(found)
        yield from _evidence(found)

    def _count(self, rollout: Rollout) -> None:
        rollout_id, counted = self._counted.get(rollout.task_id, ("", 0))
        new = rollout.history[counted if rollout_id == rollout.rollout_id else 0 :]
        self._counted[rollout.task_id] = (rollout.rollout_id, len(rollout.history))
        self._events.update((rollout.task_id, change.event) for change in new)

    def _transitions(self) -> Iterator[Metric]:
        families = {
            "started": CounterMetricFamily("loopai_ab_tests", "Rollouts that were started.", labels=["task_id"]),
            "rolled_back": CounterMetricFamily(
                "loopai_canary_rollbacks", "Candidates that were taken out.", labels=["task_id"]
            ),
        }
        transitions = CounterMetricFamily(
            "loopai_rollout_transitions", "What happened to rollouts.", labels=["task_id", "event"]
        )
        for (task_id, event), count in sorted(self._events.items()):
            transitions.add_metric([task_id, event], count)
            if event in families:
                families[event].add_metric([task_id], count)
        yield from families.values()
        yield transitions


def _states(found: list[Rollout]) -> Iterator[Metric]:
    status = GaugeMetricFamily(
        "loopai_canary_deployment_status",
        "1: the state that a task's latest rollout is in.",
        labels=["task_id", "version", "state"],
    )
    stage = GaugeMetricFamily("loopai_rollout_stage", "Percent that the stage is of.", labels=["task_id"])
    share = GaugeMetricFamily(
        "loopai_rollout_share", "Of the requests, that the candidate serves.", labels=["task_id"]
    )
    for each in found:
        for state in STATES:
            status.add_metric([each.task_id, str(each.candidate), state], float(each.state == state))
        stage.add_metric([each.task_id], each.stage)
        share.add_metric([each.task_id], each.share)
    yield from (status, stage, share)


def _evidence(found: list[Rollout]) -> Iterator[Metric]:
    e_values = GaugeMetricFamily(
        "loopai_rollout_e_value", "Evidence against a hypothesis.", labels=["task_id", "against"]
    )
    needed = GaugeMetricFamily("loopai_rollout_e_value_needed", "Evidence that decides.", labels=["task_id"])
    confidence = GaugeMetricFamily(
        "loopai_ab_test_confidence",
        "That the candidate is not worse by delta: 1 less the anytime p-value.",
        labels=["task_id"],
    )
    used = GaugeMetricFamily("loopai_rollout_labels", "Oracle answers that were used.", labels=["task_id"])
    left = GaugeMetricFamily("loopai_rollout_labels_left", "Oracle answers that are left.", labels=["task_id"])
    counts = [CounterMetricFamily(name, text, labels=["task_id"]) for name, text, _ in _COUNTS]
    failed = CounterMetricFamily(
        "loopai_rollout_failed", "Requests on which this arm alone failed.", labels=["task_id", "arm"]
    )
    for each in found:
        state, evidence = each.decision_state(), each.evidence()
        good, worse = rule.evidence_of_good(state, evidence), rule.evidence_of_worse(evidence)
        e_values.add_metric([each.task_id, "worse_by_delta"], good)
        e_values.add_metric([each.task_id, "not_worse"], worse)
        needed.add_metric([each.task_id], 1 / each.alpha)
        confidence.add_metric([each.task_id], 1 - min(1.0, 1 / good) if good > 0 else 0.0)
        used.add_metric([each.task_id], len(each.labelled))
        left.add_metric([each.task_id], max(0, each.max_labels - len(each.labelled)))
        for family, (_, _, name) in zip(counts, _COUNTS, strict=True):
            family.add_metric([each.task_id], getattr(each, name))
        failed.add_metric([each.task_id, "incumbent"], each.errors.incumbent)
        failed.add_metric([each.task_id, "candidate"], each.errors.candidate)
    yield from (e_values, needed, confidence, used, left, *counts, failed)

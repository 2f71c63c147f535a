"""What there is to say of a rollout: its evidence, what is missing, and when a decision is due at this traffic."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import rollout as rule
from loopai_runtime.evalues import highest_share
from loopai_runtime.flows import roll_out

if TYPE_CHECKING:
    from loopai_runtime.layout import Layout
    from loopai_runtime.rollout import Decision, Evidence, State
    from loopai_runtime.rollouts import Rollout

SHOWN = 10
"""Disagreements that are shown."""
_GROWTH = 1.3
_MOST_TIMES = 200.0


class Outlook(NamedTuple):
    """What is decided next if all goes on as it did: `promote` or `roll_back`, in so many seconds."""

    action: str
    in_s: float


def shown(layout: Layout, rollout: Rollout, *, disagreements: int = SHOWN) -> dict[str, Any]:
    """A rollout as JSON: its state, its evidence, and the latest inputs that were answered differently.

    Raises StorageError.
    """
    found = roll_out.disagreements(layout, rollout, disagreements) if disagreements else []
    return {**rollout.as_dict(), "evidence": evidence_of(rollout), "disagreements": found}


def evidence_of(rollout: Rollout) -> dict[str, Any]:
    """The numbers on which the next decision rests, and why it has not been taken."""
    state, evidence = rollout.decision_state(), rollout.evidence()
    decision = rule.decide(state, evidence, rollout.stages)
    seen, labelled = evidence.shadowed, evidence.labelled
    rate = evidence.differed / seen if seen else None
    same = max(0, seen - evidence.differed)
    at_most = highest_share(evidence.differed, same, state.alpha) if seen else None
    outlook = outlook_of(rollout) if rollout.state == "running" else None
    return {
        "e_value": rule.evidence_of_good(state, evidence),
        "e_value_worse": rule.evidence_of_worse(evidence),
        "e_value_needed": 1 / state.alpha,
        "labels": len(labelled),
        "labels_left": max(0, state.max_labels - len(labelled)),
        "labels_wanted": max(0, min(state.min_labels, evidence.differed) - len(labelled)),
        "waiting_for_labels": max(0, evidence.differed - len(labelled)),
        "better": labelled.count(1),
        "worse": labelled.count(-1),
        "neither": labelled.count(0),
        "differing": rate,
        "differing_at_most": at_most,
        "dwell_s": max(0.0, evidence.now - state.stage_started_at),
        "dwell_wanted_s": rollout.watch_s if rollout.state == "watching" else state.min_dwell_s,
        "next": decision.action,
        "why": decision.reason,
        "outlook": outlook._asdict() if outlook else None,
    }


def outlook_of(rollout: Rollout) -> Outlook | None:
    """When a decision falls if traffic, differences and labels go on as so far; None where that cannot be told."""
    state, evidence, took_s = rollout.decision_state(), rollout.evidence(), _took_s(rollout)
    if not evidence.shadowed or took_s <= 0:
        return None
    dwelt = max(0.0, evidence.now - state.stage_started_at)
    left_s = max(0.0, state.min_dwell_s - dwelt)
    times = 1.0
    while times <= _MOST_TIMES:
        decision = _later(state, evidence, times, rollout.stages)
        if decision.action != "hold":
            needed_s = (times - 1) * took_s
            at_once = decision.action == "roll_back" and "inconclusive" not in decision.reason
            return Outlook(decision.action, needed_s if at_once else max(left_s, needed_s))
        times *= _GROWTH
    return None


def _took_s(rollout: Rollout) -> float:
    """How long it took to see what has been seen; at least what its stage really lasted."""
    between = datetime.fromisoformat(rollout.updated_at) - datetime.fromisoformat(rollout.started_at)
    return max(rollout.dwell_s, between.total_seconds())


def _later(state: State, evidence: Evidence, times: float, stages: tuple[int, ...]) -> Decision:
    """The decision when there is `times` as much of everything, and the stage has lasted."""
    labels = min(state.max_labels, round(len(evidence.labelled) * times))
    more = replace(
        evidence,
        now=state.stage_started_at + state.min_dwell_s,
        shadowed=round(evidence.shadowed * times),
        differed=round(evidence.differed * times),
        labelled=tuple(islice(cycle(evidence.labelled), labels)),
        over_latency=round(evidence.over_latency * times),
    )
    return rule.decide(state, more, stages)

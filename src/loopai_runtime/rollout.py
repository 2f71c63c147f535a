"""Whether a candidate replaces the incumbent: a pure function of what has been seen so far.

Both versions answer the same inputs. Where their outputs agree, neither is better; where they differ, an oracle
says which is right: +1 the candidate, -1 the incumbent, 0 neither or both. So the candidate's accuracy minus the
incumbent's is the rate of differing times the mean of those labels, and only differing outputs cost a label.

Two hypotheses are bet against, with evidence that holds however often it is looked at (see `evalues`):

- "worse by delta": refuted, the candidate is promoted. The rate of differing is not known; with a fifth of alpha
  it is at most some bound, so a mean of labels below -delta/bound has to be refuted with the rest of alpha.
- "not worse": refuted, the candidate is rolled back.

All stages of a rollout share one evidence, so a candidate that is worse by delta is ever promoted with probability
at most alpha over the whole rollout. Guards look at every shadowed request and need no labels: failing where the
incumbent does not, and being slow. No data is never success.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loopai_runtime.evalues import MOST, highest_share, mean_above, share_above

STAGES = (10, 50, 100)
"""Percent of the requests that the candidate serves, one stage after the other."""
FUSE = 5
"""Requests on which the candidate alone failed, or was slow, before which it is not blamed."""
SLOW_SHARE = 0.02
"""Of calls over the latency target: twice what a 99th percentile allows."""
_FOR_THE_RATE = 0.2  # of alpha, spent on how often outputs differ
_GUARD_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Failures:
    """Requests on which one version failed and the other did not."""

    incumbent: int = 0
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """Where a rollout stands. `stage` is the percent that the candidate serves (0: shadow alone); times are in s.

    `delta` is the loss of accuracy that must be ruled out, `alpha` the risk of being wrong about it, `min_labels`
    what a promotion must have seen, `min_dwell_s` how long a stage lasts, `max_labels` what may be spent in all.
    """

    stage: int
    stage_started_at: float
    delta: float = 0.02
    alpha: float = 0.05
    min_labels: int = 20
    min_dwell_s: float = 3600.0
    max_labels: int = 1000


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the whole rollout has seen. `labelled`: candidate minus incumbent, of differing outputs, in order.

    `shadowed` requests both versions answered, on `differed` of them differently; `over_latency` counts those on
    which the candidate was slower than its target.
    """

    now: float
    shadowed: int
    differed: int
    labelled: tuple[Literal[-1, 0, 1], ...] = ()
    errors: Failures = Failures()
    over_latency: int = 0

    def __post_init__(self) -> None:
        errors: object = self.errors
        if isinstance(errors, Mapping):  # as JSON has them
            object.__setattr__(self, "errors", Failures(**errors))


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, the percent that the candidate serves from now on, the evidence for it, and why in words."""

    action: Literal["promote", "hold", "roll_back"]
    share: int
    e_value: float
    reason: str


def decide(state: State, evidence: Evidence, stages: tuple[int, ...] = STAGES) -> Decision:
    """Promote to the next stage (from the last: the candidate replaces the incumbent), hold, or roll back."""
    broken = _guards(evidence)
    if broken is not None:
        return broken
    worse = evidence_of_worse(evidence)
    if worse >= 1 / state.alpha:
        return Decision("roll_back", 0, worse, f"its answers are worse: e-value {worse:.3g}")
    good = evidence_of_good(state, evidence)
    dwelt = evidence.now - state.stage_started_at
    missing = _missing(state, evidence, dwelt)
    if good >= 1 / state.alpha and missing is None:
        share = next((stage for stage in stages if stage > state.stage), 100)
        return Decision("promote", share, good, f"not worse by {state.delta:.1%}: e-value {good:.3g}")
    if len(evidence.labelled) >= state.max_labels and dwelt >= state.min_dwell_s and good < 1 / state.alpha:
        return Decision("roll_back", 0, good, f"inconclusive after {len(evidence.labelled)} labels")
    why = missing or f"e-value {good:.3g} of {1 / state.alpha:.3g}"
    return Decision("hold", state.stage, good, why)


def evidence_of_good(state: State, evidence: Evidence) -> float:
    """The e-value against "the candidate is worse by delta". 1 where nothing has been seen."""
    if evidence.shadowed <= 0:
        return 1.0
    differed = max(evidence.differed, len(evidence.labelled))
    same = max(0, evidence.shadowed - differed)
    differing = highest_share(differed, same, state.alpha * _FOR_THE_RATE)
    if differing < state.delta:
        return MOST  # even if each differing answer were wrong
    # What is left of alpha is all that this evidence may use, so that 1/alpha stands for both.
    return mean_above(evidence.labelled, -state.delta / differing) * (1 - _FOR_THE_RATE)


def evidence_of_worse(evidence: Evidence) -> float:
    """The e-value against "the candidate is not worse"."""
    return mean_above([-label for label in evidence.labelled], 0.0)


def _guards(evidence: Evidence) -> Decision | None:
    """Failing and slowness, on which no oracle has to be asked."""
    failed = evidence.errors
    alone = _imbalance(failed.candidate, failed.incumbent)
    if failed.candidate >= FUSE and alone >= 1 / _GUARD_ALPHA:
        times = f"{failed.candidate} times where the incumbent did not, and {failed.incumbent} times the reverse"
        return Decision("roll_back", 0, alone, f"it failed {times}")
    slow = share_above(evidence.over_latency, max(0, evidence.shadowed - evidence.over_latency), SLOW_SHARE)
    if evidence.over_latency >= FUSE and slow >= 1 / _GUARD_ALPHA:
        return Decision("roll_back", 0, slow, f"slower than its target on {evidence.over_latency} requests")
    return None


def _imbalance(candidate: int, incumbent: int) -> float:
    """Evidence against "the candidate fails no more often than the incumbent", of failures of one alone.

    Two gamblers: one stakes all on the candidate, and is out at the incumbent's first failure; so five of five
    suffice.
    """
    sure = 2.0 ** min(candidate, 500) if incumbent == 0 else 0.0
    likely = math.exp(min(600.0, candidate * math.log(1.6) + incumbent * math.log(0.4)))
    return 0.65 * sure + 0.35 * likely


def _missing(state: State, evidence: Evidence, dwelt: float) -> str | None:
    """What a promotion lacks besides evidence."""
    wanted = min(state.min_labels, evidence.differed)  # where outputs hardly differ there are no more
    if evidence.shadowed <= 0:
        return "nothing was shadowed yet"
    if len(evidence.labelled) < wanted:
        return f"{len(evidence.labelled)} of {wanted} labels"
    if not dwelt >= state.min_dwell_s:  # nor where a clock says no number
        return f"{max(0.0, dwelt):.0f} of {state.min_dwell_s:.0f} seconds at {state.stage} %"
    return None

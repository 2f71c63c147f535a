"""Whether a version fails too often: bounds decide, never the share that happened to be seen.

A running edge looks again whenever there are new checks. An interval for one look would then alarm sooner or later
whatever the truth, so the bounds are those of a confidence sequence: right at all looks at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loopai_runtime import intervals
from loopai_runtime.datasets.counts import Group
from loopai_runtime.flows.analysis import analyze
from loopai_runtime.validation import estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.config.loop import Improvement
    from loopai_runtime.flows.analysis import Analysis
    from loopai_runtime.layout import Layout
    from loopai_runtime.validation.estimate import Checked, Estimate


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks of one version's executions say, over some days."""

    version: int
    days: int
    accuracy: Estimate
    low: float
    """The accuracy is above this, and below `high`, with 95 % at all looks at once."""
    high: float
    failed: int
    """Of `accuracy.n` that were checked."""
    executions: int
    errors: int
    """Executions that raised or timed out."""
    errors_low: float
    failure_threshold: float
    accuracy_target: float

    @property
    def why(self) -> str | None:
        """Why the task is to be improved; None where that is not shown."""
        threshold, target = self.failure_threshold, self.accuracy_target
        if self.accuracy.n and 1 - self.high > threshold:
            return f"v{self.version} fails on at least {1 - self.high:.1%} of inputs; {threshold:.0%} are allowed"
        if self.errors_low > threshold:
            return f"v{self.version} raises or times out on at least {self.errors_low:.1%} of inputs"
        if self.accuracy.n and self.high < target:
            return f"v{self.version} is right on at most {self.high:.1%} of inputs; the target is {target:.1%}"
        return None

    @property
    def why_not(self) -> str:
        """In a line, why nothing has to be done."""
        if not self.accuracy.n:
            return f"no execution of v{self.version} was checked in the last {self.days} days"
        return (
            f"v{self.version} is right on {self.accuracy.value:.1%} of {self.accuracy.n} checked, and between"
            f" {self.low:.1%} and {self.high:.1%} of all: not shown to miss {self.accuracy_target:.1%}"
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "days": self.days,
            "checked": self.accuracy.n,
            "failed": self.failed,
            "accuracy": self.accuracy.as_dict() | {"low": round(self.low, 6), "high": round(self.high, 6)},
            "executions": self.executions,
            "errors": self.errors,
            "failure_threshold": self.failure_threshold,
            "accuracy_target": self.accuracy_target,
            "why": self.why,
        }


def evidence_of(
    layout: Layout, config: Config, task_id: str, version: int, accuracy_target: float
) -> tuple[Evidence, Analysis]:
    """What is known of a version here, and the analysis of its checks alone. Raises StorageError."""
    analysis = analyze(layout, task_id, days=config.improvement.window_days, by="version")
    judged = [one for one in analysis.checked[task_id] if one.version == version]
    checks = [estimate.Checked(one.match, 1.0 if one.pi is None else one.pi, one.confidence) for one in judged]
    group = next((row.group for row in analysis.rows if row.key == version), Group())
    found = weigh(version, checks, group, config.improvement, accuracy_target)
    return found, replace(analysis, checked={task_id: judged})


def weigh(
    version: int, checks: Sequence[Checked], ran: Group, limits: Improvement, accuracy_target: float
) -> Evidence:
    """What the checks of a version and the counts of its executions show."""
    # Of what future inputs will meet, not of the executions that happened: so without their number.
    accuracy = estimate.accuracy(checks)
    low, high = accuracy.always() if accuracy.n else (0.0, 1.0)
    errors = ran.errors + ran.timeouts
    return Evidence(
        version=version,
        days=limits.window_days,
        accuracy=accuracy,
        low=low,
        high=high,
        failed=sum(not one.match for one in checks),
        executions=ran.count,
        errors=errors,
        errors_low=intervals.always(errors, ran.count)[0] if errors else 0.0,
        failure_threshold=limits.failure_threshold,
        accuracy_target=accuracy_target,
    )

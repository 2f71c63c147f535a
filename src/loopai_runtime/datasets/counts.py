"""What is counted of executions: mergeable, and written so that equal counts are equal bytes.

A `Group` counts executions that belong together; a `Slice` those of a stretch of time, grouped by version, by
rollout arm and by the label that was answered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from loopai_runtime.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Iterable

BINS = 20
"""Of the confidence histogram: bin `i` counts `i/20 <= confidence < (i+1)/20`, the last one also 1."""
_NUMBERS = ("count", "errors", "timeouts", "abstained", "sampled")


@dataclass(eq=True, slots=True)
class Group:
    """Executions counted together. `errors` and `timeouts` are apart; `latency` is in milliseconds."""

    count: int = 0
    errors: int = 0
    timeouts: int = 0
    abstained: int = 0
    sampled: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    confidence: list[int] = field(default_factory=lambda: [0] * BINS)
    latency: Sketch = field(default_factory=Sketch)

    def merge(self, other: Group) -> None:
        self.count += other.count
        self.errors += other.errors
        self.timeouts += other.timeouts
        self.abstained += other.abstained
        self.sampled += other.sampled
        for source, n in other.sources.items():
            self.sources[source] += n
        if any(other.confidence):
            self.confidence = [a + b for a, b in zip(self.confidence, other.confidence, strict=True)]
        self.latency.merge(other.latency)

    def add_confidences(self, values: Iterable[float]) -> None:
        """Each from 0; above 1 is 1."""
        for value in values:
            self.confidence[int(min(value, 0.999) * BINS)] += 1

    def summary(self) -> dict[str, Any]:
        """`count, errors, timeouts, p50_ms, p95_ms, p99_ms`, as `analyze -o json` has them."""
        quantiles = {f"p{share}_ms": self.latency.quantile(share / 100) for share in (50, 95, 99)}
        rounded = {name: None if value is None else float(f"{value:.4g}") for name, value in quantiles.items()}
        return {"count": self.count, "errors": self.errors, "timeouts": self.timeouts} | rounded

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what is empty is left out."""
        counts = {name: value for name in _NUMBERS if (value := getattr(self, name))}
        if self.sources:
            counts["source"] = dict(sorted(self.sources.items()))
        if any(self.confidence):
            counts["confidence"] = self.confidence
        if self.latency:
            counts["latency_ms"] = self.latency.as_list()
        return counts

    @classmethod
    def of_dict(cls, data: dict[str, Any]) -> Self:
        """What `as_dict` wrote. Raises ValueError, TypeError, AttributeError for anything else."""
        made = cls(**{name: data.get(name, 0) for name in _NUMBERS})
        made.sources.update(data.get("source", {}))
        made.confidence = list(data.get("confidence", made.confidence))
        made.latency = Sketch.of_list(data.get("latency_ms"))
        return made


Groups = dict[str, Group]


@dataclass(eq=True, slots=True)
class Slice:
    """The executions of a minute or a day. Groups of labels have latencies in a day alone."""

    by_version: Groups = field(default_factory=dict)
    by_arm: Groups = field(default_factory=dict)
    by_label: Groups = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    """Errors and time-outs by the type of their error."""

    def total(self) -> Group:
        return merged(self.by_version.values())

    def merge(self, other: Slice) -> None:
        for mine, theirs in (
            (self.by_version, other.by_version),
            (self.by_arm, other.by_arm),
            (self.by_label, other.by_label),
        ):
            for key, group in theirs.items():
                mine.setdefault(key, Group()).merge(group)
        self.failures.update(other.failures)

    def as_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            f"by_{name}": {key: groups[key].as_dict() for key in sorted(groups)}
            for name, groups in (("version", self.by_version), ("arm", self.by_arm), ("label", self.by_label))
            if groups
        }
        return data | ({"failures": dict(sorted(self.failures.items()))} if self.failures else {})

    @classmethod
    def of_dict(cls, data: dict[str, Any]) -> Self:
        """What `as_dict` wrote. Raises ValueError, TypeError, AttributeError for anything else."""
        versions, arms, labels = (
            {key: Group.of_dict(value) for key, value in data.get(name, {}).items()}
            for name in ("by_version", "by_arm", "by_label")
        )
        return cls(versions, arms, labels, Counter(data.get("failures", {})))


def merged(groups: Iterable[Group]) -> Group:
    """One group of all."""
    made = Group()
    for group in groups:
        made.merge(group)
    return made

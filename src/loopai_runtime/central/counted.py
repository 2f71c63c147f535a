"""The counts that deployments report: whether they can be such, added up by day, and shown.

Nothing of them is believed before it was looked at: a report that would make later sums wrong, or endless, is
refused with all of its batch.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from loopai_runtime.datasets.counts import BINS, Group, Slice
from loopai_runtime.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_GROUPS = 300
_FURTHEST_BUCKET = 5000
_HEAVIEST = 1e6  # of a validation's weights
OTHER = "(other)"
_Count = Annotated[int, Field(ge=0, le=2**53, strict=True)]
_Name = Annotated[str, Field(max_length=64)]
_Counts = Annotated[dict[_Name, _Count], Field(max_length=_MOST_GROUPS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class GroupReport(_Strict):
    """A `Group` as it is reported."""

    count: _Count = 0
    errors: _Count = 0
    timeouts: _Count = 0
    abstained: _Count = 0
    sampled: _Count = 0
    source: dict[Literal["program", "oracle", "none", "(other)"], _Count] = {}
    confidence: Annotated[list[_Count], Field(min_length=BINS, max_length=BINS)] | None = None
    latency_ms: list[float] = Field([], max_length=2 * _FURTHEST_BUCKET)

    @field_validator("latency_ms")
    @classmethod
    def _a_sketch(cls, flat: list[float]) -> list[float]:
        bucket = 0.0
        if flat and (len(flat) % 2 or min(flat[:2]) < 0):
            raise ValueError("is no sketch of latencies")
        for step, count in zip(flat[2::2], flat[3::2], strict=True):
            bucket += step
            if not (step.is_integer() and count.is_integer() and abs(bucket) < _FURTHEST_BUCKET and count > 0):
                raise ValueError("is no sketch of latencies")
        return [*flat[:2], *map(int, flat[2:])]


_Groups = Annotated[dict[_Name, GroupReport], Field(max_length=_MOST_GROUPS)]
_Version = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,5}|\(other\))$")]


class StatsReport(_Strict):
    """A `Slice` as it is reported."""

    by_version: Annotated[dict[_Version, GroupReport], Field(max_length=_MOST_GROUPS)] = {}
    by_arm: dict[Literal["incumbent", "candidate", "(other)"], GroupReport] = {}
    by_label: _Groups = {}
    failures: _Counts = {}
    damaged: _Count = 0


class CheckedReport(BaseModel):
    """A validation, as far as accuracy needs it."""

    match: bool = Field(strict=True)
    pi: float | None = Field(None, gt=0, le=1)


class Day:
    """What a deployment did with a task in a day."""

    def __init__(self, counts: dict[str, Any], checked: dict[str, list[float]]) -> None:
        self.counts = Slice.of_dict(counts)
        self.checked = {version: list(sums) for version, sums in checked.items()}
        """version -> validations, right ones, and the sums of weights, of their squares, and of right ones'."""

    def add_stats(self, report: StatsReport) -> None:
        self.counts.merge(Slice.of_dict(report.model_dump(exclude_none=True)))

    def add_checked(self, version: int | None, report: CheckedReport) -> None:
        weight = min(1 / (report.pi or 1.0), _HEAVIEST)
        sums = [1, report.match, weight, weight * weight, weight * report.match]
        self._add_sums(str(version or 0), sums)

    def merge(self, other: Day) -> None:
        self.counts.merge(other.counts)
        for version, sums in other.checked.items():
            self._add_sums(version, sums)
        self._fold()

    def _add_sums(self, version: str, sums: Sequence[float]) -> None:
        mine = self.checked.get(version, [0, 0, 0.0, 0.0, 0.0])
        self.checked[version] = [before + more for before, more in zip(mine, sums, strict=True)]

    def _fold(self) -> None:
        """However many names are reported, few are kept."""
        for groups in (self.counts.by_version, self.counts.by_label):
            for name in sorted(groups)[_MOST_GROUPS:]:
                groups.setdefault(OTHER, Group()).merge(groups.pop(name))
        if len(self.counts.failures) > _MOST_GROUPS:
            kept = Counter(dict(self.counts.failures.most_common(_MOST_GROUPS)))
            kept[OTHER] += self.counts.failures.total() - kept.total()
            self.counts.failures = kept

    def shown(self) -> dict[str, Any]:
        """Counts, latencies and accuracy, in all and by version."""
        sums = [sum(column) for column in zip(*self.checked.values(), strict=True)]
        return {
            **_shown(self.counts.total()),
            "accuracy": accuracy(sums) if sums else None,
            "by_version": {
                version: _shown(self.counts.by_version.get(version, Group()))
                | {"accuracy": accuracy(self.checked[version]) if version in self.checked else None}
                for version in sorted({*self.counts.by_version, *self.checked})
            },
            "by_arm": {arm: _shown(group) for arm, group in sorted(self.counts.by_arm.items())},
            "by_label": {label: group.count for label, group in sorted(self.counts.by_label.items())},
            "failures": dict(sorted(self.counts.failures.items())),
        }


def accuracy(sums: Sequence[float]) -> dict[str, Any]:
    """The share of right answers, each validation counting as often as it was unlikely to be chosen.

    The Hájek estimate; the interval is Wilson's (95 %) at Kish's effective number of validations.
    """
    n, _, weights, squares, right = sums
    value, effective = right / weights, weights * weights / squares
    low, high = wilson(value * effective, effective)
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "n": int(n)}


def _shown(group: Group) -> dict[str, Any]:
    return group.summary() | {"abstained": group.abstained, "sampled": group.sampled}

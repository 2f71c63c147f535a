"""Which executions are checked: every choice says with which probability it was made.

An execution is chosen by a keyed hash of its id (Bernoulli, as in Horvitz and Thompson 1952): whoever has the key
can tell again which were chosen, and nobody else can tell beforehand. Its probability `pi` is computed from what
is known before the draw, so it is right whatever the strategies remember: after a restart, or in several processes
that know nothing of each other, only the shares differ.

    pi = rate x clip(product of the weights / their mean so far, 1/10, 10) x boost, at most 1

The floor of a tenth keeps what is inferred from the sample from hanging on a few records (Owen 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.sampling.pace import Pace
from loopai_runtime.sampling.weights import Boost, Strata, uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_RANGE = 1 << 64
_FLOOR, _CEILING = 0.1, 10.0
_MEMORY = 2000  # executions over which the mean weight is taken
_LEAST_PI = 1e-6


class Choice(NamedTuple):
    """Whether an execution is checked, and the probability with which it was chosen for that."""

    sampled: bool
    pi: float


NEVER = Choice(False, 0.0)
"""For what is no answer of the program's own: an error, an abstained or a deferred input."""


class Seen(NamedTuple):
    """What is known of an execution before the draw; `at` is in seconds since 1970."""

    execution_id: str
    input: Any = None
    output: Any = None
    confidence: float | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How executions are to be chosen. `labels_per_day` is a budget that the rate follows, `rate` then at most; 0
    is no checking at all. `changed_at` is when another version began to serve."""

    strategies: tuple[str, ...] = ("random",)
    rate: float = 0.05
    labels_per_day: float | None = None
    changed_at: float | None = None
    boost: float = 5.0
    half_life_s: float = 6 * 3600.0


class Sampler:
    """Chooses by a plan. Its memory is bounded; it is for one thread."""

    def __init__(self, plan: Plan, key: bytes, *, pace: Pace | None = None, mean: float | None = None) -> None:
        """`mean` is the mean weight to start from, where it is known (`expected_weight`)."""
        self.plan = plan
        self._keyed = blake2b(key=key, digest_size=8)
        self._rate = plan.rate
        if pace is None and plan.labels_per_day:
            pace = Pace(plan.labels_per_day, most=plan.rate)
        self._pace = pace
        self._weights: list[Callable[[Seen], float | None]] = []
        if "uncertainty" in plan.strategies:
            self._weights.append(lambda seen: uncertainty(seen.confidence))
        if "stratified" in plan.strategies:
            strata = Strata()
            self._weights.append(lambda seen: strata.weight(seen.output, seen.input))
        self._mean, self._count = (mean, _MEMORY // 10) if mean else (1.0, 0)
        self._boost = None
        if "temporal" in plan.strategies and plan.changed_at is not None:
            self._boost = Boost(plan.changed_at, plan.boost, plan.half_life_s)
        self._is_plain = not self._weights and self._boost is None and plan.labels_per_day is None and pace is None

    @property
    def rate(self) -> float:
        """The share of executions that is chosen now, before weights and boost."""
        return self._pace.now if self._pace else self._rate

    def choose(self, seen: Seen) -> Choice:
        """Decide on one execution; each is to be asked about once, in the order in which they happen."""
        if self._is_plain:
            return Choice(self._draw(seen.execution_id, self._rate), self._rate)
        if self.plan.labels_per_day == 0:
            return NEVER
        rate = self._pace.rate(seen.at) if self._pace else self._rate
        pi = rate * self._relative(seen) if self._weights else rate
        if self._boost is not None:
            pi *= self._boost.at(seen.at)
        pi = min(1.0, max(_LEAST_PI, round(pi, 6)))  # rounded before the draw: what is recorded is what was used
        sampled = self._draw(seen.execution_id, pi)
        if sampled and self._pace is not None:
            self._pace.spend()
        return Choice(sampled, pi)

    def _relative(self, seen: Seen) -> float:
        """The weight of this execution beside the mean one."""
        product, known = 1.0, False
        for weight in self._weights:
            if (one := weight(seen)) is not None:
                product *= one
                known = True
        if not known:
            return 1.0
        self._count = min(self._count + 1, _MEMORY)
        self._mean += (product - self._mean) / self._count
        return min(_CEILING, max(_FLOOR, product / self._mean))

    def _draw(self, execution_id: str, pi: float) -> bool:
        digest = self._keyed.copy()
        digest.update(execution_id.encode())
        return int.from_bytes(digest.digest(), "big") < pi * _RANGE


def expected_weight(plan: Plan, reference: Mapping[str, Any]) -> float | None:
    """The mean weight that a version's reference (`judged.reference`) promises, so that a process that answers one
    input chooses as one does that has seen thousands; None where it cannot be told."""
    shares: Sequence[float] = reference.get("confidence") or ()
    if "stratified" in plan.strategies or "uncertainty" not in plan.strategies or not sum(shares):
        return None
    middles = ((at + 0.5) / len(shares) for at in range(len(shares)))
    return sum(share * (uncertainty(middle) or 0.0) for share, middle in zip(shares, middles, strict=True)) / sum(
        shares
    )


__all__ = ["NEVER", "Boost", "Choice", "Pace", "Plan", "Sampler", "Seen", "Strata", "expected_weight"]

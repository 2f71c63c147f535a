"""How right a program is, from executions that were not chosen alike: an estimate, never without its interval.

    wilson            chosen alike: the share of matches (Wilson 1927)
    hajek             each check stands for 1/pi executions (Hájek 1971)
    doubly_robust     the same, corrected by what the confidences of all executions say (difference estimator of
                      Cassel, Särndal and Wretman 1976; prediction-powered inference with a tuned weight,
                      Angelopoulos et al. 2023); right if the pi are, the narrower the better the confidences
    stratified        strata of known size, each estimated by itself

Every interval is Wilson's with an effective number of checks: that of plain random ones that would tell as much
(Korn and Graubard 1998). Linearised variances are too small where hardly an error was seen, as most samples miss
the rare one that stands for many executions; there the effective number leans on the weights alone (Kish 1965),
the less so the more errors (or matches, where those are fewer) were seen. Executions are chosen independently, so
parts of them (a version, a label, a day) are estimated as if they were all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

Method = Literal["wilson", "hajek", "doubly_robust", "stratified", "none"]

_SEEN_ENOUGH = 5.0  # errors of equal weight, from which the linearised variance weighs more than Kish's
_CHECKS_FOR_REGRESSION = 20


class Checked(NamedTuple):
    """An execution that was chosen with probability `pi` and compared with the right answer."""

    match: bool
    pi: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Population:
    """The executions that an estimate is about: how many could have been chosen, and how their confidences are
    spread over equal bins of [0, 1] (empty: not known)."""

    count: int
    confidence: tuple[int, ...] = ()

    @classmethod
    def of(cls, confidences: Iterable[float | None], bins: int = 20) -> Population:
        """From every execution's confidence."""
        counts, total = [0] * bins, 0
        for one in confidences:
            total += 1
            if one is not None:
                counts[_bin(one, bins)] += 1
        return cls(total, tuple(counts) if sum(counts) == total else ())


@dataclass(frozen=True, slots=True)
class Estimate:
    """The share of right answers: `value` and an interval that holds it with `confidence`; None of `n = 0`.

    `effective` is the number of checks chosen alike that would tell as much.
    """

    value: float | None
    low: float
    high: float
    n: int
    method: Method
    effective: float = 0.0
    confidence: float = 0.95

    def __str__(self) -> str:
        if self.value is None:
            return "unknown (nothing checked)"
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%}, {self.n} checked)"

    def as_dict(self) -> dict[str, Any]:
        """`value, low, high, n`, as every output has an accuracy."""
        return {
            "value": None if self.value is None else round(self.value, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "n": self.n,
        }

    def more(self, half: float = 0.02) -> int:
        """Checks like these that are still missing until the value is known to within `half` to either side."""
        if self.value is None:
            return math.ceil(intervals.needed(0.5, half, self.confidence))
        # Where everything matched so far, the next error is what the interval has to be ready for.
        rate = (self.value * self.effective + 1) / (self.effective + 2)
        missing = intervals.needed(rate, half, self.confidence) - self.effective
        if missing <= 0 or (self.high - self.low) / 2 <= half:
            return 0
        return math.ceil(missing * self.n / self.effective)

    def always(self) -> tuple[float, float]:
        """An interval for those who look again and again: it holds the value at all times at once, exactly for
        checks chosen alike, else as far as the effective number is right."""
        successes = (self.value or 0.0) * self.effective
        return intervals.always(successes, self.effective, self.confidence)


NOTHING = Estimate(None, 0.0, 1.0, 0, "none")


def accuracy(
    checked: Iterable[Checked],
    population: Population | None = None,
    *,
    method: Method | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The accuracy of the executions that `checked` were chosen from: of exactly those of `population`, or without
    one, of whatever they are drawn from.

    The method is the one that fits unless it is given. What was chosen and not yet checked is taken to be as right
    as the rest.
    """
    rows = [row for row in checked if row.pi > 0]
    if not rows:
        return NOTHING
    sample = _Sample(rows, population)
    if method is None:
        method = "wilson" if sample.is_plain else "doubly_robust" if sample.can_regress else "hajek"
    variance, value = sample.hajek()
    if method == "doubly_robust" and sample.can_regress:
        variance, value = sample.doubly_robust()
    elif method == "doubly_robust":
        method = "hajek"
    return _estimate(sample, value, variance, method, confidence)


def stratified(
    strata: Mapping[Hashable, tuple[Iterable[Checked], Population]], *, confidence: float = 0.95
) -> Estimate:
    """The accuracy over strata of known sizes. A stratum without a check is taken to be like the others."""
    parts = [(_Sample(rows, size), size.count) for checked, size in strata.values() if (rows := list(checked))]
    if not parts:
        return NOTHING
    total = sum(count for _, count in parts)
    value = sum(sample.rate * count for sample, count in parts) / total
    variance = sum(sample.hajek()[0] * (count / total) ** 2 for sample, count in parts)
    # Each check stands for its stratum's executions: as if it had been chosen with the stratum's own rate.
    rows = [row._replace(pi=row.pi * sample.weight / count) for sample, count in parts for row in sample.rows]
    whole = _Sample(rows, Population(total))
    return _estimate(whole, value, variance, "stratified", confidence)


def by(
    rows: Iterable[Any], key: Callable[[Any], Hashable], checked: Callable[[Any], Checked]
) -> dict[Hashable, list[Checked]]:
    """Checks by what `key` says of each row: its version, label or day."""
    found: dict[Hashable, list[Checked]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(checked(row))
    return found


class _Sample:
    """Checks with their weights, and the two variances of their mean."""

    def __init__(self, rows: Sequence[Checked], population: Population | None) -> None:
        self.rows = rows
        self.n = len(rows)
        self.population = population
        self.weights = [1 / row.pi for row in rows]
        self.weight = math.fsum(self.weights)
        self.rate = math.fsum(w for w, row in zip(self.weights, rows, strict=True) if row.match) / self.weight
        # Of executions that are all known, what was checked is known without error: the factor 1 - pi.
        finite = population is not None
        self.squares = [w * w * (1 - row.pi if finite else 1.0) for w, row in zip(self.weights, rows, strict=True)]

    @property
    def is_plain(self) -> bool:
        return max(self.weights) <= min(self.weights) * 1.001

    @property
    def can_regress(self) -> bool:
        """Whether the confidences of all executions are known, and enough checks to learn what they tell."""
        spread = self.population.confidence if self.population else ()
        known = self.population is not None and 0 < sum(spread) == self.population.count
        return known and self.n >= _CHECKS_FOR_REGRESSION and all(row.confidence is not None for row in self.rows)

    @property
    def kish(self) -> float:
        """The effective number that the weights alone leave, were matches independent of them."""
        squares = math.fsum(self.squares)
        return self.weight**2 / squares if squares > 0 else math.inf

    @property
    def degrees(self) -> float:
        return max(1.0, self.weight**2 / math.fsum(w * w for w in self.weights) - 1)

    @property
    def fewer(self) -> float:
        """The effective number of errors, or of matches where those are fewer."""
        found = []
        for outcome in (True, False):
            weights = [w for w, row in zip(self.weights, self.rows, strict=True) if row.match is outcome]
            found.append(math.fsum(weights) ** 2 / math.fsum(w * w for w in weights) if weights else 0.0)
        return min(found)

    def hajek(self) -> tuple[float, float]:
        """The linearised variance, and the value."""
        leverages = [w / self.weight for w in self.weights]
        return self._variance([row.match - self.rate for row in self.rows], leverages), self.rate

    def doubly_robust(self) -> tuple[float, float]:
        """The same with the confidences' part of the matches replaced by that of all executions."""
        assert self.population is not None
        spread = self.population.confidence
        bins = len(spread)
        middles = [(_bin(row.confidence or 0.0, bins) + 0.5) / bins for row in self.rows]
        everywhere = sum(count * (at + 0.5) / bins for at, count in enumerate(spread)) / sum(spread)
        mean = math.fsum(w * x for w, x in zip(self.weights, middles, strict=True)) / self.weight
        errors = [row.match - self.rate for row in self.rows]
        apart = [x - mean for x in middles]
        below = math.fsum(q * x * x for q, x in zip(self.squares, apart, strict=True))
        if below <= 1e-12 * math.fsum(self.squares):
            return self.hajek()
        slope = math.fsum(q * x * e for q, x, e in zip(self.squares, apart, errors, strict=True)) / below
        value = self.rate + slope * (everywhere - mean)
        left = [e - slope * x for e, x in zip(errors, apart, strict=True)]
        leverages = [
            w / self.weight + q * x * x / below for w, q, x in zip(self.weights, self.squares, apart, strict=True)
        ]
        return self._variance(left, leverages), min(1.0, max(0.0, value))

    def _variance(self, residuals: Sequence[float], leverages: Sequence[float]) -> float:
        """Residuals are as if each were left out of what they are residuals of (HC3, MacKinnon and White 1985):
        a check of much weight draws the fit to itself."""
        total = math.fsum(
            q * (e / max(0.1, 1 - h)) ** 2 for q, e, h in zip(self.squares, residuals, leverages, strict=True)
        )
        return total / self.weight**2


def _estimate(sample: _Sample, value: float, variance: float, method: Method, confidence: float) -> Estimate:
    """The value with Wilson's interval for an effective number of checks."""
    kish = min(sample.kish, 1e12)
    spread = value * (1 - value)
    effective = kish
    if method != "wilson" and variance > 0 and spread > 0:
        linearised = spread / variance
        lean = _SEEN_ENOUGH / (sample.fewer + _SEEN_ENOUGH)
        effective = linearised if linearised < kish else 1 / (lean / kish + (1 - lean) / linearised)
    successes = value * effective
    if method == "wilson":
        low, high = intervals.wilson(successes, effective, confidence)
    else:
        low, high = intervals.wilson_t(successes, effective, sample.degrees, confidence)
    return Estimate(value, min(low, value), max(high, value), sample.n, method, effective, confidence)


def _bin(confidence: float, bins: int) -> int:
    return min(bins - 1, max(0, int(confidence * bins)))

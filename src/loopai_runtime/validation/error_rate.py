"""How often the oracle itself is wrong, and what that does to an accuracy that was measured with it.

A program that agrees with the oracle on a share A of executions is right on a share p of them. With q the
oracle's own accuracy, and errors of both independent of each other,

    A = p q + (1 - p) (1 - q) c

where c is how often two wrong answers to the same input are the same one: 1 for two labels,
and for K labels 1 / (K - 1) if wrong answers fall evenly on the others. Solved for p this is the estimator of
Rogan and Gladen (1978) with sensitivity q and specificity 1 - (1 - q) c. It takes the oracle's overall error,
not the matrix of its confusions: gold labels are seldom enough for K x K shares, and inverting such a matrix
makes more of their noise than it corrects.

The interval takes both shares' uncertainty: quantiles of p under the Jeffreys posteriors of A and q.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.intervals import wilson
from loopai_runtime.models import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

_DRAWS = 4000
_Z = 1.645  # one-sided, 95 %
_LEAST_INFORMATION = 0.02
"""An oracle must be right so much more often than it errs the same way, or nothing can be learned from it."""


class Share(NamedTuple):
    """A share of `n`, with its 95 % Wilson interval."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def share(count: int, n: int) -> Share | None:
    """None where there is nothing to count."""
    return Share(count / n, *wilson(count, n), n) if n else None


class OracleAudit(Record):
    """The oracle on gold labels: `right` of `n`; `oracle` is who was asked, `labels` how many different right
    answers the task has (None: any)."""

    oracle: str
    right: int
    n: int
    labels: int | None
    timestamp: str

    @property
    def accuracy(self) -> Share | None:
        return share(self.right, self.n)


def same_error(labels: int | None) -> float:
    """How often two wrong answers to one input are the same: c above. Texts of their own never are."""
    return 1 / (labels - 1) if labels is not None and labels > 1 else 0.0


def uncorrectable(agreed: float, n: float, audit: OracleAudit) -> str | None:
    """Why nothing can be said of the accuracy behind `agreed` of `n` comparisons; None where it can."""
    if not n or not audit.n:
        return "there is nothing to compare"
    q, agreement = (audit.right + 0.5) / (audit.n + 1), (agreed + 0.5) / (n + 1)
    if q - (1 - q) * same_error(audit.labels) < _LEAST_INFORMATION:
        return "the oracle is wrong too often on gold labels"
    error = math.sqrt(q * (1 - q) / audit.n + agreement * (1 - agreement) / n)
    if agreement - q > _Z * error:
        return "the program agrees with the oracle more often than that is right: both make the same mistakes"
    return None


def corrected(agreed: float, n: float, audit: OracleAudit, confidence: float = 0.95) -> Share | None:
    """The accuracy behind `agreed` of `n` comparisons, with its interval; None where it is `uncorrectable`.

    `n` of the answer is that of the comparisons.
    """
    if uncorrectable(agreed, n, audit) is not None:
        return None
    c = same_error(audit.labels)
    draw = random.Random(0)  # noqa: S311  a simulation; the same numbers give the same interval
    drawn = sorted(
        _solved(
            draw.betavariate(agreed + 0.5, n - agreed + 0.5),
            draw.betavariate(audit.right + 0.5, audit.n - audit.right + 0.5),
            c,
        )
        for _ in range(_DRAWS)
    )
    tail = round((1 - confidence) / 2 * _DRAWS)
    value = _solved(agreed / n, audit.right / audit.n, c)
    low, high = drawn[tail], drawn[-1 - tail]
    return Share(value, min(low, value), max(high, value), round(n))


def _solved(agreement: float, q: float, c: float) -> float:
    """p of the equation above, kept within [0, 1]."""
    by_chance = (1 - q) * c
    if q - by_chance < _LEAST_INFORMATION:
        return 1.0 if agreement >= by_chance else 0.0
    return min(1.0, max(0.0, (agreement - by_chance) / (q - by_chance)))


def label_count(output_schema: dict[str, Any], outputs: Iterable[Any]) -> int | None:
    """How many labels a task has, by its schema, else by what was seen where that is few; None for texts."""
    enum = output_schema.get("enum")
    if isinstance(enum, list):
        return len(enum)
    if output_schema.get("type") == "boolean":
        return 2
    seen = list(map(jsonl.canonical, outputs))
    distinct = len(set(seen))
    return distinct if 1 < distinct <= len(seen) / 5 else None

"""Taking the oracle's own errors out of what was measured with it: simulated, where the truth is known."""

from __future__ import annotations

import random

import pytest
from tests.bars import SOAK

from loopai_runtime.validation.error_rate import OracleAudit, corrected, label_count, share, uncorrectable


def audit(right: int, n: int, labels: int | None) -> OracleAudit:
    return OracleAudit(oracle="told", right=right, n=n, labels=labels, timestamp="2026-01-01T00:00:00Z")


def other(draw: random.Random, right: int, labels: int) -> int:
    return (right + draw.randrange(1, labels)) % labels


def measured(draw: random.Random, p: float, q: float, labels: int, n: int, gold: int) -> tuple[int, OracleAudit]:
    """A program right on a share p and an oracle right on a share q, compared on n inputs; the oracle on gold."""
    agreed = 0
    for _ in range(n):
        said = 0 if draw.random() < p else other(draw, 0, labels)
        oracle = 0 if draw.random() < q else other(draw, 0, labels)
        agreed += said == oracle
    return agreed, audit(sum(draw.random() < q for _ in range(gold)), gold, labels)


def coverage(p: float, q: float, labels: int, n: int, gold: int, replicas: int) -> tuple[float, float]:
    """How often the corrected interval holds the truth, and how often the plain one does."""
    draw = random.Random(1)
    held = plain = told = 0
    for _ in range(replicas):
        agreed, known = measured(draw, p, q, labels, n, gold)
        found, agreement = corrected(agreed, n, known), share(agreed, n)
        assert agreement is not None
        plain += agreement.low <= p <= agreement.high
        if found is not None:
            told += 1
            held += found.low <= p <= found.high
    assert told > 0.9 * replicas
    return held / told, plain / replicas


def test_the_corrected_interval_holds_the_truth_where_the_plain_one_does_not() -> None:
    held, plain = coverage(p=0.92, q=0.9, labels=2, n=400, gold=200, replicas=60)
    assert held >= 0.85
    assert plain <= 0.3


@pytest.mark.slow
@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize(("p", "q"), [(0.75, 0.8), (0.92, 0.9), (0.92, 0.97)])
@pytest.mark.parametrize(("n", "gold"), [(100, 60), (500, 200)])
def test_coverage(labels: int, p: float, q: float, n: int, gold: int) -> None:
    replicas = max(100, round(1000 * SOAK))
    held, _ = coverage(p, q, labels, n, gold, replicas)
    assert held >= 0.93 - 3 * (0.95 * 0.05 / replicas) ** 0.5


def test_a_perfect_oracle_changes_little() -> None:
    found = corrected(180, 200, audit(500, 500, 2))
    assert found is not None
    assert found.value == pytest.approx(0.9)
    plain = share(180, 200)
    assert plain is not None
    assert found.low == pytest.approx(plain.low, abs=0.02)


def test_where_nothing_can_be_said_it_says_why() -> None:
    assert "wrong too often" in (uncorrectable(60, 100, audit(50, 100, 2)) or "")
    assert "same mistakes" in (uncorrectable(100, 100, audit(80, 100, 2)) or "")
    assert uncorrectable(0, 0, audit(80, 100, 2)) is not None
    assert corrected(100, 100, audit(80, 100, 2)) is None
    assert uncorrectable(96, 100, audit(95, 100, 2)) is None  # by chance


def test_how_many_labels_a_task_has() -> None:
    assert label_count({"enum": ["a", "b", "c"]}, []) == 3
    assert label_count({"type": "boolean"}, []) == 2
    assert label_count({"type": "string"}, ["a", "b"] * 20) == 2
    assert label_count({"type": "string"}, map(str, range(40))) is None

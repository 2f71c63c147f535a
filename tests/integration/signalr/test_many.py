"""A push reaches a crowd."""

from __future__ import annotations

import statistics

import pytest
from tests.bars import SOAK, TIMED
from tests.bench.hub import run


@pytest.mark.slow
def test_two_thousand_clients_have_a_push_within_a_second() -> None:
    measured = run(clients=max(500, round(2000 * SOAK)), rounds=10)
    assert not TIMED or (statistics.median(measured.rounds) < 1 and measured.cpu_s < 0.4)
    assert measured.kb_per_client < 100

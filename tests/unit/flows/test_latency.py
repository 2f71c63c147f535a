"""What a busy machine adds to a program's latency is measured again; what the program takes stays."""

from __future__ import annotations

from loopai_runtime.flows.first_run import MEASURED_AGAIN, _latency


def test_a_call_that_waited_for_a_processor_is_measured_again_and_alone() -> None:
    asked: list[int] = []

    def again(at: int) -> float:
        asked.append(at)
        return 0.4

    found = _latency([0.2] * 50 + [37.0], 10.0, again)
    assert asked == [50]
    assert (found.p99, found.n) == (0.4, 51)


def test_a_program_that_is_slow_stays_so() -> None:
    asked: list[int] = []

    def again(at: int) -> float:
        asked.append(at)
        return 25.0

    found = _latency([20.0, 0.1, 30.0], 10.0, again)
    assert asked == [0, 2] * MEASURED_AGAIN
    assert found.p99 == 25.0


def test_a_share_below_the_percentile_is_not_measured_again() -> None:
    def again(_at: int) -> float:
        raise AssertionError

    assert _latency([0.1] * 199 + [50.0], 10.0, again).p99 == 0.1

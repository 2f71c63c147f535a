"""Rate limits: a second's worth at once, then the rate; callers apart; batches into debt."""

from loopai_runtime.http.limits import RateLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_caller_gets_a_seconds_worth_at_once_and_then_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(4, clock)
    assert [limit.take("a") for _ in range(4)] == [0.0] * 4
    assert limit.take("a") == 0.25
    assert limit.take("b") == 0.0
    clock.now += 0.25
    assert limit.take("a") == 0.0
    assert limit.take("a") == 0.25


def test_a_batch_may_run_into_debt_that_is_paid_off() -> None:
    clock = Clock()
    limit = RateLimit(10, clock)
    assert limit.take("a", 30) == 0.0
    assert limit.take("a") == 2.1
    clock.now += 2.2
    assert limit.take("a") == 0.0


def test_a_rate_below_one_lets_one_through_at_a_time() -> None:
    clock = Clock()
    limit = RateLimit(0.5, clock)
    assert limit.take("a") == 0.0
    assert limit.take("a") == 2.0

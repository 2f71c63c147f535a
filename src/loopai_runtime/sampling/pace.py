"""A daily budget of labels, spread over the traffic as it comes."""

from __future__ import annotations

import math

DAY_S = 86_400.0

_MEMORY_S = 3600.0  # over which the traffic's rate is measured
_START_S = 600.0  # what is assumed of it before weighs as much as ten minutes of it
_AIM = 0.9  # the last tenth of a budget pays for the floor below
_FLOOR = 0.1  # of the mean rate: with nothing checked, nothing would be known of the rest of the day


class Pace:
    """The rate at which `per_day` labels last until midnight (UTC).

    What is left of the budget is divided by the executions that are still to come, as the last hour had them. The
    budget is kept on average; the hard limit is where labels are bought.
    """

    def __init__(
        self,
        per_day: float,
        *,
        most: float,
        spent: int = 0,
        per_second: float | None = None,
        at: float | None = None,
    ) -> None:
        """`spent` labels of the budget are gone at `at`, with `per_second` executions a second so far."""
        self._per_day = per_day
        self._most = most
        self._spent = spent
        if per_second is None:  # so many that `most` is the right rate, until there has been some traffic
            per_second = per_day / most / DAY_S
        self._seen, self._seconds, self._last = per_second * _START_S, _START_S, at
        self._day = 0 if at is None else math.floor(at / DAY_S)
        self.now = min(most, per_day / DAY_S / (per_second + 1e-9))

    def rate(self, at: float) -> float:
        """The rate for an execution at `at`, which is counted as traffic from then on."""
        self._decide(at)
        self._seen += 1
        return self.now

    def spend(self) -> None:
        self._spent += 1

    def _decide(self, at: float) -> None:
        gap_s = at - self._last if self._last is not None else 0.0
        if gap_s >= 0:
            self._last = at
            kept = math.exp(-gap_s / _MEMORY_S)
            self._seen *= kept
            self._seconds = self._seconds * kept + _MEMORY_S * (1 - kept)
        day = math.floor(at / DAY_S)
        if day > self._day:
            self._spent = 0 if self._day else self._spent
            self._day = day
        per_second = self._seen / self._seconds + 1e-9
        left_s = max(60.0, (self._day + 1) * DAY_S - at)
        rate = (_AIM * self._per_day - self._spent) / (per_second * left_s)
        least = _FLOOR * self._per_day / (per_second * DAY_S)
        self.now = min(self._most, max(rate, least))


def labels_for(precision: float, accuracy: float, days: float, confidence_z: float = 1.96) -> float:
    """Labels a day so that after `days` the accuracy's interval is `precision` to either side."""
    accuracy = min(0.995, max(0.005, accuracy))
    return confidence_z**2 * accuracy * (1 - accuracy) / precision**2 / days

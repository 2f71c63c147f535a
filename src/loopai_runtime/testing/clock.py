"""Time that passes when a test says so."""

from __future__ import annotations


class ScriptedClock:
    """A clock that stands still until `advance`; call it for seconds since 1970."""

    def __init__(self, at: float = 1_750_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds

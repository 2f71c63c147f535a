"""A purse that counts, a server that answers, and the parts of an oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from loopai_runtime.errors import CapReached
from loopai_runtime.llm import Spent
from loopai_runtime.testing import ScriptedOracle

Handler = Callable[[Any], tuple[int, Any]]


class CountingPurse:
    """A purse with `cap` US dollars in it."""

    def __init__(self, cap: float = 1.0) -> None:
        self.cap = cap
        self.reserved: dict[str, float] = {}
        self.spent = 0.0
        self.calls = 0

    def reserve(self, most_usd: float, *, purpose: str, model: str) -> str:
        if self.spent + sum(self.reserved.values()) + most_usd > self.cap:
            raise CapReached("the cap is reached")
        self.calls += 1
        self.reserved[str(self.calls)] = most_usd
        return str(self.calls)

    def settle(self, reservation: str, spent: Spent | None) -> None:
        del self.reserved[reservation]
        self.spent += spent.usd if spent else 0.0


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], ScriptedOracle]]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(ScriptedOracle(answer))


@pytest.fixture
def purse() -> CountingPurse:
    return CountingPurse()

"""Calls at a fixed price, paid from the purse before they are made."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loopai_runtime.errors import OracleError
from loopai_runtime.llm import Spent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.llm import Purpose, Purse


class Fee:
    """`usd` for each call to `name`; nothing is asked of the purse where that is 0."""

    def __init__(self, purse: Purse, usd: float, *, purpose: Purpose, name: str) -> None:
        self._purse = purse
        self._usd = usd
        self._purpose: Purpose = purpose
        self._name = name

    @contextmanager
    def paid(self) -> Iterator[float]:
        """Around a call: what it costs; nothing where the other side cannot have done it. Raises CapReached."""
        if not self._usd:
            yield 0.0
            return
        reservation = self._purse.reserve(self._usd, purpose=self._purpose, model=self._name)
        started = time.monotonic()
        billed = True
        try:
            yield self._usd
        except OracleError as error:
            billed = error.billed
            raise
        finally:
            spent = Spent(self._name, 0, 0, self._usd, False, time.monotonic() - started)
            self._purse.settle(reservation, spent if billed else None)

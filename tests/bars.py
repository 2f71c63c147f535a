"""Bars on time. They are held where time is measured, by `.ci/soak` on a quiet machine; elsewhere a busy one decides."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SOAK = float(os.environ.get("LOOPAI_SOAK", "0.05"))
"""The share of the full counts that slow tests run."""
TIMED = SOAK >= 1
"""Whether bars on time are held."""

AT_FULL_SCALE = pytest.mark.skipif(not TIMED, reason="a large set, for LOOPAI_SOAK=1; smaller ones say the same")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is done in the block takes no longer, where bars are held; it is done in any case."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert not TIMED or took < seconds, f"{took:.2f} s"

"""What holds for every test."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

# A shell starts what runs in its background with SIGINT ignored, and a process that ignores it hands that on to all
# that it starts: the commands that tests interrupt would not hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start some thousand processes of ours. Without compiled files each would compile all of it, for a third of its
# time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No bar on the time of an example: a busy machine is no fault of a property. And every run tries the same ones; the
# soak looks for others.
settings.register_profile("explore", deadline=None)
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: half as many again as processors, since tests wait for processes, sockets and clocks as well."""
    return max(2, 3 * (os.cpu_count() or 1) // 2)

"""What holds for every test."""

from __future__ import annotations

import os
import signal

# A shell starts what runs in its background with SIGINT ignored, and a process that ignores it hands that on to all
# that it starts: the commands that tests interrupt would not hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start some thousand processes of ours. Without compiled files each would compile all of it, for a third of its
# time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

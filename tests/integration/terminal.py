"""A `loopai` on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Loopai


class Terminal:
    """Types and reads; `wait_for` drops what was shown up to the text that it waited for."""

    def __init__(self, loopai: Loopai, *args: object, **environment: str) -> None:
        self.master, slave = pty.openpty()
        known = {name: value for name, value in loopai.environment().items() if name != "CI"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loopai_runtime", *map(str, args)],
            stdin=slave, stdout=slave, stderr=slave, env=known | environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 180
        while text not in self.shown:
            assert select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0], self.shown
            try:
                self.shown += os.read(self.master, 4096).decode()
            except OSError:  # the other end is closed
                break
        assert text in self.shown, self.shown
        self.shown = self.shown.partition(text)[2]

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def rest(self) -> str:
        """All that is shown until the process ends."""
        try:
            while got := os.read(self.master, 4096):
                self.shown += got.decode()
        except OSError:  # the other end is closed
            pass
        return self.shown

    def close(self) -> None:
        os.close(self.master)

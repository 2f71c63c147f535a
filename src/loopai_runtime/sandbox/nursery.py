"""The front's side of the template: starts it, orders executors from it, learns how they ended."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from loopai_runtime.errors import ConfigError, Fault
from loopai_runtime.sandbox.protocol import ORDER, REPORT, Order, Report

if TYPE_CHECKING:
    from loopai_runtime.sandbox.reactor import Loop

CPU_SECONDS = 3600
"""CPU time that the kernel allows one executor over its life; the pool replaces it long before."""
_BOOT = (
    "import sys; sys.path += sys.argv[2:]; "
    "from loopai_runtime.sandbox.template import main; main(int(sys.argv[1]))"
)
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Exit:
    """How an executor ended: its wait status, and what it used in its whole life."""

    status: int
    peak_kb: int
    cpu_ms: float

    @property
    def signal(self) -> int:
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0

    def __str__(self) -> str:
        if self.signal:
            return f"killed by signal {self.signal}"
        return f"ended with exit status {os.waitstatus_to_exitcode(self.status)}"


Ended = Callable[[Exit | None], None]
"""Told once how an executor ended; None if that could not be learned, as the template died itself."""


class Births(Protocol):
    """Where the pool gets executors from; tests have one that gives it liars."""

    last_words: str

    def spawn(self, walls: int, ceiling_mb: int, ended: Ended) -> tuple[int, socket.socket]:
        """Order an executor; answers its number and the front's end of its socket."""
        ...

    def kill(self, executor: int) -> None:
        """Order an executor's death."""
        ...

    def forget(self, executor: int) -> None:
        """Do not report how this one ended."""
        ...


class Nursery:
    """One template process and its children. A template that dies takes them along and is started again."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._numbers = itertools.count(1)
        self._children: dict[int, Ended] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._inbox = b""
        self.last_words = ""
        """What the last template that died wrote before it did."""

    def start(self) -> None:
        """Start the template; it may be given orders at once, and follows them when it is ready."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, str(theirs.fileno()), *_import_path()],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # a Ctrl-C in the terminal is the front's business
            )
        ours.setblocking(False)
        self._control = ours
        self._loop.add_reader(ours.fileno(), self._readable)

    def spawn(self, walls: int, ceiling_mb: int, ended: Ended) -> tuple[int, socket.socket]:
        if self._control is None:
            self.start()
        executor = next(self._numbers)
        self._children[executor] = ended
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._order(Order.FORK, executor, walls, ceiling_mb, theirs)
        return executor, ours

    def kill(self, executor: int) -> None:
        self._order(Order.KILL, executor)

    def forget(self, executor: int) -> None:
        self._children.pop(executor, None)

    def close(self) -> None:
        """End the template and with it all executors; nobody is told."""
        self._children.clear()
        self._disconnect()
        self._bury()

    def _bury(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stderr is None:
            return
        deadline = time.monotonic() + _STOP_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        if process.poll() is None:
            process.kill()
        process.wait()
        with process.stderr as words:
            os.set_blocking(words.fileno(), False)  # a child may still hold the other end
            self.last_words = (words.read() or b"").decode("utf-8", "replace").strip()

    def _order(
        self, kind: Order, executor: int, walls: int = 0, ceiling_mb: int = 0, sent: socket.socket | None = None
    ) -> None:
        """Orders are few and small: a socket buffer takes thousands. A failure means that the template died."""
        if self._control is None:
            return
        message = ORDER.pack(kind, walls, executor, ceiling_mb, CPU_SECONDS, 0, 0)
        with contextlib.suppress(OSError):  # the reader learns of it
            if sent is None:
                self._control.send(message)
            else:
                socket.send_fds(self._control, [message], [sent.fileno()])

    def _readable(self) -> None:
        if self._control is None:
            return
        try:
            data = self._control.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._inbox += data
        while len(self._inbox) >= REPORT.size:
            kind, executor, first, peak_kb, user, system = REPORT.unpack_from(self._inbox)
            self._inbox = self._inbox[REPORT.size :]
            ended = self._children.pop(executor, None) if kind == Report.EXITED else None
            if ended is not None:
                ended(Exit(first, peak_kb, (user + system) / 1000))

    def _lost(self) -> None:
        self._disconnect()
        self._bury()
        self._inbox = b""
        children, self._children = self._children, {}
        for ended in children.values():
            ended(None)

    def _disconnect(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            self._loop.remove_reader(control.fileno())
            control.close()


def _import_path() -> list[str]:
    """The two directories the template imports from, after the standard library: this package's, the policy's."""
    ours = Path(__file__).resolve().parents[2]
    spec = importlib.util.find_spec("RestrictedPython")
    if spec is None or spec.origin is None:
        raise ConfigError(
            [Fault("RestrictedPython is not installed")], hint="pip install 'RestrictedPython>=9.0,<10'"
        )
    theirs = Path(spec.origin).resolve().parents[1]
    return [str(ours)] if ours == theirs else [str(ours), str(theirs)]

"""Commands in processes of their own that need not import everything again: forked from one that has.

Each is a real process with its own files, environment and exit code; only `python -m loopai_runtime` is not typed anew.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NoReturn, Self

alone = False
"""Whether each command is an interpreter of its own, as users have it: where its memory or its start is measured."""


def start(
    args: Sequence[str], environment: Mapping[str, str], before: str = ""
) -> Started | subprocess.Popen[bytes]:
    """A command that runs; `before` is Python that its process runs first."""
    if not alone:
        return Started(args, environment, before)
    code = (
        f"{before}\nimport sys\nfrom loopai_runtime.cli.main import run_line\nsys.exit(run_line({list(args)!r}))"
    )
    piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], env=dict(environment), **piped)


class Started:
    """A command that runs, with what tests use of `subprocess.Popen`: its three pipes, signals and exit code."""

    def __init__(self, args: Sequence[str], environment: Mapping[str, str], before: str = "") -> None:
        """`before` is Python that the process runs first."""
        self.args = list(args)
        context = _context()
        theirs, ours = zip(*(_pipe(context, writes=number > 0) for number in range(3)), strict=True)
        self._process = context.Process(
            target=_command, args=(self.args, dict(environment), str(Path.cwd()), before, theirs)
        )
        self._process.start()
        for end in theirs:
            end.close()
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(os.dup(end.fileno()), "rb" if number else "wb") for number, end in enumerate(ours)
        )
        for end in ours:
            end.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Negative: the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises TimeoutExpired."""
        self._process.join(timeout)
        if (code := self.returncode) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def communicate(self, given: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write to stdin, read the two others to their ends. Raises TimeoutExpired."""
        said: dict[io.BufferedReader, bytes] = {}
        readers = [
            threading.Thread(target=lambda pipe: said.update({pipe: pipe.read()}), args=(pipe,), daemon=True)
            for pipe in (self.stdout, self.stderr)
            if not pipe.closed
        ]
        for reader in readers:
            reader.start()
        with contextlib.suppress(BrokenPipeError, ValueError):  # it ended without reading; it is closed
            self.stdin.write(given)
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        return said.get(self.stdout, b""), said.get(self.stderr, b"")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """As Popen does: close the pipes and wait for the end."""
        for pipe in (self.stdout, self.stderr, self.stdin):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.wait()


def run(
    args: Sequence[str], environment: Mapping[str, str], stdin: bytes = b"", timeout_s: float = 300
) -> subprocess.CompletedProcess[bytes]:
    """A command from its start to its end, as `subprocess.run` does it. Raises TimeoutExpired."""
    started = Started(args, environment)
    try:
        out, err = started.communicate(stdin, timeout_s)
    except subprocess.TimeoutExpired:
        started.kill()
        raise
    return subprocess.CompletedProcess(started.args, started.wait(), out, err)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    return context


def _pipe(context: ForkServerContext, *, writes: bool) -> tuple[Connection, Connection]:
    """The command's end, which it reads or writes, and ours."""
    reads, written = context.Pipe(duplex=False)
    return (written, reads) if writes else (reads, written)


def _command(
    args: list[str], environment: dict[str, str], cwd: str, before: str, ends: tuple[Connection, ...]
) -> NoReturn:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number, inheritable=True)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.argv = ["loopai", *args]
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        for number in range(3)
    )
    exec(before, {"__name__": "before"})
    from loopai_runtime.cli.main import run_line

    try:
        code = run_line(args)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

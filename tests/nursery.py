"""Commands in processes of their own that need not import everything again: forked from one that has.

Each is a real process with its own files, environment and exit code; only `python -m loopai_runtime` is not typed anew.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NoReturn

PRELOADED = [
    *("loopai_runtime.cli.main", "loopai_runtime.flows.versions", "loopai_runtime.flows.execute"),
    *("loopai_runtime.flows.analysis", "loopai_runtime.datasets.stats", "rich.table", "rich.console"),
    __name__,
]
"""Nothing here starts a thread: a process that has some must not be forked."""


def run(
    args: Sequence[str], stdin: bytes, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, bytes, bytes]:
    """Exit code (negative: the signal that ended it), stdout, stderr. Raises TimeoutError."""
    with tempfile.TemporaryDirectory(prefix="loopai-test-") as place:
        files = [Path(place) / name for name in ("in", "out", "err")]
        files[0].write_bytes(stdin)
        process = _context().Process(target=_command, args=(list(args), dict(environment), Path.cwd(), files))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"loopai {' '.join(args)} took longer than {timeout_s:.0f} s")
        return process.exitcode, files[1].read_bytes(), files[2].read_bytes()


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _command(args: list[str], environment: dict[str, str], cwd: Path, files: list[Path]) -> NoReturn:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(files):
        descriptor = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number, inheritable=True)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        for number in range(3)
    )
    from loopai_runtime.cli.main import run_line

    try:
        code = run_line(args)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

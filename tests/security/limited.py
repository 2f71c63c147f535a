"""A process under an executor's limits and no other wall: `python -m tests.security.limited none|limits DEED`."""

from __future__ import annotations

import errno
import os
import resource
import sys
import tempfile

from loopai_runtime.sandbox import confine

FILE = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115


def fill() -> str:
    return f"filled {FILE.write(b'x' * 4096)}"


def fork() -> str:
    children = 0
    while children < 20:
        if os.fork() == 0:
            os._exit(0)
        children += 1
    return f"forked {children}"


def lift() -> str:
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    except ValueError:
        return "refused"
    return "raised"


def main(walls: str, deed: str) -> None:
    if walls == "limits":
        limits = confine.Limits(base_kb=1 << 20, ceiling_mb=256, cpu_seconds=10)
        confine.put_up(limits, parent=os.getppid(), cage=False, lenient=False)
    try:
        said = {"fill": fill, "fork": fork, "raise": lift}[deed]()
    except OSError as error:
        said = errno.errorcode[error.errno or 0]
    os.write(1, f"{said}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])

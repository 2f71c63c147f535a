"""The cage around one executor process: what the operating system still lets it do. Runs inside the sandbox.

Every wall is put up before a byte of a program arrives, and stands for the life of the process. A step that
fails is a CageError, and the executor ends: fail closed. Only `lenient` goes on without what a kernel lacks.
"""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.sandbox import kernel, landlock, seccomp

if TYPE_CHECKING:
    from collections.abc import Callable

_MIB = 1024 * 1024
KEPT = seccomp.DESCRIPTOR
"""The number of the one descriptor that an executor keeps."""


class CageError(Exception):
    """A wall could not be put up; the executor must not run."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel enforces on one executor, over its whole life."""

    base_kb: int
    ceiling_mb: int
    cpu_seconds: int


def keep_only(descriptor: int) -> int:
    """Move `descriptor` to its fixed number and close every other one."""
    if descriptor != KEPT:
        os.dup2(descriptor, KEPT, inheritable=False)
    os.closerange(0, KEPT)
    os.closerange(KEPT + 1, _highest_descriptor())
    return KEPT


def _highest_descriptor() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(soft, 1 << 20) if soft > 0 else 1 << 16


def put_up(limits: Limits, *, parent: int, cage: bool, lenient: bool) -> str:
    """Confine this process for ever; answers which walls are missing. Raises CageError where none may be."""
    missing: list[str] = []
    if cage:
        if kernel.IS_KNOWN:
            missing = _walls(parent, lenient)
        elif lenient:
            missing = ["seccomp", "landlock"]
        else:
            raise CageError(f"there is no cage for {os.uname().sysname} on {kernel.MACHINE}")
    _limit_resources(limits)
    if cage and kernel.IS_KNOWN:
        missing += _wall("seccomp", seccomp.put_up, lenient)
    return ", ".join(missing)


def _walls(parent: int, lenient: bool) -> list[str]:
    """All but the filter, which forbids what puts up the rest; answers what is missing."""
    return [
        *_wall("PR_SET_PDEATHSIG", lambda: _die_with(parent), lenient),
        *_wall("PR_SET_DUMPABLE", lambda: kernel.prctl(kernel.PR_SET_DUMPABLE, 0), lenient),
        *_wall("no_new_privs", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1), lenient),
        *_wall("landlock", landlock.put_up, lenient),
    ]


def _wall(name: str, put_up: Callable[[], object], lenient: bool) -> list[str]:
    try:
        put_up()
    except OSError as error:
        if not lenient:
            raise CageError(f"{name}: {error.strerror}") from None
        return [name]
    return []


def _die_with(parent: int) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that could be asked for
        os._exit(0)


def _limit_resources(limits: Limits) -> None:
    address_space = limits.base_kb * 1024 + limits.ceiling_mb * _MIB
    for name, value in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_NOFILE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_CPU", limits.cpu_seconds),
        ("RLIMIT_AS", address_space),
    ):
        number = getattr(resource, name, None)
        if number is None:
            continue
        _, hard = resource.getrlimit(number)
        value = value if hard < 0 else min(value, hard)
        resource.setrlimit(number, (value, value))

"""The system calls that a cage is built with, through ctypes: the C library has no names for most of them.

prctl(2), seccomp(2), landlock_create_ruleset(2). Runs inside the sandbox; `features` asks with it from outside.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from typing import Any

MACHINE = platform.machine()
IS_KNOWN = sys.platform == "linux" and sys.byteorder == "little" and MACHINE in ("x86_64", "aarch64")
"""Whether there is a cage for this system. The one for aarch64 is built from the kernel's tables and untested."""

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39

SECCOMP = {"x86_64": 317, "aarch64": 277}.get(MACHINE, -1)
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_RET_KILL_PROCESS = 0x80000000
SECCOMP_RET_ALLOW = 0x7FFF0000

LANDLOCK_CREATE_RULESET = 444  # the same on every architecture
LANDLOCK_RESTRICT_SELF = 446
LANDLOCK_VERSION = 1

_libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: Any) -> int:
    """One system call. Raises OSError."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *words))


def prctl(option: int, value: int = 0) -> int:
    """Raises OSError."""
    return _checked(_libc.prctl(option, *(ctypes.c_ulong(v) for v in (value, 0, 0, 0))))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno() or errno.EINVAL
        raise OSError(code, os.strerror(code))
    return result


def landlock_version() -> int:
    """The ABI of Landlock in this kernel. Raises OSError where there is none."""
    return call(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION)

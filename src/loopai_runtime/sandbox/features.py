"""What this kernel offers to build a cage from. Asks and changes nothing.

Landlock's version: landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION. Seccomp's strictest answer:
seccomp(2) with SECCOMP_GET_ACTION_AVAIL. `no_new_privs`: prctl(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from dataclasses import dataclass

_LANDLOCK_CREATE_RULESET = 444  # the same on every architecture
_LANDLOCK_VERSION = 1
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_GET_ACTION_AVAIL = 2
_SECCOMP_RET_KILL_PROCESS = 0x80000000
_PR_GET_NO_NEW_PRIVS = 39


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing the kernel offers: `found` says what, or is None; then `why` says what stands against it."""

    name: str
    found: str | None
    why: str = ""


def features() -> list[Feature]:
    """Each feature a cage is built from, on this machine."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _SECCOMP:
        why = f"{platform.system()} on {machine} has none; Linux on x86_64 or aarch64 has"
        return [Feature(name, None, why) for name in ("seccomp", "landlock", "no_new_privs")]
    return [_seccomp(_SECCOMP[machine]), _landlock(), _no_new_privs()]


def _seccomp(number: int) -> Feature:
    action = ctypes.c_uint32(_SECCOMP_RET_KILL_PROCESS)
    result = _libc().syscall(number, _SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(action))
    return Feature("seccomp", "with kill_process") if result == 0 else Feature("seccomp", None, _why("Linux 4.14"))


def _landlock() -> Feature:
    version = _libc().syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    return Feature("landlock", f"ABI {version}") if version > 0 else Feature("landlock", None, _why("Linux 5.13"))


def _no_new_privs() -> Feature:
    known = _libc().prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0
    return Feature("no_new_privs", "yes") if known else Feature("no_new_privs", None, _why("Linux 3.5"))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _why(since: str) -> str:
    """What the last refusal means, in words."""
    code = ctypes.get_errno()
    if code == errno.EOPNOTSUPP:
        return "switched off at boot; it belongs into the kernel's lsm= list"
    if code in (errno.EPERM, errno.EACCES):
        return "forbidden from outside, as by a container's own filter; allow it there"
    if code in (errno.ENOSYS, errno.EINVAL):
        return f"not in this kernel; {since} and newer have it, unless a container hides it"
    return os.strerror(code)

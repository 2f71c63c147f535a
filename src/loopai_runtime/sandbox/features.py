"""What this kernel offers to build a cage from. Asks and changes nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.sandbox import kernel

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing the kernel offers: `found` says what, or is None; then `why` says what stands against it."""

    name: str
    found: str | None
    why: str = ""


def features() -> list[Feature]:
    """Each feature a cage is built from, on this machine."""
    asked = {"seccomp": (_seccomp, "Linux 4.14"), "landlock": (_landlock, "Linux 5.13")}
    asked["no_new_privs"] = (_no_new_privs, "Linux 3.5")
    if not kernel.IS_KNOWN:
        why = f"{platform.system()} on {kernel.MACHINE} has none; Linux on x86_64 or aarch64 has"
        return [Feature(name, None, why) for name in asked]
    return [_ask(name, question, since) for name, (question, since) in asked.items()]


def _ask(name: str, question: Callable[[], str], since: str) -> Feature:
    try:
        return Feature(name, question())
    except OSError as error:
        return Feature(name, None, _why(error, since))


def _seccomp() -> str:
    action = ctypes.c_uint32(kernel.SECCOMP_RET_KILL_PROCESS)
    kernel.call(kernel.SECCOMP, kernel.SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(action))
    return "with kill_process"


def _landlock() -> str:
    return f"ABI {kernel.landlock_version()}"


def _no_new_privs() -> str:
    kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS)
    return "yes"


def _why(error: OSError, since: str) -> str:
    """What a refusal means, in words."""
    if error.errno == errno.EOPNOTSUPP:
        return "switched off at boot; it belongs into the kernel's lsm= list"
    if error.errno in (errno.EPERM, errno.EACCES):
        return "forbidden from outside, as by a container's own filter; allow it there"
    if error.errno in (errno.ENOSYS, errno.EINVAL):
        return f"not in this kernel; {since} and newer have it, unless a container hides it"
    return os.strerror(error.errno or 0)

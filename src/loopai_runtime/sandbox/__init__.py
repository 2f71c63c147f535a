"""The only place where a program runs: a language policy, a cage, and a pool of executors behind them.

Names are loaded when they are first used (PEP 562): the processes behind the walls import modules of this package,
and start in half the time without the pool.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopai_runtime.sandbox.pool import Pool, SyncPool, check, run_program
    from loopai_runtime.sandbox.records import Outcome, Program, ProgramFault

_RECORDS = ("Outcome", "Program", "ProgramFault")

__all__ = ["Outcome", "Pool", "Program", "ProgramFault", "SyncPool", "check", "run_program"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "records" if name in _RECORDS else "pool"
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value

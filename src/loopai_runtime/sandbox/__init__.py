"""The only place where a program runs: a language policy, a cage, and a pool of executors behind them."""

from loopai_runtime.sandbox.pool import Pool, SyncPool, check, run_program
from loopai_runtime.sandbox.records import Outcome, Program, ProgramFault

__all__ = ["Outcome", "Pool", "Program", "ProgramFault", "SyncPool", "check", "run_program"]

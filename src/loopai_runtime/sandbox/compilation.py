"""One executor that compiles one source and dies: a hostile source is parsed nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.errors import Fault, PolicyRefused
from loopai_runtime.sandbox import protocol
from loopai_runtime.sandbox.executor import Executor, Turn
from loopai_runtime.sandbox.protocol import Walls
from loopai_runtime.sandbox.records import Outcome, ProgramFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.sandbox.nursery import Births, Exit
    from loopai_runtime.sandbox.reactor import Loop

TIMEOUT_S = 20.0
MEMORY_MB = 2048


def to_bytes(source: str) -> bytes:
    """Raises PolicyRefused for what is no program text, whatever it says."""
    try:
        raw = source.encode("utf-8")
    except UnicodeEncodeError:
        raise PolicyRefused([Fault("the source holds a lone surrogate, which is not text")]) from None
    if len(raw) > protocol.MAX_SOURCE:
        raise PolicyRefused([Fault(f"the source is larger than {protocol.MAX_SOURCE} bytes")])
    return raw


class Compilation:
    """Under way from the moment it is made; `done` is called once, and `code` answers from then on."""

    def __init__(self, loop: Loop, births: Births, walls: int, source: bytes, done: Callable[[], None]) -> None:
        self._births = births
        self._done = done
        self._code: bytes | None = None
        self._faults: list[ProgramFault] = []
        self.is_over = False
        self._number, sock = births.spawn(walls, MEMORY_MB, self._ended)
        self._executor = Executor(self._number, sock, loop, self, protocol.MAX_OUTPUT)
        self._executor.compile(source, under_policy=bool(walls & Walls.POLICY), timeout_s=TIMEOUT_S)
        self._timer = loop.call_later(TIMEOUT_S, self._give_up, "it took too long to compile")

    @property
    def code(self) -> bytes:
        """Raises PolicyRefused with every fault that was found."""
        if self._code is None:
            raise PolicyRefused([Fault(fault.message, "program.py", fault.line) for fault in self._faults])
        return self._code

    def _finish(self, code: bytes | None, faults: list[ProgramFault]) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._code, self._faults = code, faults
        self._timer.cancel()
        self._executor.close()
        self._births.kill(self._number)
        self._done()

    def _give_up(self, reason: str) -> None:
        self._finish(None, [ProgramFault("PolicyRefused", reason)])

    def _ended(self, exit_: Exit | None) -> None:
        self._give_up(f"the compiler ended on it ({exit_ or 'lost'})")

    # -- executor.Events
    def ready(self, executor: Executor) -> None:
        """It has its order already."""

    def compiled(self, executor: Executor, code: bytes | None, faults: list[ProgramFault]) -> None:
        self._finish(code, faults)

    def loaded(self, executor: Executor, handle: int, fault: ProgramFault | None) -> None:
        self._give_up("the compiler broke the protocol")

    def answered(self, executor: Executor, turn: Turn, outcome: Outcome) -> None:
        self._give_up("the compiler broke the protocol")

    def failed(self, executor: Executor, reason: str) -> None:
        self._give_up(f"the compiler failed: {reason}")

    def closed(self, executor: Executor) -> None:
        """How it ended comes from the template."""

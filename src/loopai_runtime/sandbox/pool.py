"""The pool's face for synchronous callers: load programs, call them, one by one or many at once."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from loopai_runtime.errors import Fault, NotFound, PolicyRefused
from loopai_runtime.sandbox import protocol
from loopai_runtime.sandbox.executor import Executor, Job, Turn
from loopai_runtime.sandbox.nursery import Exit, Nursery
from loopai_runtime.sandbox.protocol import Entry as EntryCode
from loopai_runtime.sandbox.protocol import Walls
from loopai_runtime.sandbox.reactor import SmallLoop
from loopai_runtime.sandbox.records import Entry, Outcome, Program, ProgramFault, Require, Wall
from loopai_runtime.sandbox.scheduler import Scheduler, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

COMPILE_TIMEOUT_S = 20.0
COMPILE_MEMORY_MB = 2048
CEILING_MB = 4096
QUEUE_LIMIT = 10_000
_ENTRIES = {"score": EntryCode.SCORE, "run": EntryCode.RUN, "explain": EntryCode.EXPLAIN}
_AHEAD = 32  # calls a worker that `map` keeps under way


class SyncPool:
    """Executors for synchronous code; use it in a `with`. Each program is compiled in a process of its own."""

    def __init__(
        self, workers: int = 1, *, require: Require = "full", wall: Wall = "full", ceiling_mb: int = CEILING_MB
    ) -> None:
        self._walls = _walls(require, wall)
        self._loop = SmallLoop()
        self._nursery = Nursery(self._loop)
        settings = Settings(workers, 1, self._walls, ceiling_mb, QUEUE_LIMIT, protocol.MAX_OUTPUT)
        self._scheduler = Scheduler(self._loop, self._nursery, settings)
        self._jobs: dict[str, Job] = {}
        self._handles = 0

    def __enter__(self) -> Self:
        self._scheduler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scheduler.stop()
        self._nursery.close()
        self._loop.close()

    @property
    def missing(self) -> str:
        """The walls of the cage that this system lacks, where `require` lets the pool go on without them."""
        return self._scheduler.missing

    @property
    def restarts(self) -> int:
        """How many executors were replaced."""
        return self._scheduler.restarts

    def load(self, program: Program) -> None:
        """Compile a program and make it known under its key. Raises PolicyRefused, ConfigError."""
        code = self._compile(program.source)
        if known := self._jobs.pop(program.key, None):
            self._scheduler.remove(known.handle)
        self._handles += 1
        job = Job(
            self._handles,
            program.key,
            code,
            program.timeout_ms / 1000,
            program.memory_mb,
            program.max_output_bytes,
        )
        self._jobs[program.key] = job
        self._scheduler.add(job)

    def check(self, source: str) -> None:
        """Raises PolicyRefused with every fault if the language policy does not let `source` in."""
        self._compile(source)

    def call(self, key: str, value: Any, *, entry: Entry = "score") -> Outcome:
        """The outcome of one call. Raises NotFound for a key that was not loaded, Busy, ConfigError."""
        answers: list[Outcome] = []
        self._scheduler.submit(self._job(key), _ENTRIES[entry], _payload(value), answers.append)
        self._loop.run_until(lambda: bool(answers))
        return answers[0]

    def map(self, key: str, values: Iterable[Any], *, entry: Entry = "score") -> Iterator[Outcome]:
        """The outcomes of many calls in the order of `values`, which is read no further ahead than it must be."""
        job = self._job(key)
        under_way: deque[list[Outcome]] = deque()
        ahead = _AHEAD * max(1, self._scheduler.settings.workers)
        for value in values:
            answers: list[Outcome] = []
            self._scheduler.submit(job, _ENTRIES[entry], _payload(value), answers.append)
            under_way.append(answers)
            if len(under_way) >= ahead:
                yield self._next(under_way)
        while under_way:
            yield self._next(under_way)

    def _next(self, under_way: deque[list[Outcome]]) -> Outcome:
        first = under_way.popleft()
        self._loop.run_until(lambda: bool(first))
        return first[0]

    def _job(self, key: str) -> Job:
        if key not in self._jobs:
            raise NotFound(f"no program {key!r} is loaded")
        return self._jobs[key]

    def _compile(self, source: str) -> bytes:
        try:
            raw = source.encode("utf-8")
        except UnicodeEncodeError:
            raise PolicyRefused([Fault("the source holds a lone surrogate, which is not text")]) from None
        if len(raw) > protocol.MAX_SOURCE:
            raise PolicyRefused([Fault(f"the source is larger than {protocol.MAX_SOURCE} bytes")])
        return _Compilation(self._loop, self._nursery, self._walls).run(raw)


class _Compilation:
    """One executor that compiles one source and dies: a hostile source is parsed nowhere else."""

    def __init__(self, loop: SmallLoop, nursery: Nursery, walls: int) -> None:
        self._loop = loop
        self._nursery = nursery
        self._walls = walls
        self._code: bytes | None = None
        self._faults: list[ProgramFault] = []
        self._done = False

    def run(self, source: bytes) -> bytes:
        number, sock = self._nursery.spawn(self._walls, COMPILE_MEMORY_MB, self._ended)
        executor = Executor(number, sock, self._loop, self, protocol.MAX_OUTPUT)
        executor.compile(source, under_policy=bool(self._walls & Walls.POLICY), timeout_s=COMPILE_TIMEOUT_S)
        timer = self._loop.call_later(COMPILE_TIMEOUT_S, self._give_up, "it took too long to compile")
        self._loop.run_until(lambda: self._done)
        timer.cancel()
        executor.close()
        self._nursery.kill(number)
        if self._code is None:
            raise PolicyRefused([Fault(f.message, "program.py", f.line) for f in self._faults])
        return self._code

    def _give_up(self, reason: str) -> None:
        if not self._done:
            self._faults = [ProgramFault("PolicyRefused", reason)]
            self._done = True

    def _ended(self, exit_: Exit | None) -> None:
        self._give_up(f"the compiler ended on it ({exit_ or 'lost'})")

    # -- executor.Events
    def ready(self, executor: Executor) -> None:
        """It has its order already."""

    def compiled(self, executor: Executor, code: bytes | None, faults: list[ProgramFault]) -> None:
        self._code, self._faults, self._done = code, faults, True

    def loaded(self, executor: Executor, handle: int, fault: ProgramFault | None) -> None:
        self._give_up("the compiler broke the protocol")

    def answered(self, executor: Executor, turn: Turn, outcome: Outcome) -> None:
        self._give_up("the compiler broke the protocol")

    def failed(self, executor: Executor, reason: str) -> None:
        self._give_up(f"the compiler failed: {reason}")

    def closed(self, executor: Executor) -> None:
        """How it ended comes from the template."""


def _walls(require: Require, wall: Wall) -> int:
    """The bits of an order. The cage alone is never lenient: nothing else would stand."""
    bits = {"full": Walls.POLICY | Walls.CAGE, "policy": Walls.POLICY, "cage": Walls.CAGE}[wall]
    return bits | (Walls.LENIENT if require == "policy" and wall != "cage" else 0)


def _payload(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def check(source: str) -> None:
    """Raises PolicyRefused with every fault if the language policy does not let `source` in."""
    with SyncPool(workers=0) as pool:
        pool.check(source)


def run_program(
    source: str,
    value: Any,
    *,
    wall: Wall = "full",
    require: Require = "full",
    timeout_ms: int = 1000,
    memory_mb: int = 256,
) -> Outcome:
    """Run a loose program on one input behind the walls asked for; a refusal is an outcome too."""
    with SyncPool(workers=1, require=require, wall=wall, ceiling_mb=memory_mb) as pool:
        try:
            pool.load(Program("program", source, timeout_ms, memory_mb))
        except PolicyRefused as exc:
            fault = exc.faults[0] if exc.faults else Fault("refused")
            return Outcome(
                "error", error=ProgramFault("PolicyRefused", fault.message, fault.line), stopped_by="policy"
            )
        outcome = pool.call("program", value)
    if outcome.error is not None and outcome.error.type == "PolicyRefused":
        return Outcome("error", error=outcome.error, stopped_by="policy")
    return outcome

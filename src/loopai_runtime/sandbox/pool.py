"""The pool's two faces, for synchronous callers and for asyncio: load programs, call them, many at once."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Self, TypeVar

from loopai_runtime.errors import Fault, NotFound, PolicyRefused
from loopai_runtime.sandbox import protocol
from loopai_runtime.sandbox.compilation import Compilation, to_bytes
from loopai_runtime.sandbox.executor import Job
from loopai_runtime.sandbox.nursery import Nursery
from loopai_runtime.sandbox.protocol import Entry as EntryCode
from loopai_runtime.sandbox.protocol import Walls
from loopai_runtime.sandbox.reactor import SmallLoop
from loopai_runtime.sandbox.records import Entry, Outcome, Program, ProgramFault, Require, Wall
from loopai_runtime.sandbox.scheduler import Scheduler, Settings

if TYPE_CHECKING:
    import concurrent.futures
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from loopai_runtime.sandbox.reactor import Loop

T = TypeVar("T")

CEILING_MB = 4096
QUEUE_LIMIT = 10_000
_ENTRIES = {"score": EntryCode.SCORE, "run": EntryCode.RUN, "explain": EntryCode.EXPLAIN}
_AHEAD = 32  # calls a worker that `map` keeps under way


class _Face:
    """Programs by key, the scheduler, and the template behind it, on any loop."""

    def __init__(
        self,
        loop: Loop,
        workers: int,
        require: Require,
        wall: Wall,
        ceiling_mb: int,
        queue_limit: int,
        max_wait_ms: float = math.inf,
    ) -> None:
        self._walls = _walls(require, wall)
        self._births = Nursery(loop)
        settings = Settings(workers, 1, self._walls, ceiling_mb, queue_limit, protocol.MAX_OUTPUT, max_wait_ms)
        self._scheduler = Scheduler(loop, self._births, settings)
        self._jobs: dict[str, Job] = {}
        self._handles = 0

    @property
    def missing(self) -> str:
        """The walls of the cage that this system lacks, where `require` lets the pool go on without them."""
        return self._scheduler.missing

    @property
    def restarts(self) -> int:
        """How many executors were replaced."""
        return self._scheduler.restarts

    @property
    def waiting(self) -> int:
        """How many calls wait for an executor."""
        return len(self._scheduler.queue)

    @property
    def is_full(self) -> bool:
        """Whether a call would be refused now."""
        return self._scheduler.is_full

    def unload(self, key: str) -> None:
        """Forget a program; calls that are under way still get their answers."""
        if job := self._jobs.pop(key, None):
            self._scheduler.remove(job.handle)

    def _know(self, program: Program, code: bytes) -> None:
        self.unload(program.key)
        self._handles += 1
        limits = (program.timeout_ms / 1000, program.memory_mb, program.max_output_bytes)
        job = self._jobs[program.key] = Job(self._handles, program.key, code, *limits)
        self._scheduler.add(job)

    def _submit(self, key: str, payload: bytes, entry: Entry, done: Callable[[Outcome], None]) -> None:
        if key not in self._jobs:
            raise NotFound(f"no program {key!r} is loaded")
        self._scheduler.submit(self._jobs[key], _ENTRIES[entry], payload, done)

    def _stop(self) -> None:
        self._scheduler.stop()
        self._births.close()


class SyncPool(_Face):
    """Executors for synchronous code; use it in a `with`. Each program is compiled in a process of its own."""

    def __init__(
        self, workers: int = 1, *, require: Require = "full", wall: Wall = "full", ceiling_mb: int = CEILING_MB
    ) -> None:
        self._loop = SmallLoop()
        super().__init__(self._loop, workers, require, wall, ceiling_mb, QUEUE_LIMIT)

    def __enter__(self) -> Self:
        self._scheduler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._loop.close()

    def load(self, program: Program) -> None:
        """Compile a program and make it known under its key. Raises PolicyRefused, ConfigError."""
        self._know(program, self._compile(program.source))

    def check(self, source: str) -> None:
        """Raises PolicyRefused with every fault if the language policy does not let `source` in."""
        self._compile(source)

    def call(self, key: str, value: Any, *, entry: Entry = "score") -> Outcome:
        """The outcome of one call. Raises NotFound for a key that was not loaded, Busy, ConfigError."""
        answers: list[Outcome] = []
        self._submit(key, to_payload(value), entry, answers.append)
        self._loop.run_until(lambda: bool(answers))
        return answers[0]

    def map(self, key: str, values: Iterable[Any], *, entry: Entry = "score") -> Iterator[Outcome]:
        """The outcomes of many calls in the order of `values`, which is read no further ahead than it must be."""
        under_way: deque[list[Outcome]] = deque()
        ahead = _AHEAD * max(1, self._scheduler.settings.workers)
        for value in values:
            answers: list[Outcome] = []
            self._submit(key, to_payload(value), entry, answers.append)
            under_way.append(answers)
            if len(under_way) >= ahead:
                yield self._next(under_way)
        while under_way:
            yield self._next(under_way)

    def wait_for(self, future: concurrent.futures.Future[T]) -> T:
        """The result of something that another thread does; calls that are under way go on meanwhile."""
        if not future.done():
            awake: list[bytes] = []
            reading, writing = os.pipe()
            self._loop.add_reader(reading, lambda: awake.append(os.read(reading, 1)))
            future.add_done_callback(lambda _future: os.write(writing, b"\0"))
            self._loop.run_until(lambda: bool(awake))
            self._loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)
        return future.result()

    def _next(self, under_way: deque[list[Outcome]]) -> Outcome:
        first = under_way.popleft()
        self._loop.run_until(lambda: bool(first))
        return first[0]

    def _compile(self, source: str) -> bytes:
        compilation = Compilation(self._loop, self._births, self._walls, to_bytes(source), lambda: None)
        self._loop.run_until(lambda: compilation.is_over)
        return compilation.code


class Pool(_Face):
    """Executors for asyncio code; use it in an `async with`. Belongs to the loop that runs when it is made."""

    def __init__(
        self,
        workers: int = 1,
        *,
        require: Require = "full",
        wall: Wall = "full",
        ceiling_mb: int = CEILING_MB,
        queue_limit: int = QUEUE_LIMIT,
        max_wait_ms: float = math.inf,
    ) -> None:
        import asyncio  # here, as the synchronous face must not pay for it

        self._loop: AbstractEventLoop = asyncio.get_running_loop()
        super().__init__(self._loop, workers, require, wall, ceiling_mb, queue_limit, max_wait_ms)

    async def __aenter__(self) -> Self:
        self._scheduler.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    async def load(self, program: Program) -> None:
        """Compile a program and make it known under its key. Raises PolicyRefused, ConfigError."""
        over: Future[None] = self._loop.create_future()
        compilation = Compilation(
            self._loop,
            self._births,
            self._walls,
            to_bytes(program.source),
            lambda: None if over.done() else over.set_result(None),
        )
        await over
        self._know(program, compilation.code)

    def submit(self, key: str, payload: bytes, done: Callable[[Outcome], None], *, entry: Entry = "score") -> None:
        """Start a call with an input that is JSON already; `done` gets its outcome, once, from the event loop.

        Raises NotFound for a key that was not loaded, Busy when too many calls wait, ConfigError.
        """
        self._submit(key, payload, entry, done)

    async def call(self, key: str, value: Any, *, entry: Entry = "score") -> Outcome:
        """The outcome of one call. Raises as `submit` does."""
        answer: Future[Outcome] = self._loop.create_future()
        self._submit(key, to_payload(value), entry, lambda out: None if answer.done() else answer.set_result(out))
        return await answer


def _walls(require: Require, wall: Wall) -> int:
    """The bits of an order. The cage alone is never lenient: nothing else would stand."""
    bits = {"full": Walls.POLICY | Walls.CAGE, "policy": Walls.POLICY, "cage": Walls.CAGE}[wall]
    return bits | (Walls.LENIENT if require == "policy" and wall != "cage" else 0)


def to_payload(value: Any) -> bytes:
    """An input as executors read it. Raises ValueError for what is no JSON value."""
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

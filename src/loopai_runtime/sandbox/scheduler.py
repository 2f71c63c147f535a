"""The pool's core: which executor works on what, and what becomes of it when one hangs, crashes or lies.

It knows no asyncio: it is given a loop (see `reactor`) and answers through callbacks. Programs are pure, so a
request that an executor has not started can move to another at any time. `workers` executors serve and one more
stands in reserve, warm. An executor whose oldest request runs over 20 ms counts as slow: what waits behind it
moves, and the reserve takes its place. At the request's timeout it is killed and that request alone fails. When
an executor dies the request it was on is tried once more, elsewhere; the second time it is an error.
"""

from __future__ import annotations

import itertools
import logging
import math
import signal
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.errors import Busy, ConfigError, Fault
from loopai_runtime.sandbox.executor import Call, Executor, Job, Turn
from loopai_runtime.sandbox.records import Outcome, ProgramFault, StoppedBy

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.sandbox.nursery import Births, Exit
    from loopai_runtime.sandbox.reactor import Loop

log = logging.getLogger(__name__)

SLOW_S = 0.020
LOAD_TIMEOUT_S = 2.0
START_TIMEOUT_S = 20.0
GRACE_S = 1.0
"""How long the template may take to say how an executor ended."""
_TICK_S = 0.005
_PIPELINE_MS = 2.0
_PACKED_MS = 0.2  # work up to which one busy executor gets more rather than that another is woken
_PIPELINE_CALLS = 16
_ALWAYS_QUEUED = 4  # calls a worker that may wait however slow the programs are
_STEP = 1.02  # by which a median is followed: a stall of the machine moves it little, slow programs do soon
_MAX_QUEUED_BYTES = 256 * 1024 * 1024
_MAX_FAILED_STARTS = 3
_TRIES_WITHOUT_KNOWING = 4
_RETIRE_CPU_MS = 1_800_000.0
_PRELOADED = 32

_TIMEOUT = "timeout"
_GONE = "gone"


@dataclass(frozen=True, slots=True)
class Settings:
    """How many executors, behind which walls (bits of `protocol.Walls`), with how much room; calls that would wait
    longer than `max_wait_ms` are refused."""

    workers: int
    reserve: int
    walls: int
    ceiling_mb: int
    queue_limit: int
    max_output: int
    max_wait_ms: float = math.inf


class Scheduler:
    """Executors, the queue before them, and the programs they know."""

    def __init__(self, loop: Loop, births: Births, settings: Settings) -> None:
        self.loop = loop
        self.births = births
        self.settings = settings
        self.executors: dict[int, Executor] = {}
        self.jobs: dict[int, Job] = {}
        self.queue: deque[Call] = deque()
        self.restarts = 0
        self.missing = ""
        """The walls of the cage that executors go without."""
        self.broken: ConfigError | None = None
        """Set when executors do not start any more: then every call fails."""
        self._queued_bytes = 0
        self._turn_ms = 0.1  # how long a waiting call waits for each one ahead of it, as it was of late
        self._numbers = itertools.count(1)
        self._failed_starts = 0
        self._ticking = False
        self._stopped = False

    # -- for the faces --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Order the executors; `is_up` tells when one serves."""
        for _ in range(self._wanted):
            self._spawn()

    @property
    def is_up(self) -> bool:
        return self.broken is not None or any(executor.is_ready for executor in self.executors.values())

    @property
    def running(self) -> int:
        """Calls that an executor has."""
        return sum(turn.call is not None for executor in self.executors.values() for turn in executor.turns)

    def add(self, job: Job) -> None:
        """Make a compiled program known: to one executor at once, to the others when it has loaded well there."""
        self.jobs[job.handle] = job
        self._try(job)
        self._tick_soon()

    def _try(self, job: Job) -> None:
        """Load a program in the executor that has least to do: module-level code may be an endless loop."""
        able = [e for e in self.executors.values() if e.is_ready and not e.dying and not e.retiring]
        if able and not any(job.handle in executor.known for executor in able):
            min(able, key=lambda e: e.backlog_ms).load(job, LOAD_TIMEOUT_S)

    def remove(self, handle: int) -> None:
        self.jobs.pop(handle, None)
        for executor in self.executors.values():
            if not executor.dying:
                executor.forget(handle)

    def submit(self, job: Job, entry: int, payload: bytes, done: Callable[[Outcome], None]) -> None:
        """Queue a call; `done` gets its outcome. Raises Busy when the queue is full, ConfigError when broken."""
        if self.broken is not None:
            raise self.broken
        if self.is_full and not self._stopped:
            raise Busy(
                f"the sandbox is overloaded: {len(self.queue)} calls are waiting",
                hint="send less at once, or raise execution.worker_count",
            )
        self._queue(Call(next(self._numbers), job, entry, payload, done))
        self._dispatch()

    @property
    def is_full(self) -> bool:
        """Whether a call would be refused now."""
        waiting, settings = len(self.queue), self.settings
        if waiting >= settings.queue_limit or self._queued_bytes > _MAX_QUEUED_BYTES:
            return True
        workers = max(1, settings.workers)
        return waiting > _ALWAYS_QUEUED * workers and waiting * self._turn_ms > settings.max_wait_ms

    def stop(self) -> None:
        """Give up everything; calls that are not answered get an error."""
        self._stopped = True
        stopped = Outcome("error", error=ProgramFault("Stopped", "the sandbox was stopped"))
        pending = [*self.queue]
        for executor in self.executors.values():
            pending += [turn.call for turn in executor.turns if turn.call]
            executor.close()
        self.executors.clear()
        self.queue.clear()
        for call in pending:
            call.done(stopped)

    # -- handing out work -----------------------------------------------------------------------------------

    def _queue(self, call: Call, *, first: bool = False) -> None:
        self._queued_bytes += len(call.payload)
        if first:
            call.ahead = 0  # it has waited before, and says nothing of how fast the queue moves
            self.queue.appendleft(call)
        else:
            call.ahead, call.since = len(self.queue), self.loop.time()
            self.queue.append(call)

    def _dispatch(self) -> None:
        queue = self.queue
        while queue:
            executor = self._choose(queue[0].job)
            if executor is None:
                return
            call = queue.popleft()
            self._queued_bytes -= len(call.payload)
            if call.ahead:
                took_ms = (self.loop.time() - call.since) * 1000 / call.ahead
                self._turn_ms *= _STEP if took_ms > self._turn_ms else 1 / _STEP
            if call.job.handle not in executor.known:
                executor.load(call.job, LOAD_TIMEOUT_S)
            executor.call(call)
            self._tick_soon()

    def _choose(self, job: Job) -> Executor | None:
        """The executor that will come to a call of `job` first; None if all have enough to do."""
        best: Executor | None = None
        active, cost_ms = 0, job.cost_ms
        for executor in self.executors.values():
            if not executor.is_ready or executor.dying or executor.slow or executor.retiring:
                continue
            if executor.turns:
                active += 1
                work_ms = executor.backlog_ms + cost_ms
                calls = len(executor.turns)
                if calls > 1 and (work_ms > _PIPELINE_MS or calls >= _PIPELINE_CALLS):
                    continue  # one more than it is on, always: it is not to wait for us between two
                if work_ms <= _PACKED_MS and job.handle in executor.known:
                    return executor
            if best is None or _order(executor, job) < _order(best, job):
                best = executor
        if best is not None and not best.turns and active >= self.settings.workers:
            return None  # the reserve stays in reserve
        return best

    # -- what executors tell (executor.Events) ---------------------------------------------------------------

    def ready(self, executor: Executor) -> None:
        self._failed_starts = 0
        if executor.missing and not self.missing:
            log.warning("the sandbox goes on without %s, as sandbox.require is policy", executor.missing)
        self.missing = executor.missing
        for job in list(self.jobs.values())[-_PRELOADED:]:
            if job.preload:
                executor.load(job, LOAD_TIMEOUT_S)
            elif not job.tried:
                self._try(job)
        self._dispatch()

    def answered(self, executor: Executor, turn: Turn, outcome: Outcome) -> None:
        call = turn.call
        if outcome.stopped_by == "memory" or executor.cpu_ms > _RETIRE_CPU_MS:
            self._retire(executor)
        if executor.retiring and not executor.turns:
            self._doom(executor, "retired")
        if call is not None:
            call.job.took(outcome.wall_ms)
            call.done(outcome)
        self._dispatch()

    def loaded(self, executor: Executor, handle: int, fault: ProgramFault | None) -> None:
        if job := self.jobs.get(handle):
            if fault is None and not job.tried:
                for other in self.executors.values():
                    if other.is_ready and not other.dying and handle not in other.known:
                        other.load(job, LOAD_TIMEOUT_S)
            job.tried, job.preload = True, fault is None
        self._dispatch()

    def compiled(self, executor: Executor, code: bytes | None, faults: list[ProgramFault]) -> None:
        self.failed(executor, "it compiled what it was not asked to")

    def failed(self, executor: Executor, reason: str) -> None:
        self._doom(executor, reason)

    def closed(self, executor: Executor) -> None:
        self._doom(executor, _GONE)

    # -- executors' lives -----------------------------------------------------------------------------------

    @property
    def _wanted(self) -> int:
        return self.settings.workers + self.settings.reserve if self.settings.workers else 0

    def _spawn(self) -> None:
        ended: list[Executor] = []
        number, sock = self.births.spawn(
            self.settings.walls, self.settings.ceiling_mb, lambda exit_: self._ended(ended[0], exit_)
        )
        executor = Executor(number, sock, self.loop, self, self.settings.max_output)
        ended.append(executor)
        executor.started = self.loop.time()
        self.executors[number] = executor
        self._tick_soon()

    def _retire(self, executor: Executor) -> None:
        executor.retiring = True
        self._move_waiting(executor, keep_first=False)

    def _doom(self, executor: Executor, reason: str) -> None:
        """Order its death. What it was on is decided once it is known how it ended."""
        if executor.dying:
            return
        executor.dying = reason
        executor.died = self.loop.time()
        executor.close()
        self.births.kill(executor.number)
        self._move_waiting(executor, keep_first=True)
        self._tick_soon()
        self._dispatch()

    def _ended(self, executor: Executor, exit_: Exit | None) -> None:
        if self.executors.get(executor.number) is not executor:
            return
        while not executor.dying and executor.pump():
            """What it answered before it died counts."""
        self._doom(executor, _GONE)
        del self.executors[executor.number]
        self.births.forget(executor.number)
        if self._stopped:
            return
        self.restarts += executor.is_ready
        if executor.turns and executor.is_ready:
            self._judge(executor, exit_)
        if executor.is_ready:
            self._spawn()
        else:
            self._failed_start(executor, exit_)
        self._dispatch()

    def _failed_start(self, executor: Executor, exit_: Exit | None) -> None:
        """An executor that never served: try again, a few times, then say why the sandbox does not start."""
        self._failed_starts += 1
        if self._failed_starts < _MAX_FAILED_STARTS * self._wanted:
            self.loop.call_later(0.02 * self._failed_starts, self._respawn)
            return
        reason = executor.dying if executor.dying not in (None, _GONE) else f"its process {exit_ or 'was lost'}"
        said = f": {self.births.last_words}" if self.births.last_words else ""
        self.broken = ConfigError(
            [Fault(f"the sandbox does not start: {reason}{said}")],
            hint="loopai doctor shows which wall is missing; sandbox.require: policy goes on without the cage",
        )
        broken = Outcome("error", error=ProgramFault("SandboxBroken", str(self.broken)))
        while self.queue:
            self.queue.popleft().done(broken)

    def _respawn(self) -> None:
        if not self._stopped and self.broken is None and len(self.executors) < self._wanted:
            self._spawn()

    def _move_waiting(self, executor: Executor, *, keep_first: bool) -> None:
        """Put the calls that wait behind an executor's oldest turn back to the head of the queue."""
        waiting = list(itertools.islice(executor.turns, 1 if keep_first else 0, None))
        for turn in reversed(waiting):
            if turn.call is not None:
                self._queue(turn.call, first=True)
                turn.call = None

    def _judge(self, executor: Executor, exit_: Exit | None) -> None:
        """Decide on the call that a dead executor was on, or was loading for."""
        turn = executor.turns[0]
        job = self.jobs.get(turn.handle)
        call = turn.call or self._first_queued(turn.handle)
        if turn.call is None and job is not None:
            job.tried, job.preload = True, False
        if call is None:
            return
        if turn.call is None:
            self.queue.remove(call)
            self._queued_bytes -= len(call.payload)
        verdict = self._verdict(executor, call, exit_)
        if verdict is None:
            call.ends += 1
            self._queue(call, first=True)
        else:
            call.done(verdict)

    def _first_queued(self, handle: int) -> Call | None:
        return next((call for call in self.queue if call.job.handle == handle), None)

    def _verdict(self, executor: Executor, call: Call, exit_: Exit | None) -> Outcome | None:
        """The outcome of the call that its executor died on; None to try it once more."""
        wall_ms = (executor.died - executor.started) * 1000
        cpu_ms = max(0.0, exit_.cpu_ms - executor.cpu_ms) if exit_ else 0.0
        used = (wall_ms, cpu_ms, exit_.peak_kb if exit_ else executor.peak_kb)
        key = call.job.key

        def stopped(kind: str, message: str, by: StoppedBy | None) -> Outcome:
            log.warning("program %s: %s", key, message)
            return Outcome(
                "timeout" if by == "timeout" else "error", None, None, ProgramFault(kind, message), by, *used
            )

        if executor.dying == _TIMEOUT:
            return stopped("Timeout", f"did not answer within {call.job.timeout_s * 1000:g} ms", "timeout")
        if exit_ and exit_.signal == signal.SIGSYS:
            return stopped("Forbidden", "made a system call that the cage forbids", "cage")
        # Where nobody could say how it ended the template died and took all executors along: most likely not the
        # call's doing, and the next executor it went to may have died of the same.
        if call.ends < (_TRIES_WITHOUT_KNOWING if exit_ is None else 1):
            return None
        how = str(exit_ or "lost") if executor.dying == _GONE else str(executor.dying)
        killed = executor.dying == _GONE and exit_ is not None and exit_.signal == signal.SIGKILL
        hint = "; the kernel was most likely out of memory" if killed else ""
        return stopped(
            "Crash", f"ended its executor twice on one input ({how}){hint}", "memory" if killed else None
        )

    # -- time -----------------------------------------------------------------------------------------------

    def _tick_soon(self) -> None:
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """Look at every executor; as long as one has something to do, look again."""
        self._ticking = False
        if self._stopped:
            return
        for executor in list(self.executors.values()):
            self._look_at(executor)
        if any(e.turns or e.dying or not e.is_ready for e in self.executors.values()):
            self._tick_soon()

    def _look_at(self, executor: Executor) -> None:
        if executor.dying:
            if self.loop.time() - executor.died > GRACE_S:
                self._ended(executor, None)
            return
        if not self._late(executor):
            return
        for _ in range(4):  # the front may have been busy while answers arrived
            if not executor.pump():
                break
        if self._is_over(executor):
            return
        ran = self.loop.time() - executor.started
        if not executor.is_ready:
            if ran > START_TIMEOUT_S:
                self._doom(executor, f"it did not start within {START_TIMEOUT_S:g} s")
        elif ran > executor.turns[0].timeout_s:
            self._doom(executor, _TIMEOUT)
        elif not executor.slow:
            executor.slow = True
            self._move_waiting(executor, keep_first=True)
            self._dispatch()

    def _is_over(self, executor: Executor) -> bool:
        return bool(executor.dying) or not self._late(executor)

    def _late(self, executor: Executor) -> bool:
        if executor.is_ready and not executor.turns:
            return False
        limit = SLOW_S if not executor.turns else min(SLOW_S, executor.turns[0].timeout_s)
        return self.loop.time() - executor.started > limit


def _order(executor: Executor, job: Job) -> tuple[float, bool]:
    return executor.backlog_ms, job.handle not in executor.known

"""Deferring: what a program abstains on is put to the task's oracle, beside whatever else runs.

Threads of its own wait for the oracle, a bounded number of them, so that neither an event loop nor other requests
ever do. Whatever the oracle answers becomes a label of the task, even where the answer comes too late for the
request.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime.datasets import labels
from loopai_runtime.errors import LoopaiError, OracleError
from loopai_runtime.validation.oracle import Verdict

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact
    from loopai_runtime.validation.oracle import Answer, Oracle

log = logging.getLogger(__name__)

_BACKLOG = 16
"""Requests that wait for each of the oracle's calls at most; more would only wait in vain."""

_LATEST = 0.9  # of the time that a request waits at most


class _Job(NamedTuple):
    value: Any
    execution_id: str
    done: Callable[[Answer], None]
    latest: float  # time.monotonic; asked later, it would be paid for and come too late


class Deferral:
    """A task's oracle, as requests ask it. Safe to use from several threads; close it in the end."""

    def __init__(
        self, oracle: Oracle, layout: Layout, task_id: str, *, max_wait_s: float, concurrency: int
    ) -> None:
        self.max_wait_s = max_wait_s
        self.at_once = concurrency
        self._oracle = oracle
        self._layout = layout
        self._task_id = task_id
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._under_way = 0
        self._workers = 0

    def ask(self, value: Any, execution_id: str) -> Future[Answer]:
        """Put an input to the oracle, however many wait; the answer comes as that of the future, an error too."""
        future: Future[Answer] = Future()
        self._put(_Job(value, execution_id, future.set_result, float("inf")))
        return future

    def ask_from(
        self, loop: AbstractEventLoop, value: Any, execution_id: str, done: Callable[[Answer], None]
    ) -> None:
        """The same for an event loop, from which `done` is called once, after `max_wait_s` at the latest."""
        if self._under_way >= self.at_once * (_BACKLOG + 1):
            loop.call_soon(done, OracleError("too many inputs wait for the oracle"))
            return
        over = False

        def settle(answer: Answer) -> None:
            nonlocal over
            if not over:
                over = True
                timer.cancel()
                done(answer)

        def answered(answer: Answer) -> None:
            try:
                loop.call_soon_threadsafe(settle, answer)
            except RuntimeError:  # the loop has ended, and nobody waits any more
                return

        late = OracleError(f"no answer from the oracle within {self.max_wait_s:g} s")
        timer = loop.call_later(self.max_wait_s, settle, late)
        self._put(_Job(value, execution_id, answered, time.monotonic() + _LATEST * self.max_wait_s))

    def close(self) -> None:
        """End the threads once they have answered what they have begun with; nobody waits for them."""
        with self._lock:
            for _ in range(self._workers):
                self._jobs.put(None)
            self._workers = 0

    def _put(self, job: _Job) -> None:
        with self._lock:
            self._under_way += 1
            if self._workers < min(self._under_way, self.at_once):
                self._workers += 1
                # A daemon: an oracle that hangs must not keep the process from ending.
                threading.Thread(target=self._work, name=f"defer-{self._task_id}", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            answer = self._answer(job)
            with self._lock:
                self._under_way -= 1
            job.done(answer)

    def _answer(self, job: _Job) -> Answer:
        if time.monotonic() >= job.latest:
            return OracleError("waited too long for its turn at the oracle")
        try:
            answer = self._oracle.ask([job.value])[0]
        except Exception as error:  # a fault of ours must not end the thread
            log.exception("task %s: deferring", self._task_id)
            return OracleError(f"{type(error).__name__}: {error}")
        if isinstance(answer, Verdict):
            self._keep(job, answer)
        return answer

    def _keep(self, job: _Job, verdict: Verdict) -> None:
        known = labels.label(
            job.value, verdict.output, "oracle", execution_id=job.execution_id, oracle=self._oracle.name
        )
        try:
            labels.append(self._layout, self._task_id, [known])
        except LoopaiError as error:
            log.error("task %s: a label of the oracle is not kept: %s", self._task_id, error)


def deferral_of(
    artifact: ProgramArtifact, layout: Layout, config: Config, tell: Callable[[str], None]
) -> Deferral | None:
    """How a version's abstained inputs are put to its oracle; None where they are not.

    Nothing is raised: without its oracle a version still answers what it can, and `tell` hears why.
    """
    if artifact.abstain is None or artifact.abstain.on_abstain != "defer":
        return None
    from loopai_runtime.flows import oracles  # here, as nothing else that runs a program needs HTTP

    try:
        loaded = oracles.task_spec(layout, artifact)
        options = oracles.chosen(loaded, config)
        if options is None:
            tell(f"{artifact.task_id}: on_abstain is defer, and there is no oracle: abstained inputs get null")
            return None
        if options.kind == "human":  # nobody waits for a person; the input joins the queue
            return None
        wait_s = options.max_wait_s
        oracle = oracles.oracle_of(loaded, layout, config, purpose="defer", tell=tell, timeout_s=wait_s)
    except LoopaiError as error:
        tell(f"{artifact.task_id}: the oracle cannot be asked, abstained inputs get null: {error}")
        return None
    if oracle is None:
        return None
    return Deferral(oracle, layout, artifact.task_id, max_wait_s=wait_s, concurrency=options.concurrency)

"""Many tasks served from one event loop: choose the version -> run -> sample -> append -> answer.

An answer leaves only after its record is kept, as `storage.fsync` understands that. A version that does not load
leaves the one before it serving.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from loopai_runtime import jsonl, rollouts
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import Busy, LoopaiError, NotFound
from loopai_runtime.flows.defer import deferral_of
from loopai_runtime.flows.execute import Request, Result, Service
from loopai_runtime.flows.sample import sampling_of
from loopai_runtime.flows.trial import Trial, other_arm, side_of

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.datasets.live_log import LiveLog
    from loopai_runtime.datasets.shadow import Arm
    from loopai_runtime.flows.defer import Deferral
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact
    from loopai_runtime.rollouts import Rollout
    from loopai_runtime.sandbox import Outcome, Program
    from loopai_runtime.validation.oracle import Answer

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 512
"""What one event loop can answer within about 30 ms; more at once only makes all of them late."""

Answered = Callable[[Result | LoopaiError], None]
Watcher = Callable[[Result], None]
Blown = Callable[["Rollout", str], None]


class Programs(Protocol):
    """A sandbox pool, or a part of one, as `Traffic` uses it."""

    @property
    def is_full(self) -> bool: ...

    async def load(self, program: Program) -> None: ...

    def unload(self, key: str) -> None: ...

    def submit(self, key: str, payload: bytes, done: Callable[[Outcome], None]) -> None: ...


@dataclass(slots=True)
class Lane:
    """A task as it is served: the version that answers, and what stands against a newer one."""

    service: Service
    digest: str
    deferral: Deferral | None = None
    trouble: str | None = field(default=None)
    trial: Trial | None = field(default=None)
    """The rollout under way, if any."""
    other: Lane | None = field(default=None)
    """The version of the rollout that does not serve in its own right."""
    arm: Arm = "incumbent"
    """Which of the rollout's versions this one is."""

    @property
    def artifact(self) -> ProgramArtifact:
        return self.service.artifact

    def of(self, arm: Arm) -> Lane:
        return self if self.other is None or arm == self.arm else self.other

    def chosen(self, request: Request) -> tuple[Lane, Arm]:
        """Who answers a request. One that the candidate's schema refuses is for the incumbent."""
        arm = self.arm if self.trial is None else self.trial.arm_of(request)
        lane = self.of(arm)
        if arm == "candidate" and self.other is not None and not lane.service.accepts(request.input):
            return self.of("incumbent"), "incumbent"
        return lane, arm


class Traffic:
    """The tasks that are served, by id. `watch` hears of every execution, before its answer leaves; `blown` of a
    candidate that must not answer any more, and why.

    Without `defers` no oracle is asked, whatever a specification says.
    """

    def __init__(
        self,
        pool: Programs,
        kept: LiveLog,
        layout: Layout,
        config: Config,
        watch: Watcher = lambda _result: None,
        blown: Blown = lambda _rollout, _reason: None,
        *,
        defers: bool = True,
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        self.troubles: dict[str, str] = {}
        """Tasks that have an active version and cannot be served at all, and why."""
        self.in_flight = 0
        self.deferred = 0
        """Requests that wait for an oracle."""
        self._pool = pool
        self._log = kept
        self._layout = layout
        self._config = config
        self._deployment_id = layout.deployment_id(config)
        self._store = ArtifactStore(layout)
        self._watch = watch
        self._blown = blown
        self._one_at_a_time = asyncio.Lock()
        self._defers = defers

    def choose(self, task_id: str | None) -> str:
        """The task that a request is for: the one it names, else the default, else the only one."""
        if task_id is None:
            task_id = self._config.runtime.task_id
            if task_id is None and len(self.lanes) == 1:
                return next(iter(self.lanes))
        if task_id is None:
            raise NotFound(
                f"the request names no task_id, and {len(self.lanes)} tasks are served",
                hint=f"one of {', '.join(sorted(self.lanes))}" if self.lanes else "loopai generate SPEC makes one",
            )
        return task_id

    def lane(self, task_id: str) -> Lane:
        """Raises NotFound."""
        lane = self.lanes.get(task_id)
        if lane is None:
            why = self.troubles.get(task_id)
            raise NotFound(f"no task {task_id!r} is served here" + (f": {why}" if why else ""))
        return lane

    @property
    def is_full(self) -> bool:
        """Whether a request would be refused now, whatever it is."""
        return self.in_flight >= MAX_IN_FLIGHT or self._pool.is_full

    def submit(self, task_id: str, request: Request, answered: Answered) -> None:
        """Start an execution; `answered` is called once, from the loop, when its record is kept.

        Raises NotFound, InputError where the schema refuses the input, Busy when too many wait.
        """
        lane = self.lane(task_id)
        trial, arm = lane.trial, lane.arm
        if trial is not None:
            lane, arm = lane.chosen(request)
        service, deferral = lane.service, lane.deferral
        if self.is_full:
            raise Busy("too many requests are under way", hint="send less at once")
        service.check(request.input)
        payload = jsonl.encode(request.input)
        seen: dict[str, Any] = {}  # by the sender, before an oracle answered in the version's place

        def ran(outcome: Outcome) -> None:
            result = service.finish(request, outcome)
            if trial is not None and (record := result.record) is not None:
                record["rollout_id"], record["arm"] = trial.rollout_id, arm
                seen.update(side_of(result, outcome))
            if deferral is not None and result.abstained:
                self._defer(deferral, service, result, lambda answered: conclude(answered, outcome))
            else:
                conclude(result, outcome)

        def conclude(result: Result, outcome: Outcome) -> None:
            record = result.record or {}
            self._watch(result)

            def kept(error: LoopaiError | None) -> None:
                self.in_flight -= 1
                answered(error or result)
                if trial is not None:
                    trial.answered(arm, request, payload, seen, result)

            if result.abstained and (waiting := service.queued(result, outcome)) is not None:
                self._log.enqueue(task_id, jsonl.encode(waiting), lambda _error: None)
            self._log.append(task_id, record["timestamp"][:10], jsonl.encode(record), kept)

        self._pool.submit(service.key, payload, ran)
        self.in_flight += 1

    def _defer(
        self, deferral: Deferral, service: Service, result: Result, conclude: Callable[[Result], None]
    ) -> None:
        """Ask the oracle; meanwhile the request is under way, and takes nobody's place."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        record = result.record or {}
        self.in_flight -= 1
        self.deferred += 1

        def answered(answer: Answer) -> None:
            self.deferred -= 1
            self.in_flight += 1
            conclude(service.deferred(result, answer, (loop.time() - since) * 1000))

        deferral.ask_from(loop, record["input"], record["execution_id"], answered)

    async def refresh(self, task_id: str) -> None:
        """Serve what is active on disk now, and try what a rollout says beside it. Whatever goes wrong is in
        `troubles` and the log, never raised."""
        async with self._one_at_a_time:
            await self._refresh(task_id)

    async def _refresh(self, task_id: str) -> None:
        lane = self.lanes.get(task_id)
        try:
            active = self._store.active_version(task_id)
            if active is None:
                self.stop(task_id)
                return
            fresh = lane
            if lane is None or lane.artifact.version != active:
                fresh = self._known(lane, active) or await self._load(task_id, active)
                self.lanes[task_id] = fresh
                self.troubles.pop(task_id, None)
                log.info("serving %s", fresh.service.key)
            assert fresh is not None
            fresh.trouble = None
        except LoopaiError as error:
            self._keep_old(task_id, lane, str(error))
            return
        except Exception as error:
            self._keep_old(task_id, lane, f"{type(error).__name__}: {error}")
            return
        before = [] if lane is None else [lane, *([lane.other] if lane.other else [])]
        await self._try(fresh, before)
        for old in before:
            if old is not fresh and old is not fresh.other:
                self._unload(old)

    def _known(self, lane: Lane | None, version: int) -> Lane | None:
        """The rollout's other version, where it is the one that is meant."""
        other = lane.other if lane is not None else None
        return other if other is not None and other.artifact.version == version else None

    async def _load(self, task_id: str, version: int) -> Lane:
        """Raises LoopaiError where it does not load."""
        stored = self._store.read(f"{task_id}@{version}")
        # in a thread, as a budget is followed up in the day's log
        sampling = await asyncio.to_thread(sampling_of, stored.artifact, self._config, self._layout, log.warning)
        service = Service(stored.artifact, self._deployment_id, sampling)
        await self._pool.load(service.program(stored.code, self._config))
        return Lane(service, stored.digest, await self._deferral(stored.artifact))

    async def _try(self, lane: Lane, before: list[Lane]) -> None:
        """Set up, go on with or end the rollout of a lane's task, as its state says."""
        task_id, serving = lane.artifact.task_id, lane.artifact.version
        try:
            rollout = await asyncio.to_thread(rollouts.load, self._layout, task_id)
        except LoopaiError as error:
            log.warning("the rollout of %s: %s", task_id, error)
            rollout = None
        if rollout is None or not rollout.is_under_way or serving not in (rollout.candidate, rollout.incumbent):
            lane.trial = lane.other = None
            return
        if lane.trial is not None and lane.trial.rollout_id == rollout.rollout_id:
            lane.trial.stage = rollout.stage
            return
        version = rollout.incumbent if serving == rollout.candidate else rollout.candidate
        other = next((each for each in before if each.artifact.version == version), None)
        try:
            lane.other = other or await self._load(task_id, version)
        except LoopaiError as error:
            self._broken(rollout, f"v{version} does not load: {error}")
            return
        lane.other.trial = lane.other.other = None
        lane.arm = "candidate" if serving == rollout.candidate else "incumbent"
        artifacts = {lane.arm: lane.artifact, other_arm(lane.arm): lane.other.artifact}
        broken = partial(self._broken, rollout)
        at_once = max(1, self._config.execution.worker_count // 2)
        lane.trial = Trial(rollout, artifacts, self._pool.submit, self._has_room, broken, at_once=at_once)
        log.info("trying %s v%d beside v%d", task_id, rollout.candidate, rollout.incumbent)

    def _has_room(self) -> bool:
        """Whether a shadow may run now."""
        return not self._pool.is_full

    def _broken(self, rollout: Rollout, reason: str) -> None:
        log.warning("%s v%d must not answer any more: %s", rollout.task_id, rollout.candidate, reason)
        self._blown(rollout, reason)

    async def _deferral(self, artifact: ProgramArtifact) -> Deferral | None:
        if not self._defers:
            return None
        return await asyncio.to_thread(deferral_of, artifact, self._layout, self._config, log.warning)

    def _keep_old(self, task_id: str, lane: Lane | None, why: str) -> None:
        log.error("task %s: the active version does not load: %s", task_id, why)
        if lane is None:
            self.troubles[task_id] = why
        else:
            lane.trouble = why

    def stop(self, task_id: str) -> None:
        """Serve a task no longer, if it is served."""
        self.troubles.pop(task_id, None)
        if lane := self.lanes.pop(task_id, None):
            self._unload(lane)
            if lane.other is not None:
                self._unload(lane.other)
            log.info("no longer serving %s", lane.service.key)

    def _unload(self, lane: Lane) -> None:
        self._pool.unload(lane.service.key)
        if lane.deferral is not None:
            lane.deferral.close()

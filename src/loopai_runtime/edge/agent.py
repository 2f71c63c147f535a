"""The edge, assembled: pool, log, tasks and routes over one data directory, and what watches them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Self

from loopai_runtime.datasets import queue
from loopai_runtime.datasets.live_log import LiveLog
from loopai_runtime.edge import link
from loopai_runtime.edge.improvement_metrics import ImprovementMetrics
from loopai_runtime.edge.metrics import Metrics
from loopai_runtime.edge.pages import Pages
from loopai_runtime.edge.rollout_metrics import RolloutMetrics
from loopai_runtime.edge.routes import Door, Routes
from loopai_runtime.errors import LoopaiError, NotFound
from loopai_runtime.files import make_dir
from loopai_runtime.flows import oracles
from loopai_runtime.flows.serve import Traffic
from loopai_runtime.http.limits import RateLimit
from loopai_runtime.sandbox import Pool
from loopai_runtime.telemetry import state as telemetry

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from loopai_runtime.config import Config
    from loopai_runtime.edge.link import Link
    from loopai_runtime.layout import Layout
    from loopai_runtime.rollouts import Rollout

log = logging.getLogger(__name__)

QUEUE_LIMIT = 2000
MAX_WAIT_MS = 25.0
"""Requests that would wait longer for an executor are refused: late answers help nobody, and make others late."""
_DRAIN_S = 30.0


class Edge:
    """Everything that a running edge consists of; use it in an `async with` on the loop that serves."""

    def __init__(self, config: Config, layout: Layout, door: Door, only: str | None = None) -> None:
        queue.require_key(layout)  # now, and not with the first input that has to wait for a person
        self.config = config
        self.layout = layout
        self.pool = Pool(
            config.execution.worker_count,
            require=config.sandbox.require,
            queue_limit=QUEUE_LIMIT,
            max_wait_ms=MAX_WAIT_MS,
        )
        self.log = LiveLog(layout, fsync=config.storage.fsync, on_full=config.storage.on_full)
        self.metrics = Metrics()
        self.traffic = Traffic(self.pool, self.log, layout, config, self.metrics.watch, self._blown)
        on_disk = (RolloutMetrics(layout), ImprovementMetrics(layout))
        self.metrics.follow(self.traffic, self.pool, self.log, lambda: telemetry.load(layout), *on_disk)
        self.pages = Pages(self.traffic, self.metrics, self.log, layout, config)
        self.deployment_id = layout.deployment_id(config)
        rate = config.server.rate_limit
        self.routes = Routes(self.traffic, self.metrics, door, self.pages.app(), RateLimit(rate) if rate else None)
        self.link = self._tie(only)
        self._only = only
        self._watching: asyncio.Task[None] | None = None
        self._refreshing: set[asyncio.Task[None]] = set()

    def _tie(self, only: str | None) -> Link | None:
        """The link to the platform, where there is one."""
        if not link.wanted(self.config):
            return None
        from loopai_runtime.flows.follow import Follower  # here, as most edges have no platform

        made = link.Link(self.config, self, Follower(self.layout, self.config, only))
        self.metrics.link = made
        return made

    # --- what the link tells of its edge

    def status(self) -> str:
        """`ok`, `troubled` or `draining`."""
        if self.pages.draining:
            return "draining"
        troubled = self.traffic.troubles or any(lane.trouble for lane in self.traffic.lanes.values())
        return "troubled" if troubled or self.log.trouble else "ok"

    def versions(self) -> dict[str, int]:
        """The version that serves, by task."""
        return {task_id: lane.artifact.version for task_id, lane in self.traffic.lanes.items()}

    def recent(self) -> list[dict[str, Any]]:
        """What every version did since the last call."""
        return self.metrics.recent()

    # ---

    async def __aenter__(self) -> Self:
        """Raises NotFound where the one task that was asked for cannot be served, ConfigError, StorageError."""
        await self.pool.__aenter__()
        try:
            await self.refresh()
            if self._only is not None and self._only not in self.traffic.lanes:
                why = self.traffic.troubles.get(self._only, "it has no active version")
                raise NotFound(f"the task {self._only} cannot be served: {why}", hint="loopai versions shows them")
        except BaseException:
            await self.pool.__aexit__(None, None, None)
            raise
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while self.traffic.in_flight or self.traffic.deferred:
                    await asyncio.sleep(0.005)
        await self.pool.__aexit__(None, None, None)
        self.log.close()

    async def refresh(self) -> None:
        """Serve what is active on disk now."""
        found = [self._only] if self._only is not None else self.layout.tasks()
        for task_id in {*found, *self.traffic.lanes}:
            await self.traffic.refresh(task_id)

    def with_oracle(self) -> list[str]:
        """The served tasks that an oracle checks."""
        found = []
        for task_id, lane in sorted(self.traffic.lanes.items()):
            try:
                if oracles.chosen(oracles.task_spec(self.layout, lane.artifact), self.config) is not None:
                    found.append(task_id)
            except LoopaiError as error:
                log.warning("the oracle of %s: %s", task_id, error)
        return found

    def refresh_soon(self) -> None:
        """Start a `refresh` beside what runs."""
        self._beside(self.refresh())

    def _blown(self, rollout: Rollout, reason: str) -> None:
        """The candidate answers no more already; its rollout is over."""

        async def roll_back() -> None:
            from loopai_runtime.flows import roll_out  # here, as most edges try nothing

            ended = (self.layout, self.config, rollout.task_id, rollout.rollout_id, reason)
            try:
                await asyncio.to_thread(roll_out.roll_back, *ended)
            except LoopaiError as error:
                log.error("the rollout of %s is not over: %s", rollout.task_id, error)
            await self.traffic.refresh(rollout.task_id)

        self._beside(roll_back())

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def _watch(self) -> None:
        """Take up every change below `artifacts/` as it happens."""
        from watchfiles import awatch

        root = make_dir(self.layout.root / "artifacts")
        while True:
            try:
                async for _changes in awatch(root, debounce=200, step=20, rust_timeout=5000):
                    await self.refresh()
            except (OSError, RuntimeError) as error:  # the directory was removed, or there are no watches left
                log.warning("watching %s: %s; looking every second instead", root, error)
                await asyncio.sleep(1.0)
                await self.refresh()

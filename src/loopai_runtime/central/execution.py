"""Execution on the platform, for those who have no edge: one pool, and for each tenant its own traffic and log.

A tenant has a data directory of its own below `central/tenants/`, laid out as an edge's: the versions that serve
are unpacked there, executions logged. Programs are known to the pool by tenant, task and version, so equal names
never meet. Which version serves is the platform's to say: see `serving`. No oracle is asked: that is an edge's
business, and a tenant's specification may name any address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from loopai_runtime.central import serving
from loopai_runtime.central.share import Share
from loopai_runtime.datasets import raw
from loopai_runtime.datasets.live_log import LiveLog
from loopai_runtime.errors import LoopaiError, NotFound
from loopai_runtime.flows.answering import Answers
from loopai_runtime.flows.prune import prune
from loopai_runtime.flows.serve import Traffic
from loopai_runtime.http.problem import of_error, problem

if TYPE_CHECKING:
    from loopai_runtime.central.access import Caller
    from loopai_runtime.central.platform import Platform
    from loopai_runtime.flows.answering import Route
    from loopai_runtime.flows.execute import Result
    from loopai_runtime.http.problem import Response
    from loopai_runtime.layout import Layout

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0  # at most, for what another process has changed
_PRUNE_EVERY_S = 3600.0
_DRAIN_S = 30.0


@dataclass(slots=True)
class Tenant:
    """What is served for one tenant."""

    layout: Layout
    kept: LiveLog
    traffic: Traffic
    answers: Answers
    looked: dict[str, float] = field(default_factory=dict)
    """When it was last asked which version of a task serves."""
    looking: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class Execution:
    """Made on the loop that serves; tenants come in as they call."""

    def __init__(self, platform: Platform) -> None:
        self.executions: Counter[str] = Counter()
        """By status."""
        self._platform = platform
        self._tenants: dict[str, Tenant] = {}
        self._pruning: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._pruning = asyncio.create_task(self._prune_now_and_then())

    async def close(self) -> None:
        """Answer what is under way, and close the logs. Nothing new may come any more."""
        if self._pruning is not None:
            self._pruning.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while self.in_flight:
                    await asyncio.sleep(0.005)
        for tenant in self._tenants.values():
            tenant.kept.close()
        self._tenants.clear()

    @property
    def in_flight(self) -> int:
        return sum(tenant.traffic.in_flight for tenant in self._tenants.values())

    async def answer(self, route: Route, caller: Caller, content: bytes, key: bytes | None) -> Response:
        """The answer to a body that came on an execute route. Raises Refused for a bad Idempotency-Key."""
        task_id = route[0] or ""
        tenant = self._tenant(caller.tenant_id)
        try:
            await self._look(tenant, caller.tenant_id, task_id)
        except LoopaiError as error:
            return of_error(error)
        return await tenant.answers.answer(route, caller.key_id, content, key, partial(self._too_many, caller))

    async def refresh(self, tenant_id: str, task_id: str) -> None:
        """Serve what should serve now: a version came, went, or was chosen. Returns when that is done."""
        tenant = self._tenant(tenant_id)
        with contextlib.suppress(LoopaiError):
            if (before := tenant.looking.get(task_id)) is not None:  # it may have seen what was before
                await asyncio.wait([before])
            await asyncio.shield(self._looking(tenant, tenant_id, task_id))

    # ---

    def _tenant(self, tenant_id: str) -> Tenant:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            config = self._platform.config
            layout = self._platform.layout.tenant(tenant_id)
            kept = LiveLog(layout, fsync=config.storage.fsync, on_full=config.storage.on_full)
            share = Share(self._platform.pool, tenant_id, config.execution.worker_count)
            traffic = Traffic(share, kept, layout, config, self._watch, defers=False)
            tenant = Tenant(layout, kept, traffic, Answers(traffic))
            self._tenants[tenant_id] = tenant
        return tenant

    def _watch(self, result: Result) -> None:
        if result.record is not None:
            self.executions[result.record["status"]] += 1

    async def _look(self, tenant: Tenant, tenant_id: str, task_id: str) -> None:
        """See to it that the task is served. Who comes first waits; a change is taken up beside what serves.

        Raises NotFound where no version serves, and what stands against the one that should.
        """
        is_served = task_id in tenant.traffic.lanes
        if is_served and time.monotonic() - tenant.looked.get(task_id, -math.inf) < _LOOK_EVERY_S:
            return
        looking = self._looking(tenant, tenant_id, task_id)
        if not is_served:
            await asyncio.shield(looking)

    def _looking(self, tenant: Tenant, tenant_id: str, task_id: str) -> asyncio.Task[None]:
        """The look that is under way, or one that begins now."""
        looking = tenant.looking.get(task_id)
        if looking is None:
            looking = asyncio.create_task(self._take_up(tenant, tenant_id, task_id))
            tenant.looking[task_id] = looking
            looking.add_done_callback(lambda done: _forget(tenant, task_id, done))
        return looking

    async def _take_up(self, tenant: Tenant, tenant_id: str, task_id: str) -> None:
        """Raises NotFound, StorageError, TamperedArtifact."""
        platform = self._platform
        try:
            version = await platform.thread(serving.version_of, platform.db, tenant_id, task_id)
            place = (tenant.layout, tenant_id, task_id, version)
            await platform.thread(serving.unpack, platform.repository, *place)
        except NotFound:
            tenant.traffic.stop(task_id)
            tenant.looked.pop(task_id, None)
            raise
        await tenant.traffic.refresh(task_id)
        tenant.looked[task_id] = time.monotonic()

    def _too_many(self, caller: Caller, count: int) -> Response | None:
        wait_s = self._platform.limits.take(caller, count)
        if not wait_s:
            return None
        return problem(429, "rate", "more than this key may ask for", retry_after_s=math.ceil(wait_s))

    # ---

    async def _prune_now_and_then(self) -> None:
        """Retention of the tenants' logs, when a day has closed."""
        pruned = ""
        while True:
            if pruned != (closed := raw.closed_before()):
                pruned = closed
                await self._platform.thread(self._prune)
            await asyncio.sleep(_PRUNE_EVERY_S)

    def _prune(self) -> None:
        for layout in self._platform.layout.tenants():
            try:
                for step in prune(layout, self._platform.config):
                    if step.trouble:
                        log.warning("retention of %s: %s", layout.root.name, step.trouble)
            except LoopaiError as error:
                log.warning("retention of %s: %s", layout.root.name, error)


def _forget(tenant: Tenant, task_id: str, done: asyncio.Task[None]) -> None:
    tenant.looking.pop(task_id, None)
    if not done.cancelled() and (error := done.exception()) is not None:  # seen, where nobody waits for it
        log.info("execution of %s: %s", task_id, error)

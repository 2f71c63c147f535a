"""A running edge's tie to its platform: what is new there comes in, how it goes here is told.

Polling with ETags is the truth; the hub's news only says that it is time to look. Nothing here is on the way of a
request, and nothing of it ends the edge: without a platform, for a day or for ever, all goes on as it was.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from loopai_runtime.errors import LoopaiError
from loopai_runtime.models import RuntimeMode
from loopai_runtime.signalr.client import HubClient
from loopai_runtime.signalr.errors import HubException, SignalRError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopai_runtime.config import Config
    from loopai_runtime.flows.follow import Follower

log = logging.getLogger(__name__)

T = TypeVar("T")

HUB = "/hubs/loopai"
HEARTBEAT_S = 30.0
REPORT_S = 60.0
_ANSWER_S = 15.0
_JITTER = 0.2
_BETWEEN_POLLS_S = 1.0  # however much news there is


def wanted(config: Config) -> bool:
    """Whether there is a platform to tie to: its address and a key are set, and the edge runs its own programs."""
    has_platform = config.cloud.api_url is not None and config.cloud.api_key is not None
    return has_platform and config.runtime.mode is not RuntimeMode.CENTRAL


class State(Protocol):
    """What the link tells of its edge."""

    deployment_id: str

    def status(self) -> str:
        """`ok`, `troubled` or `draining`."""

    def versions(self) -> dict[str, int]:
        """The version that serves, by task."""

    def recent(self) -> list[dict[str, Any]]:
        """What every version did since the last call."""


class Link:
    """`run` it beside the server, for ever."""

    def __init__(self, config: Config, state: State, follower: Follower) -> None:
        self.last_poll = 0.0
        """When the platform last answered a poll, in Unix time; 0 before."""
        self.pulled = 0
        self._state = state
        self._follower = follower
        self._every_s = config.cloud.poll_interval_sec
        self._news = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._subscribed: set[str] = set()
        self._hub = self._client(config) if config.cloud.signalr_enabled else None

    def _client(self, config: Config) -> HubClient:
        key = config.cloud.api_key
        hub = HubClient(
            f"{config.cloud.api_url}{HUB}",
            token=key.get_secret_value() if key else None,
            on_connected=self._connected,
        )
        hub.on("OnNewArtifactAvailable", self._heard)
        hub.on("OnRolloutAbortRequested", self._asked)
        return hub

    @property
    def is_connected(self) -> bool:
        return self._hub is not None and self._hub.is_connected

    async def run(self) -> None:
        """Poll, listen, and tell, until cancelled."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            if self._hub is not None:
                await stack.enter_async_context(self._hub)
                group.create_task(self._now_and_then("heartbeat", HEARTBEAT_S, self._beat))
                group.create_task(self._now_and_then("metrics", REPORT_S, self._report))

    # --- in

    async def _poll(self) -> None:
        while True:
            await self._try("polling", self._look)
            await asyncio.sleep(_BETWEEN_POLLS_S)
            wait_s = self._every_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  spreads load, no secret
            try:
                async with asyncio.timeout(max(0.0, wait_s - _BETWEEN_POLLS_S)):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        self._news.clear()
        self.pulled += await _beside(self._follower.look)
        self.last_poll = time.time()
        await self._subscribe()

    def _heard(self, task_id: object, version: object) -> None:
        log.info("the platform says that %s v%s is there", str(task_id)[:64], str(version)[:10])
        self._news.set()

    def _asked(self, task_id: object, reason: object) -> None:
        log.info("the platform asks to abort a rollout of %s: %s", str(task_id)[:64], str(reason)[:200])
        self._news.set()

    async def _connected(self) -> None:
        """What was said while nobody listened is found by looking."""
        log.info("listening to the platform's hub")
        self._subscribed.clear()
        self._news.set()
        await self._try("heartbeat", self._beat)
        await self._try("subscribing", self._subscribe)

    async def _subscribe(self) -> None:
        """Hear of every task that is followed; a key of this deployment's own hears of its tasks anyway."""
        if self._hub is None or not self._hub.is_connected:
            return
        for task_id in set(self._follower.followed) - self._subscribed:
            try:
                await self._hub.invoke("SubscribeTask", task_id, timeout_s=_ANSWER_S)
            except HubException as error:
                log.debug("subscribing to %s: %s", task_id, error)  # polling says what is the matter
            self._subscribed.add(task_id)

    # --- out

    async def _beat(self) -> None:
        body = {"status": self._state.status(), "tasks": self._state.versions()}
        await self._say("Heartbeat", self._state.deployment_id, body)

    async def _report(self) -> None:
        if not self.is_connected:
            return
        for metrics in self._state.recent():
            await self._say("ReportMetrics", metrics)

    async def _say(self, method: str, *arguments: Any) -> None:
        if self._hub is not None and self._hub.is_connected:
            await self._hub.invoke(method, *arguments, timeout_s=_ANSWER_S)

    # --- going on

    async def _now_and_then(self, what: str, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self._try(what, work)

    async def _try(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do it; what stands against it is said once, until it is something else or nothing."""
        trouble = None
        try:
            await work()
        except (LoopaiError, HubException) as error:
            trouble = str(error)
        except (SignalRError, TimeoutError) as error:
            log.debug("%s: %s", what, error)  # the hub's client says so itself, and comes back
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
        if trouble is None:
            if self._troubles.pop(what, None):
                log.info("platform: %s works again", what)
        elif self._troubles.get(what) != trouble:
            self._troubles[what] = trouble
            log.warning("platform: %s: %s", what, trouble)


async def _beside(work: Callable[[], T]) -> T:
    """What `work` returns, from a thread that nobody waits for when the server ends."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            if not future.cancelled():
                future.set_exception(error)
        else:
            if not future.cancelled():
                future.set_result(result)

    threading.Thread(target=run, name="platform", daemon=True).start()
    return await asyncio.wrap_future(future)

"""The platform, assembled: database, artifacts, keys, pool, news and execution over one data directory."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from sqlalchemy import select

from loopai_runtime.central.access import Keys, Scope
from loopai_runtime.central.audit import PLATFORM
from loopai_runtime.central.blobs import blobs_of
from loopai_runtime.central.coordinator import Coordinator
from loopai_runtime.central.database import database_of
from loopai_runtime.central.db.tables import api_keys, tenants
from loopai_runtime.central.execution import Execution
from loopai_runtime.central.generation import Generations
from loopai_runtime.central.limits import CallerLimits
from loopai_runtime.central.metrics import latencies
from loopai_runtime.central.news import News
from loopai_runtime.central.repository import Repository
from loopai_runtime.central.upkeep import Upkeep
from loopai_runtime.files import make_dir, replace_file
from loopai_runtime.http.limits import RateLimit
from loopai_runtime.http.problem import Refused
from loopai_runtime.models import utc_now
from loopai_runtime.sandbox import Pool
from loopai_runtime.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from loopai_runtime.central.access import Caller
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

P = ParamSpec("P")
T = TypeVar("T")

FIRST_TENANT = "main"
_THREADS = 8
_PUBLISHED_AT_ONCE = 2
_GUESSES_A_SECOND = 20.0  # of one address: keys that are not valid
_QUEUE_LIMIT, _MAX_WAIT_MS = 2000, 50.0


class Platform:
    """Use it in an `async with` on the loop that serves."""

    def __init__(self, config: Config, layout: Layout) -> None:
        self.config = config
        self.layout = layout
        self.db = database_of(layout, config)
        self.keys = Keys(self.db)
        self.limits = CallerLimits()
        self.requests: Counter[int] = Counter()
        """By HTTP status."""
        self.latencies = latencies()
        self.records = 0
        """Of telemetry, taken since the start."""
        self.draining = False
        self._guesses = RateLimit(_GUESSES_A_SECOND)
        self.blobs = blobs_of(config.central.blobs, layout)
        self.publishing = asyncio.Semaphore(_PUBLISHED_AT_ONCE)
        """Judging a large program takes seconds: those who publish may not have all threads."""
        self.repository = Repository(self.db, self.blobs, Signer.of(layout), config)
        self.pool = Pool(
            config.execution.worker_count,
            require=config.sandbox.require,
            queue_limit=_QUEUE_LIMIT,
            max_wait_ms=_MAX_WAIT_MS,
        )
        self.news = News(self)
        self.execution = Execution(self)
        self.generations = Generations(self)
        self.coordinator = Coordinator(self)
        self.upkeep = Upkeep(self)
        self._threads = ThreadPoolExecutor(_THREADS, "platform")

    async def thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns, from a thread: nothing that waits for a disk may hold the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))

    async def caller_of(self, token: str, address: str) -> Caller | None:
        """Whose a key is; looked up only where it is not known of late.

        Raises Refused (429) where too many unknown ones came from an address.
        """
        if (caller := self.keys.known(token)) is not None:
            return caller
        if wait_s := self._guesses.wait(address):
            headers = [(b"retry-after", b"%d" % math.ceil(wait_s))]
            raise Refused(429, "too many keys that are not valid came from this address", headers)
        caller = await self.thread(self.keys.check, token)
        if caller is None:
            self._guesses.take(address)
        return caller

    async def __aenter__(self) -> Self:
        await self.thread(self._prepare)
        await self.pool.__aenter__()
        self.news.start()
        self.execution.start()
        self.upkeep.start()
        self.coordinator.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.news.close()
        await self.upkeep.close()
        await self.coordinator.close()
        await self.generations.close()
        await self.execution.close()
        await self.pool.__aexit__(None, None, None)
        self._threads.shutdown()
        self.db.close()

    def _prepare(self) -> None:
        """Tables, a first tenant and its admin's key.

        The key is on disk before it counts, so that whoever kills this finds a way in the next time.
        """
        self.db.upgrade()
        self.generations.clear()
        with self.db.write() as connection:
            row = {"id": FIRST_TENANT, "name": FIRST_TENANT, "created_at": utc_now()}
            connection.execute(self.db.insert_new(tenants), row)
            if connection.scalar(select(api_keys.c.id).limit(1)) is not None:
                return
        path = make_dir(self.layout.secrets) / "admin.key"
        self.keys.create(
            FIRST_TENANT,
            "admin",
            [Scope.ADMIN],
            by=PLATFORM,
            before=lambda key: replace_file(path, f"{key}\n".encode()),
        )

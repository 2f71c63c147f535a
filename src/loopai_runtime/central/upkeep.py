"""What a platform does once a day beside its work: it lets go of what nobody needs any more."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from loopai_runtime.central import retention
from loopai_runtime.signalr.logs import report

if TYPE_CHECKING:
    from loopai_runtime.central.platform import Platform

log = logging.getLogger(__name__)

_EVERY = timedelta(days=1)
_UNNAMED = timedelta(days=1)
"""A bundle of this age that no version names will never have one."""


class Upkeep:
    """Begins when the platform does; a round that is stopped goes on where it was, the next time."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._over = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._now_and_then())

    async def close(self) -> None:
        self._over.set()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _now_and_then(self) -> None:
        while True:
            for what, work in (("records of telemetry", self._records), ("bundles of no version", self._bundles)):
                try:
                    if count := await self._platform.thread(work):
                        log.info("%d %s deleted", count, what)
                except Exception as error:  # the other one is done all the same, and this one tomorrow
                    report(log, f"deleting {what}", error)
            await asyncio.sleep(_EVERY.total_seconds())

    def _records(self) -> int:
        days = self._platform.config.central.telemetry_days
        return retention.forget(self._platform.db, days, self._over.is_set)

    def _bundles(self) -> int:
        return self._platform.repository.sweep(datetime.now(UTC) - _UNNAMED, self._over.is_set)

"""Writing programs for those who ask: `loopai generate` in a process and a data directory of its own, for each.

The specification is a tenant's, so nothing that it names is read, asked or run here: examples are those that were
uploaded, no file is opened, no oracle is asked, and no model but the operator's. What comes out is published
like any upload.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from loopai_runtime.artifacts import archive
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.central import writing
from loopai_runtime.central.audit import note
from loopai_runtime.central.db.tables import generations, tasks
from loopai_runtime.errors import Busy, LoopaiError, NotFound
from loopai_runtime.http.problem import Refused
from loopai_runtime.layout import Layout
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.central.access import Caller
    from loopai_runtime.central.platform import Platform

    Judge = Callable[[Stored], Awaitable[None]]

log = logging.getLogger(__name__)

_AT_ONCE = 1
_MOST_WAITING = 100


class Generations:
    """Made on the loop that serves."""

    ENDED = "the platform ended before the program was written; ask again"

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._under_way: dict[tuple[str, str], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def clear(self) -> None:
        """What an earlier process did not end is over. Before anything is asked for."""
        shutil.rmtree(self._platform.layout.generations, ignore_errors=True)
        unfinished = generations.c.state.in_(("queued", "running"))
        said = {"state": "failed", "error": self.ENDED, "ended_at": utc_now()}
        with self._platform.db.write() as connection:
            connection.execute(update(generations).where(unfinished).values(said))

    async def close(self) -> None:
        """End what is under way; it counts as failed from the next start on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(
        self, caller: Caller, task_id: str, examples: list[dict[str, Any]], judge: Judge | None = None
    ) -> dict[str, Any]:
        """Begin to write a program of a task's specification and of further examples. `judge` sees it before it is
        published, and raises a LoopaiError where it is not to be.

        Raises NotFound, InputError, SpecError, Busy, Refused (409) where one is being written for the task.
        """
        spec = await self._platform.thread(self.spec, caller.tenant_id, task_id)
        files = await self._platform.thread(writing.sound, spec, task_id, examples, self._platform.config.llm)
        place = (caller.tenant_id, task_id)
        if (before := self._under_way.get(place)) is not None:
            raise Refused(409, f"a program is being written for {task_id}: generation {before}")
        if len(self._under_way) >= _MOST_WAITING:
            raise Busy("too many programs wait to be written", hint="ask again in some minutes")
        row = {"id": str(uuid.uuid4()), "tenant_id": caller.tenant_id, "task_id": task_id, "state": "queued"}
        row |= {"created_by": caller.key_id, "created_at": utc_now()}
        self._under_way[place] = row["id"]
        try:
            await self._platform.thread(self._insert, row)
        except BaseException:
            del self._under_way[place]
            raise
        task = asyncio.create_task(self._write(caller, task_id, row["id"], files, judge))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self._shown(row)

    def read(self, tenant_id: str, task_id: str, generation_id: str) -> dict[str, Any]:
        """How far it is. Raises NotFound."""
        mine = (generations.c.tenant_id == tenant_id, generations.c.task_id == task_id)
        with self._platform.db.read() as connection:
            wanted = select(generations).where(*mine, generations.c.id == generation_id)
            row = connection.execute(wanted).mappings().first()
        if row is None:
            raise NotFound(f"no generation {generation_id[:40]!r} of {task_id}")
        return self._shown(dict(row))

    # ---

    async def _write(
        self, caller: Caller, task_id: str, generation_id: str, files: tuple[bytes, bytes], judge: Judge | None
    ) -> None:
        work = self._platform.layout.generations / generation_id
        try:
            async with self._turn:
                await self._note(generation_id, state="running", started_at=utc_now())
                await writing.write(self._platform, work, *files)
                if judge is not None:
                    written = await self._platform.thread(_written, work, task_id)
                    await judge(written)
                end = {"state": "done"} | await self._publish(caller, task_id, work)
        except LoopaiError as error:
            end = {"state": "failed", "error": error.message[:1000]}
        except Exception:
            log.exception("a generation failed")
            end = {"state": "failed", "error": "the platform could not write it"}
        finally:
            shutil.rmtree(work, ignore_errors=True)
            del self._under_way[caller.tenant_id, task_id]
        await self._note(generation_id, **end, ended_at=utc_now())

    async def _publish(self, caller: Caller, task_id: str, work: Path) -> dict[str, Any]:
        """The number and the status of what was written."""
        platform = self._platform

        def publish() -> tuple[int, str]:
            content = archive.write_zip(_written(work, task_id).bundle)
            made = platform.repository.publish(caller.tenant_id, task_id, content, caller.key_id)
            about = platform.repository.describe(caller.tenant_id, task_id, made.version)
            return made.version, about["status"]

        version, status = await platform.thread(publish)
        await platform.execution.refresh(caller.tenant_id, task_id)
        platform.news.artifact(caller.tenant_id, task_id, version)
        return {"version": version, "status": status}

    def spec(self, tenant_id: str, task_id: str) -> dict[str, Any]:
        """A task's specification as it was put. Raises NotFound."""
        mine = (tasks.c.tenant_id == tenant_id, tasks.c.task_id == task_id, tasks.c.deleted_at.is_(None))
        with self._platform.db.read() as connection:
            row = connection.execute(select(tasks.c.spec).where(*mine)).first()
        if row is None:
            raise NotFound(f"no task {task_id!r}")
        return dict(row[0])

    def _insert(self, row: dict[str, Any]) -> None:
        with self._platform.db.write() as connection:
            connection.execute(insert(generations), row)
            facts = {"task_id": row["task_id"], "id": row["id"]}
            note(connection, row["tenant_id"], row["created_by"], "generation.asked", **facts)

    async def _note(self, generation_id: str, **values: Any) -> None:
        def write() -> None:
            with self._platform.db.write() as connection:
                connection.execute(update(generations).where(generations.c.id == generation_id).values(values))

        await self._platform.thread(write)

    @staticmethod
    def _shown(row: dict[str, Any]) -> dict[str, Any]:
        names = ("id", "task_id", "state", "version", "status", "error", "created_at", "started_at", "ended_at")
        return {name: row.get(name) for name in names}


def _written(work: Path, task_id: str) -> Stored:
    return ArtifactStore(Layout(work / "data")).read(f"{task_id}@1")

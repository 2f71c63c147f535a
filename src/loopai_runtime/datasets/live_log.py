"""The execution log of a server: all records of a tick in one write, and each caller told when its own is kept.

`fsync: never` leaves it to the kernel when bytes reach the disk; a crash of the process loses nothing, a power cut
what the kernel had not written (about 30 s). `interval` fsyncs every second, off the loop: a power cut loses a
second. `always` tells a caller only after fsync; records that come in meanwhile share the next one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple

from loopai_runtime import at_rest, jsonl
from loopai_runtime.crypto import Appender
from loopai_runtime.datasets import raw
from loopai_runtime.datasets.encrypted import EncryptedFile
from loopai_runtime.errors import StorageError
from loopai_runtime.files import make_dir, storage_errors

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.layout import Layout

log = logging.getLogger(__name__)

Fsync = Literal["never", "interval", "always"]
Kept = Callable[[StorageError | None], None]
Place = tuple[str, str | None]  # task and day; without a day, the task's queue

INTERVAL_S = 1.0
_LOOK_EVERY_S = 0.25
_MAX_OPEN = 128


class _Batch(NamedTuple):
    """The records of one place in one write: who waits for them, and what stood against it."""

    place: Place
    callers: list[Kept]
    error: StorageError | None


class LiveLog:
    """Belongs to one event loop. `on_full: serve` tells callers that all is well when it is not, and counts."""

    def __init__(self, layout: Layout, *, fsync: Fsync, on_full: Literal["reject", "serve"]) -> None:
        self._layout = layout
        self._fsync = fsync
        self._serve_on = on_full == "serve"
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "fsync")
        self._waiting: dict[Place, tuple[list[bytes], list[Kept]]] = {}
        self._files: dict[Place, int] = {}
        self._encrypted: dict[Place, EncryptedFile | Appender] = {}
        self._unsynced: set[Place] = set()
        self._flushing = False
        self._looked = self._asked = -_LOOK_EVERY_S
        self._closed_before = ""
        self._timer: asyncio.TimerHandle | None = None
        self.bytes = 0
        self.dropped = 0
        """Records that were answered without being kept (`storage.on_full: serve`)."""
        self.torn_bytes = 0
        """What a crash had left of lines that nobody was told of, and was cut off."""
        self.trouble: StorageError | None = None
        """Why the last write failed; None after one that did not."""

    def append(self, task_id: str, day: str, line: bytes, kept: Kept) -> None:
        """Keep a record; `kept` is called once, from the loop, with None or with what stood against it."""
        self._append((task_id, day), line, kept)

    def enqueue(self, task_id: str, line: bytes, kept: Kept) -> None:
        """The same for the task's queue of inputs that wait for a person."""
        self._append((task_id, None), line, kept)

    def _append(self, place: Place, line: bytes, kept: Kept) -> None:
        waiting = self._waiting.get(place)
        if waiting is None:
            waiting = self._waiting[place] = ([], [])
        waiting[0].append(line)
        waiting[1].append(kept)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Write and fsync what there is. The loop may not run any more; everybody is told before this returns."""
        while self._waiting:
            self._settle(self._write_all())
        if self._timer:
            self._timer.cancel()
        self._thread.shutdown()
        for file in self._encrypted.values():
            with suppress(OSError):
                file.mark()
        if self._fsync != "never":
            self._sync(list(self._unsynced))
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _flush(self) -> None:
        if self._fsync == "always":
            self._loop.create_task(self._flush_durably())
            return
        self._flushing = False
        self._settle(self._write_all())
        if self._fsync == "interval" and self._timer is None:
            self._timer = self._loop.call_later(INTERVAL_S, self._sync_soon)

    async def _flush_durably(self) -> None:
        while self._waiting:
            batches = self._write_all()
            failed = await self._loop.run_in_executor(self._thread, self._sync, list(self._unsynced))
            self._settle([batch._replace(error=batch.error or failed.get(batch.place)) for batch in batches])
        self._flushing = False

    def _sync_soon(self) -> None:
        self._timer = None
        self._loop.run_in_executor(self._thread, self._sync, list(self._unsynced))

    def _write_all(self) -> list[_Batch]:
        waiting, self._waiting = self._waiting, {}
        return [_Batch(place, callers, self._write(place, lines)) for place, (lines, callers) in waiting.items()]

    def _settle(self, batches: list[_Batch]) -> None:
        for _, callers, error in batches:
            if error is not None and self._serve_on:
                self.dropped += len(callers)
                error = None
            for kept in callers:
                kept(error)

    def _write(self, place: Place, lines: list[bytes]) -> StorageError | None:
        lines.append(b"")
        block = b"\n".join(lines)
        try:
            self._put(place, block)
        except (StorageError, OSError) as error:
            self._forget(place)
            known = error if isinstance(error, StorageError) else self._storage_error(place, error)
            if self.trouble is None:
                log.error("executions are not kept: %s", known)
            self.trouble = known
            return known
        if self.trouble is not None:
            log.warning("executions are kept again")
            self.trouble = None
        self.bytes += len(block)
        self._unsynced.add(place)
        return None

    def _path(self, place: Place) -> Path:
        task_id, day = place
        return self._layout.queue(task_id) if day is None else self._layout.executions(task_id, day)

    def _storage_error(self, place: Place, error: OSError) -> StorageError:
        path = self._path(place)
        try:
            with storage_errors(path):
                raise error
        except StorageError as known:
            return known
        except OSError as unknown:
            return StorageError(str(unknown), where=str(path))

    def _descriptor(self, place: Place) -> int:
        """The open file of a day, mended when it is opened. Raises OSError, StorageError."""
        now = self._loop.time()
        if now - self._looked > _LOOK_EVERY_S:
            self._looked = now
            self._forget_removed()
        descriptor = self._files.get(place)
        if descriptor is not None:
            return descriptor
        if len(self._files) >= _MAX_OPEN:
            self._forget(next(iter(self._files)))
        path = self._path(place)
        make_dir(path.parent)
        if self._layout.sealing is not None:
            self._encrypted[place] = file = self._encrypted_file(place)
            self._files[place] = file.descriptor
            return file.descriptor
        descriptor = self._files[place] = jsonl.open_to_append(path)
        self.torn_bytes += jsonl.append_block(descriptor, b"")
        return descriptor

    def _encrypted_file(self, place: Place) -> EncryptedFile | Appender:
        """A new file for the executions of a day; that of a queue, to which others append as well."""
        task_id, day = place
        if day is not None:
            return EncryptedFile(self._layout, task_id, day)
        file = Appender(self._layout.sealing, at_rest.encrypted(self._path(place)))
        self.torn_bytes += file.torn_bytes
        return file

    def _put(self, place: Place, block: bytes) -> None:
        descriptor = self._descriptor(place)
        if (encrypted := self._encrypted.get(place)) is not None:
            while not encrypted.append(block):  # somebody replaced it
                self._forget(place)
                self._descriptor(place)
                encrypted = self._encrypted[place]
        elif self._is_closed(place):
            self._append_late(place, block)
        else:
            jsonl.append_more(descriptor, block)

    def _is_closed(self, place: Place) -> bool:
        """Whether a record comes so late that retention may be at its day's file."""
        now = self._loop.time()
        if now - self._asked > _LOOK_EVERY_S:
            self._asked, self._closed_before = now, raw.closed_before()
        return place[1] is not None and place[1] < self._closed_before

    def _append_late(self, place: Place, block: bytes) -> None:
        """Under the file's lock, so that it cannot go away meanwhile. Raises OSError, StorageError."""
        while not jsonl.append_if_at(self._path(place), self._descriptor(place), block):
            self._forget(place)

    def _forget_removed(self) -> None:
        """Files that somebody removed or replaced are opened again."""
        for place, descriptor in list(self._files.items()):
            if not os.fstat(descriptor).st_nlink:
                self._forget(place)

    def _forget(self, place: Place) -> None:
        descriptor = self._files.pop(place, None)
        self._encrypted.pop(place, None)
        if descriptor is not None:
            if place in self._unsynced and self._fsync != "never":
                self._sync_one(place, descriptor)
            os.close(descriptor)

    def _sync(self, places: list[Place]) -> dict[Place, StorageError]:
        """Answers what could not be made durable, and why."""
        failed = {}
        for place in places:
            descriptor = self._files.get(place)
            error = None if descriptor is None else self._sync_one(place, descriptor)
            if error is not None:
                failed[place] = error
        return failed

    def _sync_one(self, place: Place, descriptor: int) -> StorageError | None:
        self._unsynced.discard(place)
        try:
            os.fsync(descriptor)
        except OSError as error:
            path = self._path(place)
            log.error("fsync of %s: %s", path, error)
            return StorageError(f"fsync: {error.strerror}", where=str(path))
        return None

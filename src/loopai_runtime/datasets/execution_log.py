"""The execution log: one JSON object a line, a file a UTC day, appended by any number of processes."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest, jsonl
from loopai_runtime.datasets.encrypted import EncryptedFile
from loopai_runtime.files import make_dir, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loopai_runtime.layout import Layout


class ExecutionLog:
    """Appends lines (see `ExecutionRecord.line`) below one data directory. Raises StorageError."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._encrypted: dict[tuple[str, str], EncryptedFile] = {}
        weakref.finalize(self, _close, self._encrypted)

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append a batch: one write for each task and day it touches, each record in its own day."""
        batches: dict[tuple[str, str], list[bytes]] = {}
        for record in records:
            place = (record["task_id"], record["timestamp"][:10])
            batches.setdefault(place, []).append(jsonl.compact(record))
        for (task_id, day), lines in batches.items():
            if self._layout.sealing is not None:
                self._encrypt(task_id, day, lines)
            else:
                make_dir(self._layout.executions(task_id))
                jsonl.append(self._layout.executions(task_id, day), lines)

    def _encrypt(self, task_id: str, day: str, lines: list[bytes]) -> None:
        place = (task_id, day)
        file = self._encrypted.pop(place, None) or EncryptedFile(self._layout, task_id, day)
        with storage_errors(file.path):
            file.append(b"".join(line + b"\n" for line in lines))
        self._encrypted[place] = file  # not after an error: then the next batch starts another

    def enqueue(self, task_id: str, waiting: Mapping[str, Any]) -> None:
        """Append an input that waits for a person to the task's queue."""
        make_dir(self._layout.queue(task_id).parent)
        at_rest.append(self._layout, self._layout.queue(task_id), [jsonl.compact(waiting)])


def _close(files: dict[tuple[str, str], EncryptedFile]) -> None:
    for file in files.values():
        with suppress(OSError):
            file.mark()
            os.close(file.descriptor)

"""Writing encrypted parts of the execution log: a new file for each writer and day, never one that is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.files import FILE_MODE, make_dir, storage_errors

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.crypto import Writer
    from loopai_runtime.layout import Layout


class EncryptedFile:
    """One new part, which `append` writes to until `close`. Made only where the layout has a vault."""

    def __init__(self, layout: Layout, task_id: str, day: str) -> None:
        """Raises StorageError."""
        place = make_dir(layout.executions(task_id))
        self._writer: Writer = layout.vault.writer()
        with storage_errors(place):
            self.path, self.descriptor = _new(place, day)
            jsonl.append_more(self.descriptor, self._writer.header)

    def append(self, block: bytes) -> bool:
        """Write whole lines as one frame. After an OSError the file is over."""
        jsonl.append_more(self.descriptor, self._writer.frame(block))
        return True

    def mark(self) -> None:
        """Say that nothing follows. Raises OSError."""
        jsonl.append_more(self.descriptor, self._writer.mark())


def _new(place: Path, day: str) -> tuple[Path, int]:
    number = sum(1 for _ in place.glob(f"{day}.*.jsonl.enc"))
    while True:
        path = place / f"{day}.{number:02}.jsonl.enc"
        try:
            return path, os.open(
                path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE
            )
        except FileExistsError:
            number += 1

"""Answers that an oracle has given, kept by a keyed hash of what was sent: nobody pays twice for one input.

The directory is a cache: whatever in it is damaged, missing or too old is asked for again.
"""

from __future__ import annotations

import hmac
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import InputError, StorageError
from loopai_runtime.files import FILE_MODE, make_dir, temporary_beside
from loopai_runtime.validation.oracle import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.layout import Layout

MAX_AGE_S = 30 * 86_400


class Answers:
    """The answers of one oracle; `who` tells it from all others, and from itself asked in another way."""

    def __init__(self, layout: Layout, who: object) -> None:
        self._layout = layout
        self._directory = layout.cache("oracle")
        self._key = hmac.digest(layout.secret("cache"), jsonl.canonical(who), "sha256")

    def get(self, sent: bytes) -> Verdict | None:
        """The answer to what was sent (its canonical JSON); it costs nothing now."""
        path = self._path(sent)
        try:
            if time.time() - path.stat().st_mtime > MAX_AGE_S:
                return None
            kept = jsonl.loads(at_rest.read(self._layout, path))
            return Verdict(kept["output"], share=float(kept["share"]))
        except (OSError, InputError, StorageError, KeyError, TypeError, ValueError):
            return None

    def put(self, sent: bytes, verdict: Verdict) -> None:
        """Keep an answer; a full disk is no reason not to have one."""
        path = self._path(sent)
        content = jsonl.compact({"output": verdict.output, "share": verdict.share})
        with suppress(OSError, StorageError):
            make_dir(path.parent)
            temporary = temporary_beside(path)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, not a path
                file.write(at_rest.sealed(self._layout, content))
            temporary.replace(path)

    def _path(self, sent: bytes) -> Path:
        name = hmac.digest(self._key, sent, "sha256").hex()[:40]
        return self._directory / name[:2] / f"{name}.json"

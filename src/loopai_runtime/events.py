"""The audit: what left this machine, and what was decided. Every line names the hash of the line before it.

So a line that was changed, inserted or taken out of the middle shows. What does not show is the end cut off, or
everything from some line on written anew: whoever needs that proven keeps the last hash elsewhere.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import Fault, InputError
from loopai_runtime.files import make_dir, only_one, storage_errors
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.layout import Layout

FIRST = "0" * 64  # what the first line of all names
_OWN = ("schema", "at", "kind", "previous")


class Audit:
    """Appends to the chain below one data directory; any number of processes keep one chain."""

    def __init__(self, layout: Layout) -> None:
        self._place = layout.audit

    def record(self, kind: str, **facts: Any) -> None:
        """Append one line. `facts` are JSON values, and never a secret. Raises StorageError, ValueError."""
        if taken := [name for name in _OWN if name in facts]:
            raise ValueError(f"{taken[0]} is a name of the audit's own")
        make_dir(self._place)
        with only_one(self._place), storage_errors(self._place):
            files = _files(self._place)
            today = self._place / f"{time.strftime('%Y-%m-%d', time.gmtime())}.jsonl"
            # A clock that was set back must not write into the middle of the chain.
            path = max(today, files[-1]) if files else today
            last = next(filter(None, map(_last_line, reversed(files))), None)
            previous = _hash(last) if last is not None else FIRST
            line = {"schema": 1, "at": utc_now(), "kind": kind, **facts, "previous": previous}
            jsonl.append(path, [jsonl.compact(line)])


def verify(layout: Layout) -> list[Fault]:
    """What is wrong with the chain, each fault with its file and line. Raises StorageError.

    The oldest line that is kept may name one that retention has removed.
    """
    faults: list[Fault] = []
    previous: str | None = None
    with storage_errors(layout.audit):
        for path in _files(layout.audit):
            for number, raw in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
                named = _previous(raw)
                if named is None:
                    faults.append(Fault("is not a line of the audit", path.name, number))
                elif previous is not None and named != previous:
                    faults.append(Fault("does not follow the line before it", path.name, number))
                previous = _hash(raw)
    return faults


def _files(place: Path) -> list[Path]:
    return sorted(place.glob("*.jsonl"))


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _previous(line: bytes) -> str | None:
    try:
        named = jsonl.loads(line)["previous"]
    except (InputError, KeyError, TypeError):
        return None
    return named if isinstance(named, str) else None


def _last_line(path: Path) -> bytes | None:
    """The last line, as it will stand once `jsonl.append` has mended a torn one."""
    *whole, tail = path.read_bytes().split(b"\n")
    if tail:
        try:
            jsonl.loads(tail)
            return tail
        except InputError:
            pass
    return whole[-1] if whole else None

"""What is encrypted, as it was before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loopai_runtime import at_rest
from loopai_runtime.datasets import raw, stats
from loopai_runtime.errors import NotFound
from loopai_runtime.models import is_slug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopai_runtime.layout import Layout


def decrypted(layout: Layout, what: str, days: int, is_open: Callable[[Path], None]) -> Iterator[bytes]:
    """The executions of a task's last `days`, or all of a file; `is_open` hears of files that nobody closed.

    What is plain comes as it is. Raises NotFound, StorageError.
    """
    if is_slug(what):
        if what not in layout.logged_tasks():
            layout.require_task(what)
        yield from raw.whole(layout, what, stats.last_days(days), is_open)
        return
    try:
        with at_rest.opened(layout, Path(what)) as file:
            yield from iter(lambda: file.read(raw.CHUNK_BYTES), b"")
            if at_rest.is_open(file):
                is_open(Path(what))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise NotFound("no such file", where=what) from None

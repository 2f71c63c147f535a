"""history.jsonl: what calls of a model cost before there was a program, a line an import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.files import make_dir, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.datasets.calls import Call
    from loopai_runtime.layout import Layout


class Past(NamedTuple):
    """Calls of one import: how many, what the priced ones cost, and between when (seconds since 1970)."""

    calls: int
    priced: int
    usd: float
    prompt_tokens: int
    completion_tokens: int
    models: list[str]
    first: float | None
    last: float | None


def of(calls: Sequence[Call]) -> Past | None:
    """The summary of calls; None of none."""
    if not calls:
        return None
    times = [call.at for call in calls if call.at is not None]
    costs = [call.usd for call in calls if call.usd is not None]
    return Past(
        len(calls),
        len(costs),
        sum(costs),
        sum(call.prompt_tokens or 0 for call in calls),
        sum(call.completion_tokens or 0 for call in calls),
        sorted({call.model for call in calls if call.model}),
        min(times, default=None),
        max(times, default=None),
    )


def append(layout: Layout, task_id: str, past: Past) -> None:
    """Raises StorageError."""
    path = layout.history(task_id)
    make_dir(path.parent)
    jsonl.append(path, [jsonl.compact(past._asdict())])


def begin(layout: Layout, task_id: str, past: Past) -> None:
    """Put one import in the place of all before it. Raises StorageError."""
    make_dir(layout.history(task_id).parent)
    replace_file(layout.history(task_id), jsonl.compact(past._asdict()) + b"\n")


def read(layout: Layout, task_id: str) -> list[Past]:
    """Every import's summary, the oldest first; lines that are none are passed over. Raises StorageError."""
    path = layout.history(task_id)
    try:
        with storage_errors(path), path.open("rb") as file:
            found: list[dict[str, Any]] = [jsonl.loads(line.raw) for line in jsonl.lines(file)]
    except FileNotFoundError:
        return []
    return [Past(**row) for row in found if row.keys() == set(Past._fields)]

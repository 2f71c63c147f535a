"""What an oracle said of requests on which two versions part: beside the shadow's files, a file a rollout.

    {"rollout_id", "execution_id", "label": 1, "right": …, "timestamp"}

`label` is 1 where the candidate alone is right, -1 where the incumbent alone is, else 0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import InputError, NotFound
from loopai_runtime.files import make_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

Label = Literal[-1, 0, 1]
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


class Said(NamedTuple):
    """Who is right about one request."""

    execution_id: str
    label: Label
    right: Any
    timestamp: str


def append(layout: Layout, task_id: str, rollout_id: str, said: Sequence[Said]) -> None:
    """Keep them, in one write. Raises StorageError."""
    path = file_of(layout, task_id, rollout_id)
    make_dir(path.parent)
    at_rest.append(layout, path, [jsonl.compact({"rollout_id": rollout_id, **one._asdict()}) for one in said])


def read(layout: Layout, task_id: str, rollout_id: str) -> list[Said]:
    """All of a rollout in the order in which they were given, each request once. Raises StorageError."""
    found: dict[str, Said] = {}
    for _, file in at_rest.files(layout, file_of(layout, task_id, rollout_id)):
        for line in jsonl.lines(file):
            if (said := _said(line.raw)) is not None:
                found.setdefault(said.execution_id, said)
    return list(found.values())


def file_of(layout: Layout, task_id: str, rollout_id: str) -> Path:
    """Raises NotFound for what is no rollout's id."""
    if _ID.fullmatch(rollout_id) is None:
        raise NotFound(f"no rollout {rollout_id!r}")
    return layout.shadow(task_id) / f"labels-{rollout_id}.jsonl"


def _said(raw: bytes) -> Said | None:
    """None for a line that is torn or none of ours."""
    try:
        line = jsonl.loads(raw)
        said = Said(**{name: line[name] for name in Said._fields})
    except (InputError, KeyError, TypeError):
        return None
    return said if said.label in (-1, 0, 1) else None

"""Executions that the oracle judged, with their inputs: what a task can learn from its failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.datasets import labels, validations
from loopai_runtime.flows.failures import inputs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.datasets.labels import Label
    from loopai_runtime.layout import Layout


class Judged(NamedTuple):
    """An execution: what the program answered, what the oracle says is right, and whether that is the same."""

    execution_id: str
    version: int
    input: Any
    output: Any
    right: Any
    match: bool
    oracle: str | None


def judged(layout: Layout, task_id: str) -> list[Judged]:
    """All that is kept, the oldest first; without those whose raw execution is gone. Raises StorageError."""
    found = list(validations.read(layout, task_id))
    wanted = {record.execution_id for _, record in found}
    days = sorted({day for day, _ in found})
    inputs, _ = inputs_of(layout, task_id, days, wanted)
    return [
        Judged(r.execution_id, r.version, inputs[r.execution_id], r.output, r.oracle_output, r.match, r.oracle)
        for _, r in found
        if r.execution_id in inputs
    ]


def new_labels(layout: Layout, task_id: str, rows: Sequence[Judged]) -> list[Label]:
    """The oracle's answers that are no labels yet: to what the program got wrong, and to what it got right.

    Both, since failures alone would teach the next version that the world consists of them. Where a person has
    answered an input, the oracle's answer to it is left out.
    """
    known = labels.known(layout, task_id)
    made: dict[bytes, Label] = {}
    for one in rows:
        key = jsonl.canonical(one.input)
        there = known.get(key)
        if there is not None and (there.source in labels.BY_PERSONS or jsonl.equal(there.output, one.right)):
            continue
        made[key] = labels.label(one.input, one.right, "oracle", execution_id=one.execution_id, oracle=one.oracle)
    return list(made.values())

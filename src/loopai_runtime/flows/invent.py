"""A task without examples: inputs are made up, labelled, and wait for a person, or are taken as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.datasets import labels, queue
from loopai_runtime.errors import GateMissed, OracleError
from loopai_runtime.files import make_dir, replace_file
from loopai_runtime.flows.oracles import oracle_of
from loopai_runtime.models import new_id, utc_now
from loopai_runtime.synthesis.writer.invent import invent, label

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.flows.writing import Writer
    from loopai_runtime.layout import Layout
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.synthesis.strategy import Problem
    from loopai_runtime.synthesis.writer.invent import Invented

AGREED, DISPUTED = 0.9, 0.5
"""How sure a made-up row is where whoever labelled it agrees with whoever made it up, and where not."""


class Row(NamedTuple):
    """A made-up input with its label."""

    input: Any
    output: Any
    confidence: float


def make_up(
    loaded: Loaded,
    problem: Problem,
    layout: Layout,
    config: Config,
    writer: Writer,
    *,
    accept: bool,
    seed: int,
    tell: Callable[[str], None],
) -> None:
    """Have examples made up for a task that has none, and put them into its queue; with `accept`, into its labels.

    What waits there from an earlier time is not made up again. Raises GateMissed where a person has to look first,
    ModelError, CapReached, OracleError, StorageError. The caller holds the task's lock.
    """
    task_id = loaded.spec.task_id
    rows = _waiting(layout, task_id)
    if not rows:
        rows = _made(loaded, problem, layout, config, writer, seed, tell)
        _keep(loaded, layout)
        queue.append(layout, task_id, [_queued(row) for row in rows])
        tell(f"{len(rows)} inputs were made up for {task_id}, as the specification has no examples")
    if not accept:
        raise GateMissed(
            f"no examples: {len(rows)} made-up ones wait in {layout.queue(task_id)}",
            hint=f"loopai label {task_id}, then generate again; or generate --yes takes them unseen",
        )
    taken = [row for row in rows if row.confidence >= AGREED] or rows
    labels.append(layout, task_id, [labels.label(row.input, row.output, "synthetic") for row in taken])
    keys = {jsonl.canonical(row.input) for row in taken}
    queue.take_out(layout, task_id, lambda item: jsonl.canonical(item["input"]) in keys)


def _waiting(layout: Layout, task_id: str) -> list[Row]:
    return [
        Row(item["input"], item.get("output"), float(item.get("confidence") or 0.0))
        for item in queue.read(layout, task_id)
        if item.get("source") == "synthetic"
    ]


def _made(
    loaded: Loaded,
    problem: Problem,
    layout: Layout,
    config: Config,
    writer: Writer,
    seed: int,
    tell: Callable[[str], None],
) -> list[Row]:
    model = writer.model()
    made = invent(problem, model, loaded.input_schema.accepts, seed)
    inputs = [one.input for one in made]
    oracle = oracle_of(loaded, layout, config, purpose="label", tell=tell, show=[])
    if oracle is not None and oracle.kind not in ("human", "labels"):
        answers = oracle.ask(inputs)
        outputs = [None if isinstance(answer, OracleError) else answer.output for answer in answers]
    else:
        outputs = label(problem, model, inputs)
    rows = [
        _row(one, output)
        for one, output in zip(made, outputs, strict=True)
        if output is not None and loaded.output_schema.accepts(output)
    ]
    if not rows:
        raise OracleError("no made-up input got a label", hint="try another model, or give examples")
    return rows


def _row(one: Invented, output: Any) -> Row:
    return Row(one.input, output, AGREED if jsonl.equal(one.meant, output) else DISPUTED)


def _queued(row: Row) -> dict[str, Any]:
    return {
        "input": row.input,
        "output": row.output,
        "confidence": row.confidence,
        "version": None,
        "execution_id": new_id(),
        "timestamp": utc_now(),
        "source": "synthetic",
    }


def _keep(loaded: Loaded, layout: Layout) -> None:
    """The specification, so that the task is known before its first version."""
    task_id = loaded.spec.task_id
    make_dir(layout.task(task_id))
    replace_file(layout.spec_origin(task_id), str(loaded.base_dir).encode("utf-8", "replace"))
    replace_file(layout.spec(task_id), loaded.text.encode("utf-8"))

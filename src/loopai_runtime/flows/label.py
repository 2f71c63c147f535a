"""Emptying a task's queue: one input after the other, a key a label; each label is kept before the next input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets import labels, queue
from loopai_runtime.errors import InputError, LoopaiError
from loopai_runtime.flows import oracles
from loopai_runtime.schemas import Schema
from loopai_runtime.synthesis import specfile
from loopai_runtime.validation.prompt import meanings

if TYPE_CHECKING:
    from loopai_runtime.datasets.labels import Label, Source
    from loopai_runtime.layout import Layout

ACCEPT, EDIT, SKIP, UNDO, QUIT = "y", "e", "s", "u", "q"
_KEYS = [c for c in "123456789abcdfghijklmnoprtvwxz" if c not in (ACCEPT, EDIT, SKIP, UNDO, QUIT)]
"""The keys of labels, in their order; a label beyond them is typed."""


@dataclass(frozen=True, slots=True)
class Item:
    """An input that waits: what a program or a model would say, how sure it is, and why it waits."""

    input: Any
    proposal: Any
    confidence: float | None
    source: str
    execution_id: str | None

    @property
    def has_proposal(self) -> bool:
        return self.proposal is not None


@dataclass(slots=True)
class _Given:
    """A label of this session, and the item that it is of."""

    item: Item
    label: Label


@dataclass(slots=True)
class Session:
    """One sitting at a task's queue. What was answered in an earlier one, even if it was killed, does not come
    again.

    Use `open_session`; call `close` in the end, which takes what is answered out of the queue.
    """

    layout: Layout
    task_id: str
    outputs: Schema
    waiting: list[Item]
    skipped: list[Item] = field(default_factory=list)
    given: list[_Given] = field(default_factory=list)

    @property
    def keys(self) -> dict[str, Any]:
        """The label that each key gives; empty where outputs are no labels."""
        found = [label for label, _ in meanings(self.outputs.schema)]
        if not found and self.outputs.schema.get("type") == "boolean":
            found = [True, False]
        return dict(zip(_KEYS, found, strict=False))

    @property
    def item(self) -> Item | None:
        """What is to be answered now; None at the end."""
        return self.waiting[0] if self.waiting else None

    def answer(self, output: Any) -> None:
        """Keep the label of the item, at once. Raises InputError for an output that the schema refuses."""
        if not self.outputs.accepts(output):
            fault = self.outputs.faults(output)[0]
            raise InputError(fault.message, path=fault.path)
        item = self.waiting[0]
        source: Source = "reviewed" if item.source == "synthetic" else "person"
        made = labels.label(item.input, output, source, execution_id=item.execution_id)
        labels.append(self.layout, self.task_id, [made])
        self.given.append(_Given(item, made))
        self.waiting.pop(0)

    def typed(self, text: str) -> None:
        """The same with an answer as it was typed: JSON, or a bare text where the schema takes that.

        Raises InputError.
        """
        text = text.strip()
        if self.outputs.accepts(text):
            self.answer(text)
            return
        self.answer(jsonl.loads(text))

    def skip(self) -> None:
        """Leave the item in the queue, for another time."""
        self.skipped.append(self.waiting.pop(0))

    def undo(self) -> bool:
        """Take the last label of this session back; False where there is none."""
        if not self.given:
            return False
        last = self.given.pop()
        labels.take_back(self.layout, self.task_id, last.label)
        self.waiting.insert(0, last.item)
        return True

    def close(self) -> int:
        """Take what is answered out of the queue; answers how many inputs are left in it. Raises StorageError."""
        answered = labels.known(self.layout, self.task_id, labels.BY_PERSONS)
        return queue.take_out(self.layout, self.task_id, lambda item: jsonl.canonical(item["input"]) in answered)


def open_session(layout: Layout, task_id: str) -> Session:
    """What waits and is not answered, the most informative first: what programs were least sure of.

    Raises NotFound, SpecError, StorageError.
    """
    layout.require_task(task_id)
    answered = labels.known(layout, task_id, labels.BY_PERSONS)
    waiting: dict[bytes, Item] = {}
    for row in queue.read(layout, task_id):
        key = jsonl.canonical(row["input"])
        if key not in answered:
            waiting.setdefault(key, _item(row))
    return Session(layout, task_id, _outputs(layout, task_id), sorted(waiting.values(), key=_urgency))


def _item(row: dict[str, Any]) -> Item:
    confidence = row.get("confidence")
    sure = float(confidence) if isinstance(confidence, int | float) else None
    return Item(row["input"], row.get("output"), sure, row.get("source", "abstained"), row.get("execution_id"))


def _urgency(item: Item) -> tuple[bool, float]:
    """Real inputs before made-up ones; among them those of the lowest confidence."""
    return item.source == "synthetic", 0.0 if item.confidence is None else item.confidence


def _outputs(layout: Layout, task_id: str) -> Schema:
    """The schema of the task's outputs, of its specification or else of the version that serves."""
    if layout.spec(task_id).exists():
        return specfile.load_saved(layout, task_id).output_schema
    try:
        return oracles.task_spec(layout, ArtifactStore(layout).read(task_id).artifact).output_schema
    except LoopaiError:
        return Schema({})

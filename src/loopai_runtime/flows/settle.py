"""Where two readings fit the examples, a person says which is meant: question, label, and again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.datasets import labels
from loopai_runtime.errors import InputError
from loopai_runtime.flows.gather import gather

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.layout import Layout
    from loopai_runtime.schemas import Schema
    from loopai_runtime.synthesis.examples import ExampleSet
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.synthesis.strategy import Question, Synthesis


def settled(
    loaded: Loaded,
    layout: Layout,
    examples: ExampleSet,
    synthesis: Synthesis,
    settle: Callable[[Question], str | None],
    tell: Callable[[str], None],
    make: Callable[[ExampleSet], Synthesis],
) -> tuple[ExampleSet, Synthesis]:
    """The examples and the program once `settle` has answered each question that comes up, or None to one.

    Every answer is kept in labels.jsonl at once, which leaves the specification and the files that it names as
    they are. Raises SpecError, StorageError.
    """
    asked = set()
    while (question := synthesis.question) is not None and jsonl.canonical(question.input) not in asked:
        asked.add(jsonl.canonical(question.input))
        answer = _answer(question, loaded.output_schema, settle, tell)
        if answer is None:
            break
        given = labels.label(question.input, answer[0], "person")
        labels.append(layout, loaded.spec.task_id, [given])
        tell(f"kept in {layout.labels(loaded.spec.task_id)}")
        examples = gather(loaded, layout)
        synthesis = make(examples)
    return examples, synthesis


def _answer(
    question: Question, outputs: Schema, settle: Callable[[Question], str | None], tell: Callable[[str], None]
) -> tuple[Any] | None:
    """What was answered, asked for until the schema accepts it; None where the question is left open."""
    while (text := settle(question)) is not None:
        try:
            return (read(question, outputs, text),)
        except InputError as error:
            tell(str(error))
    return None


def keys(question: Question) -> dict[str, Any]:
    """The key of each answer: a number, or a letter where a number could be meant as an answer itself."""
    texts = list(map(str, question.answers))
    marks = "abcd" if any(len(text) == 1 and text.isdigit() for text in texts) else "1234"
    return dict(zip(marks, question.answers, strict=False))


def read(question: Question, outputs: Schema, text: str) -> Any:
    """The output that a line means: a key, a text as it stands, or JSON. Raises InputError."""
    text = text.strip()
    if text in keys(question):
        return keys(question)[text]
    value: Any = text
    if text.startswith('"') or not outputs.accepts(text):
        with suppress(InputError):
            value = jsonl.loads(text)
    if not outputs.accepts(value):
        fault = outputs.faults(value)[0]
        raise InputError(fault.message, path=fault.path)
    return value

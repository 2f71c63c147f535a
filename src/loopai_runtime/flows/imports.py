"""What a model answered before there was a program becomes the task's labels, and its cost the task's history."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.datasets import history, labels
from loopai_runtime.datasets.calls import read_calls
from loopai_runtime.datasets.labels import Label
from loopai_runtime.datasets.prompts import as_text, templates_of
from loopai_runtime.datasets.shapes import answers_of
from loopai_runtime.errors import SpecError, UsageError
from loopai_runtime.flows.scan import alike, inputs_of
from loopai_runtime.models import utc_now
from loopai_runtime.schemas import Schema
from loopai_runtime.synthesis import specfile
from loopai_runtime.synthesis.rows import RowReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from loopai_runtime.datasets.calls import Call, Log
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import TaskSpecification

_FITS = 0.9  # of a template's calls that must fit the task's schemas


class Imported(NamedTuple):
    """What came of an import. `labels` are new, `known` were labelled the same before, `unfit` fit no schema."""

    labels: int
    known: int
    unfit: int
    skipped: int
    usd: float | None


def import_rows(
    layout: Layout,
    task_id: str,
    files: Sequence[Path],
    *,
    columns: dict[str, str] | str | None,
    output: str | None,
    encoding: str,
) -> Imported:
    """Rows of CSV, JSONL or JSON files, mapped by columns. Raises NotFound, SpecError, StorageError."""
    spec = _spec(layout, task_id)
    takes, gives = Schema(spec.input_schema), Schema(spec.output_schema)
    found, faults = [], []
    for file in files:
        reader = RowReader(takes, gives, columns, output, encoding)
        found += [Label(row.input, row.output, "oracle", utc_now()) for row in reader.read(file, str(file))]
        faults += reader.faults()
    if faults:
        raise SpecError(faults, hint="nothing was imported")
    kept = _keep(layout, task_id, found)
    return Imported(kept, len(found) - kept, 0, 0, None)


def import_calls(layout: Layout, task_id: str, files: Sequence[Path]) -> Imported:
    """Calls of a model, whose prompts are taken apart by their template.

    The templates whose inputs and answers fit the task's schemas are the task's. Raises NotFound, UsageError where
    none does, StorageError.
    """
    spec = _spec(layout, task_id)
    log = read_calls(files)
    found, unfit, mine = _fitting(spec, log)
    kept = _keep(layout, task_id, found)
    past = history.of(mine)
    if past is not None:
        history.append(layout, task_id, past)
    return Imported(kept, len(found) - kept, unfit, log.skipped, past.usd if past else None)


def _spec(layout: Layout, task_id: str) -> TaskSpecification:
    layout.require_task(task_id)
    return specfile.load(layout.spec(task_id)).spec


def _fitting(spec: TaskSpecification, log: Log) -> tuple[list[Label], int, list[Call]]:
    """The labels that the log has for the task, how many of its calls do not fit, and the calls that do."""
    calls = log.calls
    texts = [as_text(call.messages) for call in calls]
    takes, gives = Schema(spec.input_schema), Schema(spec.output_schema)
    seen: Counter[str] = Counter()
    found: list[Label] = []
    mine: list[Call] = []
    unfit = 0
    for template, rows in templates_of(texts, lambda one, other: alike(calls, one, other)):
        inputs = [_renamed(value, spec) for value in inputs_of(template, [texts[row] for row in rows])]
        outputs = answers_of([calls[row].answer for row in rows]).values
        outputs = [_spelled(value, spec) for value in outputs]
        good = [
            takes.accepts(i) and o is not None and gives.accepts(o) for i, o in zip(inputs, outputs, strict=True)
        ]
        seen[f"{', '.join(template.names)} of {template.shown()[:60]!r}"] = len(rows)
        if sum(good) < _FITS * len(rows):
            continue
        unfit += len(rows) - sum(good)
        for row, value, output, fits in zip(rows, inputs, outputs, good, strict=True):
            if fits:
                mine.append(calls[row])
                found.append(Label(value, output, "oracle", _when(calls[row]), oracle=calls[row].model))
    if not found:
        listed = "; ".join(f"{n} calls with {what}" for what, n in seen.most_common(3)) or "no template at all"
        raise UsageError(
            f"no calls in the log fit the schemas of {spec.task_id}: found {listed}",
            hint="loopai scan shows the tasks in a log, each with its schemas",
        )
    return sorted(found, key=lambda one: one.timestamp), unfit, mine


def _renamed(value: dict[str, Any], spec: TaskSpecification) -> Any:
    """Of a task with one property, or whose input is the text itself, that is the one place for input."""
    if len(value) != 1:
        return value
    (only,) = value.values()
    if spec.input_schema.get("type") == "string":
        return only
    properties = list(spec.input_schema.get("properties", ()))
    return {properties[0]: only} if len(properties) == 1 and isinstance(only, str) else value


def _spelled(value: Any, spec: TaskSpecification) -> Any:
    """A label in the spelling that the specification has for it."""
    enum = spec.output_schema.get("enum")
    if not isinstance(value, str) or not isinstance(enum, list):
        return value
    return next((one for one in enum if isinstance(one, str) and one.casefold() == value.casefold()), value)


def _when(call: Call) -> str:
    if call.at is None:
        return utc_now()
    return datetime.fromtimestamp(call.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _keep(layout: Layout, task_id: str, found: Sequence[Label]) -> int:
    """Append what is new; how many that were."""
    known = {key: jsonl.canonical(one.output) for key, one in labels.known(layout, task_id).items()}
    new = []
    for one in found:
        key, output = jsonl.canonical(one.input), jsonl.canonical(one.output)
        if known.get(key) != output:
            known[key] = output
            new.append(one)
    for part in _parts(new, 10_000):
        labels.append(layout, task_id, part)
    return len(new)


def _parts(found: Sequence[Label], size: int) -> Iterator[Sequence[Label]]:
    for at in range(0, len(found), size):
        yield found[at : at + size]

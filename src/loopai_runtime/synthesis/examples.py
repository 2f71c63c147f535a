"""Examples: read from the specification and its files, checked, de-duplicated, grouped, kept with the task."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import Fault, SpecError
from loopai_runtime.layout import make_dir, replace_file
from loopai_runtime.synthesis.near import near_groups
from loopai_runtime.synthesis.rows import RowReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopai_runtime.layout import Layout
    from loopai_runtime.synthesis.specfile import Loaded

FEW_PER_LABEL = 5
MAX_LABELS_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Example:
    """An input, its right output, and where it stands (`train.csv:17`)."""

    input: Any
    output: Any
    where: str = ""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The same input with different outputs."""

    input: Any
    outputs: list[Any]
    where: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {"input": self.input, "outputs": self.outputs, "where": self.where}


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """The examples of a task. `groups[i]` is the near-duplicate group of row i: a group is never split.

    `duplicates` counts rows that repeat an earlier one exactly; they stay, since they are how traffic is.
    """

    examples: list[Example] = field(repr=False)
    groups: list[int] = field(repr=False)
    duplicates: int
    near_duplicates: int
    contradictions: list[Contradiction]
    label_counts: dict[str, int]
    warnings: list[Fault]


def load_examples(loaded: Loaded) -> ExampleSet:
    """Read every example that the specification gives. Raises SpecError with all faults, NotFound for a file."""
    examples = [
        Example(item.input, item.output, f"{loaded.document.file}:{loaded.document.line(f'$.examples[{i}]')}")
        for i, item in enumerate(loaded.spec.examples)
    ]
    faults: list[Fault] = []
    for source in loaded.spec.examples_from:
        reader = RowReader(loaded.input_schema, loaded.output_schema, source.input, source.output, source.encoding)
        path = loaded.base_dir / source.file
        examples += [Example(row.input, row.output, row.where) for row in reader.read(path, source.file)]
        faults += reader.faults()
    if faults:
        raise SpecError(faults)
    if not examples:
        raise SpecError(
            [Fault("no examples", loaded.document.file, 1)],
            hint="give some under `examples`, or name a file under `examples_from`",
        )
    return describe(examples)


def load_unlabelled(loaded: Loaded) -> Iterator[Any]:
    """The inputs of `unlabelled_from`, streamed. Raises SpecError, NotFound."""
    for source in loaded.spec.unlabelled_from:
        reader = RowReader(loaded.input_schema, None, source.input, None, source.encoding)
        for row in reader.read(loaded.base_dir / source.file, source.file):
            yield row.input
        if faults := reader.faults():
            raise SpecError(faults)


def describe(examples: list[Example]) -> ExampleSet:
    """Find duplicates, contradictions and groups, and count labels."""
    keys = [jsonl.canonical(example.input) for example in examples]
    pairs = {(key, jsonl.canonical(example.output)) for key, example in zip(keys, examples, strict=True)}
    groups = near_groups([example.input for example in examples], keys)
    contradictions = _contradictions(examples, keys, len(pairs))
    labels = Counter(label_name(example.output) for example in examples)
    counts = dict(sorted(labels.items())) if len(labels) <= MAX_LABELS_COUNTED else {}
    return ExampleSet(
        examples=examples,
        groups=groups,
        duplicates=len(examples) - len(pairs),
        near_duplicates=len(set(keys)) - len(set(groups)),
        contradictions=contradictions,
        label_counts=counts,
        warnings=_warnings(examples, labels, contradictions),
    )


def label_name(output: Any) -> str:
    """An output as people name it: a text as it is, anything else as JSON."""
    return output if isinstance(output, str) else jsonl.dumps(output)


def _contradictions(examples: Sequence[Example], keys: Sequence[bytes], pairs: int) -> list[Contradiction]:
    if pairs == len(set(keys)):
        return []
    rows: dict[bytes, list[int]] = {}
    for index, key in enumerate(keys):
        rows.setdefault(key, []).append(index)
    found = []
    for indexes in rows.values():
        outputs = {jsonl.canonical(examples[i].output): i for i in reversed(indexes)}
        if len(outputs) > 1:
            first = sorted(outputs.values())
            found.append(
                Contradiction(
                    examples[first[0]].input,
                    [examples[i].output for i in first],
                    [examples[i].where for i in indexes],
                )
            )
    return found


def _warnings(
    examples: Sequence[Example], labels: Counter[str], contradictions: Sequence[Contradiction]
) -> list[Fault]:
    warnings = [
        Fault(
            f"contradicting outputs for one input: {', '.join(map(jsonl.dumps, c.outputs))}",
            ", ".join(c.where[:5]),
        )
        for c in contradictions[:20]
    ]
    if len(contradictions) > 20:
        warnings.append(Fault(f"… and {len(contradictions) - 20} more inputs with contradicting outputs"))
    if len(labels) == 1:
        warnings.append(Fault(f"every example has the output {next(iter(labels))!r}"))
    # Many distinct outputs are not labels; rare ones are then nothing to warn of.
    elif len(labels) <= max(2, len(examples) // 4):
        rare = sorted(f"{label} ({n})" for label, n in labels.items() if n < FEW_PER_LABEL)
        if rare:
            shown = ", ".join(rare[:10]) + (" …" if len(rare) > 10 else "")
            warnings.append(Fault(f"labels with fewer than {FEW_PER_LABEL} examples: {shown}"))
    return warnings


# --- kept with the task -----------------------------------------------------------------------------------------


def save(layout: Layout, loaded: Loaded, examples: ExampleSet) -> None:
    """Keep the specification's text and the accepted examples with the task. The caller holds its lock."""
    task = make_dir(layout.task(loaded.spec.task_id))
    layout.sweep(task)
    rows = [
        jsonl.compact({"input": e.input, "output": e.output} | ({"where": e.where} if e.where else {})) + b"\n"
        for e in examples.examples
    ]
    replace_file(layout.examples(loaded.spec.task_id), b"".join(rows))
    replace_file(layout.spec(loaded.spec.task_id), loaded.text.encode("utf-8"))


def load_saved(layout: Layout, task_id: str) -> list[Example]:
    """The examples kept with a task, none where there are none. Raises InputError for a damaged file."""
    try:
        with layout.examples(task_id).open("rb") as file:
            rows = [jsonl.loads(line.raw, f"examples.jsonl:{line.number}") for line in jsonl.lines(file)]
    except FileNotFoundError:
        return []
    return [Example(row["input"], row["output"], row.get("where", "")) for row in rows]

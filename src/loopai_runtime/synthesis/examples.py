"""Examples: read from the specification and its files, checked, merged, grouped, kept with the task."""

from __future__ import annotations

import hashlib
import io
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import Fault, InputError, NotFound, SpecError, StorageError
from loopai_runtime.files import make_dir, replace_file
from loopai_runtime.models import ExampleSource
from loopai_runtime.synthesis.near import near_groups
from loopai_runtime.synthesis.rows import RowReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loopai_runtime.crypto import Vault
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import UnlabelledSource
    from loopai_runtime.synthesis.rows import Row
    from loopai_runtime.synthesis.specfile import Loaded

FEW_PER_LABEL = 5
MAX_LABELS = 300
_MOST_COUNTED = 10_000  # different outputs; with so many they are no labels
MOST_EXAMPLES = 100_000
"""Distinct examples that are kept and learned from; of more, so many at random."""


@dataclass(frozen=True, slots=True)
class Example:
    """An input, its right output, and where it stands (`train.csv:17`).

    `source` is empty for what the specification gives, else who labelled it: person, oracle, synthetic, reviewed.
    """

    input: Any
    output: Any
    where: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The same input with different outputs; `where[i]` is the first place of `outputs[i]`."""

    input: Any
    outputs: list[Any]
    where: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {"input": self.input, "outputs": self.outputs, "where": self.where}


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """The examples of a task, each pair of input and output once.

    `groups[i]` is the near-duplicate group of row i; contradicting rows share one, and a split keeps a group
    whole. `duplicates` counts the rows that repeated an earlier one and were merged into it, `near_duplicates`
    the inputs that nearly repeat an earlier one. `label_counts` is empty where outputs are not labels but
    texts of their own, since counts of those would be a list of the rows. `given` is how many distinct examples
    there were, where more were given than are kept.
    """

    examples: list[Example] = field(repr=False)
    groups: list[int] = field(repr=False)
    duplicates: int
    near_duplicates: int
    contradictions: list[Contradiction]
    label_counts: dict[str, int]
    warnings: list[Fault]
    given: int


class NoExamples(SpecError):
    """Neither the specification nor anybody since has given an example."""


def load_examples(loaded: Loaded, more: Sequence[Example] = (), vault: Vault | None = None) -> ExampleSet:
    """Read every example that the specification gives, and add those that came in since (`more`).

    `vault` opens files that were encrypted here. Raises NoExamples where there are none at all, SpecError with the
    faults of all files.
    """
    merged = _Merged()
    for index, item in enumerate(loaded.spec.examples):
        line = loaded.document.line(f"$.examples[{index}]")
        merged.add(Example(item.input, item.output, f"{Path(loaded.document.file).name}:{line}"))
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for index, source in enumerate(loaded.spec.examples_from):
        reader = _reader(loaded, source, vault)
        try:
            for row in _rows(loaded, source, reader, f"$.examples_from[{index}].file"):
                merged.add(Example(row.input, row.output, row.where))
        except SpecError as exc:
            faults += exc.faults
        faults += _beside(loaded, reader.faults())
        warnings += _beside(loaded, reader.warnings())
    if faults:
        raise SpecError(faults)
    for example in more:
        merged.add(example)
    if not merged.examples:
        raise NoExamples(
            [Fault("no examples", loaded.document.file, 1)],
            hint="give some under `examples`, or name a file under `examples_from`",
        )
    return _describe(merged, loaded.spec.output_schema, warnings)


def load_unlabelled(loaded: Loaded, vault: Vault | None = None) -> Iterator[Any]:
    """The inputs of `unlabelled_from`, streamed. Raises SpecError after a file that has faults."""
    for index, source in enumerate(loaded.spec.unlabelled_from):
        reader = _reader(loaded, source, vault)
        for row in _rows(loaded, source, reader, f"$.unlabelled_from[{index}].file"):
            yield row.input
        if faults := reader.faults():
            raise SpecError(_beside(loaded, faults))


def _reader(loaded: Loaded, source: ExampleSource | UnlabelledSource, vault: Vault | None) -> RowReader:
    outputs, output = (loaded.output_schema, source.output) if isinstance(source, ExampleSource) else (None, None)
    return RowReader(loaded.input_schema, outputs, source.input, output, source.encoding, vault)


def _rows(loaded: Loaded, source: ExampleSource | UnlabelledSource, reader: RowReader, path: str) -> Iterator[Row]:
    """The file's rows. A file that is missing is a fault of the line that names it."""
    try:
        yield from reader.read(loaded.base_dir / source.file, source.file)
    except (NotFound, StorageError) as exc:
        line = loaded.document.line(path)
        raise SpecError([Fault(f"{source.file}: {exc.message}", loaded.document.file, line, path)]) from None
    except SpecError as exc:
        raise SpecError(_beside(loaded, exc.faults)) from None


def _beside(loaded: Loaded, faults: Sequence[Fault]) -> list[Fault]:
    """Faults of a file that the specification names, under the name by which it is found from here."""
    folder = Path(loaded.document.file).parent
    return [replace(fault, file=str(folder / fault.file)) for fault in faults if fault.file is not None]


def describe(examples: Sequence[Example], output_schema: Mapping[str, Any] | None = None) -> ExampleSet:
    """Merge duplicates, find contradictions and groups, and count labels."""
    merged = _Merged()
    for example in examples:
        merged.add(example)
    return _describe(merged, output_schema or {}, [])


class _Merged:
    """Examples as they come in, each pair once; inputs are told apart by the digest of their JSON.

    Beyond MOST_EXAMPLES each further one takes the place of another at random, so that all that were given are
    kept with the same probability (reservoir sampling, Vitter 1985).
    """

    def __init__(self) -> None:
        self.examples: list[Example] = []
        self.keys: list[bytes] = []
        self.labels: Counter[str] = Counter()
        self.given = 0
        self.duplicates = 0
        self._pairs: set[bytes] = set()
        self._draw = random.Random(0)  # noqa: S311  a seed, not a secret

    def add(self, example: Example) -> None:
        key = hashlib.blake2b(jsonl.canonical(example.input), digest_size=12).digest()
        pair = hashlib.blake2b(jsonl.canonical(example.output), key=key, digest_size=12).digest()
        if pair in self._pairs:
            self.duplicates += 1
            return
        self._pairs.add(pair)
        self.given += 1
        if len(self.labels) < _MOST_COUNTED:
            self.labels[label_name(example.output)] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(example)
            self.keys.append(key)
        elif (at := self._draw.randrange(self.given)) < MOST_EXAMPLES:
            self.examples[at], self.keys[at] = example, key

    def contradictions(self) -> list[Contradiction]:
        first: dict[bytes, int] = {}
        several: dict[bytes, list[int]] = {}
        for row, key in enumerate(self.keys):
            if (other := first.setdefault(key, row)) != row:
                several.setdefault(key, [other]).append(row)
        return [
            Contradiction(
                self.examples[rows[0]].input,
                [self.examples[row].output for row in rows],
                [self.examples[row].where for row in rows],
            )
            for rows in several.values()
        ]


def _describe(merged: _Merged, output_schema: Mapping[str, Any], warnings: list[Fault]) -> ExampleSet:
    examples = merged.examples
    groups = near_groups([example.input for example in examples], merged.keys)
    contradictions = merged.contradictions()
    if merged.given > len(examples):
        text = f"{len(examples):,} of the {merged.given:,} examples are learned from, chosen at random"
        warnings = [*warnings, Fault(text)]
    labels = merged.labels
    if not _are_labels(labels, merged.given, output_schema):
        labels = Counter()
    return ExampleSet(
        examples=examples,
        groups=groups,
        duplicates=merged.duplicates,
        near_duplicates=len(set(merged.keys)) - len(set(groups)),
        contradictions=contradictions,
        label_counts=dict(sorted(labels.items())),
        warnings=[*warnings, *_contradicting(contradictions), *_lacking(labels, output_schema)],
        given=merged.given,
    )


def label_name(output: Any) -> str:
    """An output as people name it: a text as it is, anything else as JSON."""
    return output if isinstance(output, str) else jsonl.dumps(output)


def _are_labels(counts: Counter[str], rows: int, output_schema: Mapping[str, Any]) -> bool:
    """Whether outputs are chosen from a few, as the schema says or as their repetition shows."""
    if isinstance(output_schema.get("enum"), list) or output_schema.get("type") == "boolean":
        return True
    return len(counts) <= MAX_LABELS and (len(counts) == 1 or 3 * len(counts) <= rows)


def _contradicting(contradictions: Sequence[Contradiction]) -> Iterator[Fault]:
    for c in contradictions[:20]:
        given = ", ".join(f"{jsonl.dumps(o)} ({w})" for o, w in zip(c.outputs[:5], c.where, strict=False))
        text = label_name(c.input)
        shown = text if len(text) <= 60 else text[:60] + "…"
        yield Fault(f"contradicting outputs for one input: {given}: {shown}")
    if len(contradictions) > 20:
        yield Fault(f"… and {len(contradictions) - 20:,} more inputs with contradicting outputs")


def _lacking(labels: Counter[str], output_schema: Mapping[str, Any]) -> Iterator[Fault]:
    if len(labels) == 1:
        yield Fault(f"one class only: every example has the output {next(iter(labels))!r}")
    members = output_schema.get("enum")
    if isinstance(members, list) and (absent := [m for m in map(label_name, members) if m not in labels]):
        yield Fault(f"labels without an example: {_shown(absent)}")
    rare = sorted(f"{label} ({count})" for label, count in labels.items() if count < FEW_PER_LABEL)
    if rare:
        yield Fault(f"labels with fewer than {FEW_PER_LABEL} examples: {_shown(rare)}")


def _shown(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


# --- kept with the task -----------------------------------------------------------------------------------------


def save(layout: Layout, loaded: Loaded, examples: ExampleSet) -> None:
    """Keep the specification's text and the accepted examples with the task. The caller holds its lock."""
    task = make_dir(layout.task(loaded.spec.task_id))
    layout.sweep(task)
    lines = io.BytesIO()
    for example in examples.examples:
        row = {"input": example.input, "output": example.output}
        row |= {name: text for name in ("where", "source") if (text := getattr(example, name))}
        lines.write(jsonl.compact(row) + b"\n")
    at_rest.replace(layout, layout.examples(loaded.spec.task_id), lines.getvalue())
    replace_file(layout.spec_origin(loaded.spec.task_id), str(loaded.base_dir).encode("utf-8", "replace"))
    replace_file(layout.spec(loaded.spec.task_id), loaded.text.encode("utf-8"))


def load_saved(layout: Layout, task_id: str) -> list[Example]:
    """The examples kept with a task for which a person stands, none where there are none.

    Raises StorageError for a damaged file.
    """
    path = layout.examples(task_id)
    examples = []
    try:
        with at_rest.opened(layout, path) as file:
            for line in jsonl.lines(file):
                row = jsonl.loads(line.raw, str(line.number))
                if row.get("source") in ("oracle", "synthetic"):
                    continue
                examples.append(Example(row["input"], row["output"], row.get("where", "")))
    except FileNotFoundError:
        return []
    except (InputError, KeyError, TypeError, AttributeError) as exc:
        hint = "loopai generate writes it anew"
        raise StorageError(f"is damaged: {exc}", where=str(path), hint=hint) from None
    return examples

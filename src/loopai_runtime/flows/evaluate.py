"""Versions of a task on rows whose right answers are known, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import GateMissed, SpecError
from loopai_runtime.flows.execute import Executor, Request
from loopai_runtime.flows.measure import Latency, percentile
from loopai_runtime.intervals import wilson
from loopai_runtime.schemas import Schema
from loopai_runtime.synthesis import specfile
from loopai_runtime.synthesis.rows import RowReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.config import Config
    from loopai_runtime.flows.execute import Result
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact
    from loopai_runtime.sandbox import SyncPool

CONFIDENCE = 0.95

Mapping = tuple["dict[str, str] | str | None", "str | None"]  # the columns of the input, that of the output


@dataclass(frozen=True, slots=True)
class LabelScore:
    """Precision, recall and F1 of one label; None where nothing was predicted or present."""

    label: Any
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True)
class Score:
    """One version on all rows. An abstained answer is not wrong: it is not an answer, and counts in `answered`."""

    version: int
    rows: int
    answered: int
    correct: int
    errors: int
    accuracy: dict[str, float]
    labels: list[LabelScore]
    confusion: list[dict[str, Any]]
    latency: Latency
    right: list[bool] = field(repr=False)
    outputs: list[Any] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "rows": self.rows,
            "answered": self.answered,
            "correct": self.correct,
            "errors": self.errors,
            "accuracy": self.accuracy,
            "latency_ms": self.latency.as_dict(),
            "labels": [
                {"label": s.label, "precision": s.precision, "recall": s.recall, "f1": s.f1, "support": s.support}
                for s in self.labels
            ],
            "confusion": self.confusion,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    scores: list[Score]
    differences: list[dict[str, Any]]

    def require(self, least: float) -> None:
        """Raises GateMissed if a version's accuracy is below `least`."""
        for score in self.scores:
            if score.accuracy["value"] < least:
                raise GateMissed(
                    f"v{score.version} is right on {score.accuracy['value']:.1%} of the answers it gave, "
                    f"below the {least:.1%} asked for"
                )


def evaluate(
    pool: SyncPool,
    versions: Sequence[Stored],
    rows: Sequence[tuple[Request, Any]],
    config: Config,
    advance: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run each version on every row (a request and the right output).

    Nothing is recorded: gold rows are not traffic. Raises GateMissed where there are no rows to judge on.
    """
    if not rows:
        raise GateMissed("no rows to judge on")
    scores = []
    for number, stored in enumerate(versions):
        executor = Executor(pool, stored, config)
        results = []
        for result in executor.run_all(request for request, _ in rows):
            results.append(result)
            if advance is not None and len(results) % 50 == 0:
                advance(number * len(rows) + len(results))
        scores.append(score(stored.artifact.version, results, [expected for _, expected in rows]))
    return Evaluation(scores, _differences(scores, rows))


def score(version: int, results: Sequence[Result], expected: Sequence[Any]) -> Score:
    """Judge results against the right outputs, as JSON values."""
    outputs = [result.output for result in results]
    answered = [result.ok and not result.abstained for result in results]
    right = [
        gave and jsonl.equal(output, truth)
        for gave, output, truth in zip(answered, outputs, expected, strict=True)
    ]
    given = sum(answered) + sum(not result.ok for result in results)
    low, high = wilson(sum(right), given, CONFIDENCE) if given else (0.0, 1.0)
    value = sum(right) / given if given else 0.0
    pairs = [
        (truth, output if gave else None)
        for truth, output, gave, result in zip(expected, outputs, answered, results, strict=True)
        if gave or not result.ok
    ]
    labels, confusion = _by_label(pairs)
    times = [result.latency_ms for result in results if result.record] or [0.0]
    return Score(
        version=version,
        rows=len(results),
        answered=sum(answered),
        correct=sum(right),
        errors=sum(not result.ok for result in results),
        accuracy={"value": value, "low": low, "high": high, "n": given},
        labels=labels,
        confusion=confusion,
        latency=Latency(percentile(times, 0.5), percentile(times, 0.99), sum(times) / len(times), len(times)),
        right=right,
        outputs=outputs,
    )


# More labels than this are free text: a table of them tells nothing.
MAX_LABELS = 300


def _by_label(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[LabelScore], list[dict[str, Any]]]:
    """Scores for each right label, and the counts of each mistaken pair, most frequent first."""
    keys = [(jsonl.canonical(truth), jsonl.canonical(output)) for truth, output in pairs]
    values = {key: truth for (key, _), (truth, _) in zip(keys, pairs, strict=True)}
    if len(values) > MAX_LABELS:
        return [], []
    outputs = {key: output for (_, key), (_, output) in zip(keys, pairs, strict=True)}
    predicted: dict[bytes, int] = {}
    support: dict[bytes, int] = {}
    confused: dict[tuple[bytes, bytes], int] = {}
    for truth, output in keys:
        support[truth] = support.get(truth, 0) + 1
        predicted[output] = predicted.get(output, 0) + 1
        confused[truth, output] = confused.get((truth, output), 0) + 1
    labels = []
    for key in sorted(values):
        hit = confused.get((key, key), 0)
        precision = hit / predicted[key] if predicted.get(key) else None
        recall = hit / support[key]
        f1 = (
            2 * precision * recall / (precision + recall)
            if precision and recall
            else (0.0 if precision is not None else None)
        )
        labels.append(LabelScore(values[key], precision, recall, f1, support[key]))
    mistakes = sorted(
        ((n, t, o) for (t, o), n in confused.items() if t != o), key=lambda row: (-row[0], row[1], row[2])
    )
    return labels, [{"expected": values[t], "output": outputs[o], "count": n} for n, t, o in mistakes]


def _differences(scores: Sequence[Score], rows: Sequence[tuple[Request, Any]]) -> list[dict[str, Any]]:
    """The rows on which versions do not give the same output."""
    found = []
    for index, (request, expected) in enumerate(rows):
        outputs = [score.outputs[index] for score in scores]
        if any(not jsonl.equal(outputs[0], other) for other in outputs[1:]):
            found.append(
                {
                    "row": index + 1,
                    "input": request.input,
                    "expected": expected,
                    "outputs": {f"v{score.version}": score.outputs[index] for score in scores},
                }
            )
    return found


def read_gold(path: Path, artifact: ProgramArtifact, layout: Layout, encoding: str) -> list[tuple[Request, Any]]:
    """Labelled rows of a CSV, JSONL or JSON file, by the plain rule or as the task's specification maps its own.

    Raises SpecError with the rows' faults, by the rule that fits the file's columns best; NotFound.
    """
    mappings: list[Mapping] = [(None, None)]
    if layout.spec(artifact.task_id).exists():
        spec = specfile.load(layout.spec(artifact.task_id)).spec
        mappings += [(source.input, source.output) for source in spec.examples_from]
    schemas = Schema(artifact.input_schema), Schema(artifact.output_schema)
    failed: list[tuple[int, SpecError]] = []
    for mapping in mappings:
        reader = RowReader(*schemas, *mapping, encoding)
        try:
            rows = [(Request(row.input), row.output) for row in reader.read(path, str(path))]
            if not (faults := reader.faults()):
                return rows
            failed.append((_fitting(path, artifact, mapping, encoding), SpecError(faults)))
        except SpecError as exc:
            failed.append((-1, exc))
    raise max(failed, key=lambda one: one[0])[1]


def _fitting(path: Path, artifact: ProgramArtifact, mapping: Mapping, encoding: str) -> int:
    """How many rows have the columns that a mapping names, whatever the schemas say of what is in them."""
    required = artifact.input_schema.get("required", [])
    shape = {"required": [name for name in required if name in mapping[0]]} if isinstance(mapping[0], dict) else {}
    reader = RowReader(Schema(shape), Schema({}), *mapping, encoding)
    return sum(1 for _ in reader.read(path, str(path)))

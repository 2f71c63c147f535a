"""What a task learns from: its specification's examples, and the labels that came in since; what that is worth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.datasets import labels
from loopai_runtime.errors import Fault, SpecError
from loopai_runtime.intervals import lower_bound
from loopai_runtime.synthesis.examples import Example, NoExamples, load_examples, load_saved

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loopai_runtime.datasets.labels import Label
    from loopai_runtime.layout import Layout
    from loopai_runtime.synthesis.examples import ExampleSet
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.synthesis.strategy import Synthesis

INVENTED = frozenset({"synthetic", "reviewed"})
"""Sources of inputs that no user ever sent."""
SYNTHETIC_MOST = 0.5
"""The most that `confidence_score` may be where a model made up all inputs and their labels: such rows say how
well a program agrees with the model, not how often it will be right."""
REVIEWED_MOST = 0.75
"""The same where people confirmed every label: the labels are right, the inputs are still made up."""


def gather(loaded: Loaded, layout: Layout, more: Iterable[Label] = ()) -> ExampleSet:
    """All examples of a task, as if `more` were among its labels.

    Raises NoExamples where there are none, SpecError, StorageError.
    """
    found, strange = _labelled(loaded, layout, more)
    examples = load_examples(loaded, found, layout.vault)
    if not strange:
        return examples
    fault = Fault(f"{strange} labels in labels.jsonl do not fit the schemas and are left out")
    return replace(examples, warnings=[*examples.warnings, fault])


def gather_here(loaded: Loaded, layout: Layout, more: Iterable[Label] = ()) -> ExampleSet:
    """As `gather`; where files that the specification names are not here any more, or have faults, as the task
    kept what it learned from before. Raises NoExamples, StorageError."""
    try:
        return gather(loaded, layout, more)
    except NoExamples:
        raise
    except SpecError:
        return _as_kept(loaded, layout, more)


def _as_kept(loaded: Loaded, layout: Layout, more: Iterable[Label]) -> ExampleSet:
    saved = load_saved(layout, loaded.spec.task_id)
    found, _ = _labelled(loaded, layout, more)
    spec = loaded.spec.model_copy(update={"examples_from": []})
    return load_examples(replace(loaded, spec=spec), [*saved, *found])


def _labelled(loaded: Loaded, layout: Layout, more: Iterable[Label]) -> tuple[list[Example], int]:
    """The labels that fit the schemas, as examples, and how many do not."""
    found, strange = [], 0
    # What is given now counts where the same input was labelled before by nobody of a higher rank.
    known = labels.best([*labels.read(layout, loaded.spec.task_id), *more])
    for one in known.values():
        if loaded.input_schema.accepts(one.input) and loaded.output_schema.accepts(one.output):
            found.append(Example(one.input, one.output, "labels.jsonl", one.source))
        else:
            strange += 1
    return found, strange


def sources(examples: ExampleSet) -> dict[str, int]:
    """How many examples came from whom; `given` are the specification's own."""
    counts = Counter(one.source or "given" for one in examples.examples)
    return dict(sorted(counts.items()))


def said(counts: Mapping[str, int]) -> str | None:
    """In a line, what came from labels; None where nothing did."""
    names = {
        "person": "from persons",
        "oracle": "from the oracle",
        "synthetic": "made up by a model",
        "reviewed": "made up by a model and confirmed by persons",
    }
    parts = [f"{counts[name]:,} {text}" for name, text in names.items() if counts.get(name)]
    return f"{sum(counts.values()) - counts.get('given', 0):,} labels: {', '.join(parts)}" if parts else None


def most_sure(examples: ExampleSet) -> float:
    """What a program's confidences may be on average, by where its examples came from."""
    known = {one.source for one in examples.examples}
    if known - INVENTED or not known:
        return 1.0
    return SYNTHETIC_MOST if "synthetic" in known else REVIEWED_MOST


def tempered(synthesis: Synthesis, examples: ExampleSet) -> tuple[Synthesis, str | None]:
    """The synthesis with no more confidence than rows of real inputs give, and in a line why it has less."""
    known = [one.source for one in examples.examples]
    if INVENTED.isdisjoint(known):
        return synthesis, None
    rows = synthesis.judged_rows if synthesis.judged_rows is not None else range(len(known))
    real = [
        jsonl.equal(answer, examples.examples[row].output)
        for row, (answer, _) in zip(rows, synthesis.predictions, strict=True)
        if known[row] not in INVENTED
    ]
    if real:
        most = lower_bound(sum(real), len(real))
        why = f"confidence is judged on the {len(real)} examples with real inputs alone"
    else:
        most = most_sure(examples)
        why = (
            f"every input was made up by a model: confidence_score is at most {most:g}, and nothing is guaranteed"
        )
    score = min(synthesis.confidence_score, round(most, 4))
    offload = synthesis.offload
    if not real:
        offload = replace(offload, threshold=None, coverage=0.0, accuracy=None, more_examples=20)
    return replace(synthesis, confidence_score=score, offload=offload), why

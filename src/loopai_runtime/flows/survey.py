"""What a program makes of inputs that nobody has answered: what drift is measured from, and which to label
next."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest, jsonl
from loopai_runtime.synthesis.near import near_groups
from loopai_runtime.synthesis.vocabulary import words
from loopai_runtime.validation.drift import LENGTHS, length_bin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout
    from loopai_runtime.sandbox import Outcome

MOST_INPUTS = 5000
SUGGESTIONS = 20
_BINS = 10


@dataclass(frozen=True, slots=True)
class Reference:
    """How a version's answers are spread where nothing has drifted: `source` is `unlabelled`, or `examples` for
    answers given out of fold. `labels` are shares; `confidence` are the shares of ten equal bins of `score`;
    `unknown_words` is the share of words that no (other) example has; `lengths` are the shares of the bins of
    `validation.drift.length_bin` over the inputs' characters as JSON."""

    source: str
    inputs: int
    labels: dict[str, float]
    confidence: list[float]
    unknown_words: float | None = None
    lengths: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An input that would teach much if somebody labelled it, with what the program answers now."""

    input: Any
    output: Any
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Survey:
    """The reference, and the inputs to label next, the most useful first."""

    reference: Reference
    suggestions: list[Suggestion] = field(default_factory=list, repr=False)

    def save(self, layout: Layout, path: Path) -> None:
        """A line for each suggestion. Raises StorageError."""
        lines = [jsonl.compact(suggestion.as_dict()) + b"\n" for suggestion in self.suggestions]
        at_rest.replace(layout, path, b"".join(lines))


def some(inputs: Iterable[Any], seed: int) -> list[Any]:
    """At most 5,000 of the inputs, each as likely as any other, read once (reservoir sampling, Vitter 1985)."""
    draw = random.Random(seed)  # noqa: S311  a seed, not a secret
    kept: list[Any] = []
    for count, value in enumerate(inputs, 1):
        if len(kept) < MOST_INPUTS:
            kept.append(value)
        elif (at := draw.randrange(count)) < MOST_INPUTS:
            kept[at] = value
    return kept


def of_examples(predictions: Sequence[tuple[Any, float]], are_labels: bool, inputs: Sequence[Any] = ()) -> Survey:
    """From answers given out of fold, and the inputs of the examples."""
    texts = [words(value) for value in inputs]
    found_in = Counter(word for text in texts for word in set(text))
    met = [word for text in texts for word in text]
    alone = round(sum(found_in[word] == 1 for word in met) / len(met), 4) if met else None
    return Survey(_reference("examples", list(predictions), are_labels, alone, inputs))


def of_unlabelled(
    inputs: Sequence[Any],
    outcomes: Sequence[Outcome],
    known: Iterable[Any],
    are_labels: bool,
    disputed: Sequence[float] = (),
) -> Survey:
    """From inputs and what the program answered to them; `known` are the inputs of the examples.

    `disputed` says of the first inputs how many of the programs that were as good answer otherwise, from 0 to 1.
    """
    answered = [at for at, one in enumerate(outcomes) if one.status == "success"]
    answers = [
        (one.output, 1.0 if one.confidence is None else one.confidence)
        for one in (outcomes[at] for at in answered)
    ]
    doubts = [disputed[at] if at < len(disputed) else 0.0 for at in answered]
    vocabulary = {word for value in known for word in words(value)}
    met = [word for value in inputs for word in words(value)]
    unknown = sum(word not in vocabulary for word in met) / len(met) if met else 0.0
    reference = _reference("unlabelled", answers, are_labels, round(unknown, 4), inputs)
    return Survey(reference, _teaching([inputs[at] for at in answered], answers, doubts))


def _reference(
    source: str,
    answers: Sequence[tuple[Any, float]],
    are_labels: bool,
    unknown: float | None,
    inputs: Sequence[Any],
) -> Reference:
    n = max(1, len(answers))
    labels = Counter(jsonl.dumps(output) for output, _ in answers) if are_labels else Counter[str]()
    bins = Counter(min(_BINS - 1, int(sure * _BINS)) for _, sure in answers)
    lengths = Counter(length_bin(len(jsonl.dumps(value))) for value in inputs)
    return Reference(
        source,
        len(answers),
        {label: round(count / n, 4) for label, count in sorted(labels.items())},
        [round(bins[at] / n, 4) for at in range(_BINS)],
        unknown,
        [round(lengths[at] / len(inputs), 4) for at in range(LENGTHS)] if inputs else [],
    )


def _teaching(
    inputs: Sequence[Any], answers: Sequence[tuple[Any, float]], doubts: Sequence[float]
) -> list[Suggestion]:
    """The least sure answers (uncertainty sampling, Lewis and Gale 1994), near-duplicates once, and the answers in
    turn, so that one confusion does not take all the places. Answers that other programs dispute are as much less
    sure (query by committee, Seung, Opper and Sompolinsky 1992)."""
    answers = [(output, sure * (1 - doubt)) for (output, sure), doubt in zip(answers, doubts, strict=True)]
    groups = near_groups(inputs, [jsonl.canonical(value) for value in inputs])
    seen: set[int] = set()
    given: Counter[str] = Counter()
    ranked: list[tuple[int, float, int]] = []
    for at in sorted(range(len(inputs)), key=lambda at: answers[at][1]):
        if groups[at] not in seen:
            seen.add(groups[at])
            answer = jsonl.dumps(answers[at][0])
            ranked.append((given[answer], answers[at][1], at))
            given[answer] += 1
    chosen = sorted(sorted(ranked)[:SUGGESTIONS], key=lambda item: item[1])
    return [Suggestion(inputs[at], answers[at][0], round(sure, 4)) for _, sure, at in chosen]

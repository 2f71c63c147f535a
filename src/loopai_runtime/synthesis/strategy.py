"""The contract that every way of writing a program plugs into: what it is asked, what it answers.

A `Problem` is a task's schemas and examples. A `Strategy` says why it will not take one (`refuses`), or learns
from some of its rows (`fit`): one candidate program or several, as of several sizes. What it learned answers rows
it has not seen (`predict`) and becomes source text (`emit`). Strategies know nothing of folds, selection or
gates: `synthesize` treats them all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from loopai_runtime import jsonl
from loopai_runtime.synthesis.privacy import SUPPORTED_FROM, Admission, Forbidden

if TYPE_CHECKING:
    from loopai_runtime.synthesis.abstain import Offload

JSON: TypeAlias = Any
Rows: TypeAlias = Sequence[int]


class Prediction(NamedTuple):
    """An answer, the evidence for it as a number without scale, and how much of the input was unknown (0 to 1)."""

    output: JSON
    evidence: float
    novelty: float = 0.0


class Calibration(NamedTuple):
    """Turns evidence into a probability: 1 / (1 + exp(-(slope * evidence + offset - doubt * novelty)))."""

    slope: float
    offset: float
    doubt: float


@dataclass(frozen=True)
class Signs:
    """Further features, which come from outside: those of each input, and those that speak for a label by its key.

    `source` is a program's text that defines `signs(value)`, the names of the signs that an input has.
    """

    rows: Sequence[Sequence[str]]
    hints: dict[bytes, tuple[JSON, list[str]]]
    source: str


@dataclass(frozen=True)
class Problem:
    """A task and its examples. `groups[i]` names the near-duplicate group of row i, which no fold may split.

    `memo` is room for what a strategy computes once from the inputs alone, such as tokens; nothing that
    depends on outputs may be kept there, or folds would leak.
    """

    name: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    inputs: Sequence[JSON] = field(repr=False)
    outputs: Sequence[JSON] = field(repr=False)
    groups: Sequence[int] = field(repr=False)
    accuracy_target: float = 0.9
    offload_target: float = 0.9
    """The accuracy that what is answered must have, with `offload_confidence`."""
    offload_confidence: float = 0.95
    description: str = ""
    unlabelled: Sequence[JSON] = field(default=(), repr=False)
    """Inputs that nobody has answered."""
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    forbidden: Forbidden | None = field(default=None, repr=False)
    """Which constants no program may contain: personal data."""
    min_support: int = 2
    """Distinct inputs that a constant must occur in, from `supported_from` examples on."""
    supported_from: int = SUPPORTED_FROM
    most_sure: float = 1.0
    """What confidences may be on average at most: examples may be such as to say little of real inputs."""
    signs: Signs | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.inputs)

    def admission(self, rows: int) -> Admission:
        """What a program from so many of the examples may contain."""
        return Admission(self.forbidden, self.min_support if rows >= self.supported_from else 1)

    def part(self, rows: Rows) -> Problem:
        """The same task with some of its examples."""
        return replace(
            self,
            inputs=[self.inputs[row] for row in rows],
            outputs=[self.outputs[row] for row in rows],
            groups=[self.groups[row] for row in rows],
            signs=self.signs and replace(self.signs, rows=[self.signs.rows[row] for row in rows]),
            memo={},
        )

    @cached_property
    def keys(self) -> list[bytes]:
        """Each row's output as canonical JSON: what makes two outputs the same."""
        known: dict[str, bytes] = {}
        return [
            known.setdefault(output, jsonl.canonical(output))
            if isinstance(output, str)
            else jsonl.canonical(output)
            for output in self.outputs
        ]

    @cached_property
    def labels(self) -> list[JSON]:
        """The distinct outputs, ordered by their canonical JSON."""
        return [value for _, value in sorted(dict(zip(self.keys, self.outputs, strict=True)).items())]

    @cached_property
    def codes(self) -> list[int]:
        """Each row's output as its place in `labels`."""
        places = {key: place for place, key in enumerate(sorted(set(self.keys)))}
        return [places[key] for key in self.keys]

    @cached_property
    def distinct(self) -> list[bool]:
        """Whether a row is the first with its input: what support is counted over."""
        seen: set[bytes] = set()
        first = []
        for value in self.inputs:
            key = jsonl.canonical(value)
            first.append(key not in seen)
            seen.add(key)
        return first


class Fitted(Protocol):
    """What a strategy learned from some rows."""

    @property
    def features(self) -> int:
        """How many things the program looks at."""

    def predict(self, problem: Problem, rows: Rows) -> list[Prediction]:
        """Answers for rows of a problem (the one it was fitted on, or another of the same task), in order."""

    def emit(self, problem: Problem, calibration: Calibration) -> str:
        """The program: Python source that defines run, score and explain, on the standard library alone."""


class Strategy(Protocol):
    """One way of learning programs."""

    @property
    def names(self) -> Sequence[str]:
        """How people know the candidates it makes, unique among all, smallest first: `linear, small`, `linear`."""

    @property
    def kind(self) -> str:
        """rule, ml, hybrid, dsl, extract or llm."""

    def refuses(self, problem: Problem) -> str | None:
        """Why it cannot take this problem, in words for the user, or None."""

    def fit(self, problem: Problem, rows: Rows, seed: int) -> Sequence[Fitted]:
        """Learn from these rows alone; they have at least two distinct outputs. Deterministic in `seed`.

        One for each of `names`; a candidate that came out as the one before it is the same object again.
        """


class Progress(NamedTuple):
    """What goes on, and how much of the whole is done (0 to 1)."""

    what: str
    share: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """How one strategy did. Numbers are None where it was not tried."""

    name: str
    strategy: str
    won: bool
    verdict: str
    accuracy: float | None = None
    standard_error: float | None = None
    bytes: int | None = None
    microseconds: float | None = None
    seconds: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Suspect(NamedTuple):
    """An example that may be labelled wrongly: its row, its output, what a program that had not seen it
    answered."""

    row: int
    given: JSON
    answer: JSON
    confidence: float


class Question(NamedTuple):
    """An input that programs which fit the examples answer differently, and their answers, the likeliest first."""

    input: JSON
    answers: tuple[JSON, ...]


@dataclass(frozen=True, slots=True)
class Synthesis:
    """The program that was chosen, and all that was learned in choosing it.

    `accuracy` is out of fold and corrected for having picked the best of several candidates; `confidence_score`
    is the one-sided 90 % lower bound on accuracy on new inputs. `predictions[i]` is what a program that had not
    seen row i answered to it, with its calibrated confidence.
    """

    code: str = field(repr=False)
    strategy: str
    learner: str
    accuracy: float
    standard_error: float
    confidence_score: float
    confidence_kind: str
    candidates: list[Candidate]
    complexity: dict[str, int]
    judged: dict[str, Any]
    predictions: list[tuple[JSON, float]] = field(repr=False)
    offload: Offload
    suspects: list[Suspect] = field(repr=False)
    more_examples: int | None
    advice: str
    judged_rows: Sequence[int] | None = field(default=None, repr=False)
    """The rows that `predictions` are of; None: all of them."""
    unseen: Callable[[Rows], list[Prediction]] | None = field(default=None, repr=False, compare=False)
    """What a program made in the same way from all other rows answers to these; another is compared with that."""
    question: Question | None = field(default=None, repr=False)
    """What a person's answer to would settle which of the readings of the examples is meant."""
    disputed: Sequence[float] = field(default=(), repr=False)
    """For each unlabelled input (of the first of them) the weight of other programs that answer it otherwise."""

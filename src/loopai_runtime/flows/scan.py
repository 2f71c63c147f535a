"""Which of the tasks that a language model was asked could be programs: found in a log of its calls.

Calls are grouped by their prompt's template, what varies is the input, and the answers are what there is to learn.
A program from the earlier calls is tried on the later ones, in the sandbox, as it would have been in their place.
What is measured is agreement with the model, not accuracy: where the model was wrong, so is who agrees with it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest, jsonl
from loopai_runtime.datasets import history
from loopai_runtime.datasets.prompts import as_text, templates_of
from loopai_runtime.datasets.shapes import Answers, answers_of, schema_of
from loopai_runtime.errors import InputError, SpecError, StorageError
from loopai_runtime.files import make_dir, replace_file
from loopai_runtime.flows.measure import open_pool, run_inputs
from loopai_runtime.intervals import wilson
from loopai_runtime.redaction import flags
from loopai_runtime.sandbox import Program
from loopai_runtime.synthesis import specfile
from loopai_runtime.synthesis.abstain import EVERYTHING
from loopai_runtime.synthesis.near import near_groups
from loopai_runtime.synthesis.strategy import Problem
from loopai_runtime.synthesis.synthesize import synthesize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.datasets.calls import Call
    from loopai_runtime.datasets.history import Past
    from loopai_runtime.datasets.prompts import Template
    from loopai_runtime.layout import Layout
    from loopai_runtime.sandbox import SyncPool
    from loopai_runtime.synthesis.strategy import Synthesis

LEARNED_FROM, TRIED_ON = 5000, 2000
BUDGET_S = 20.0
"""Seconds of judging candidates for one task: a verdict needs no perfect program."""
_LATER = 0.2  # of the calls, that a program from the earlier ones is tried on
_FEWEST = 20
_DAY = 86_400
# Words that begin many instructions.
_NO_NAME = """a an and answer are as assistant at be following for from given helpful in into is it its of on one
 only or please that the their this to what which with word you your"""


@dataclass(frozen=True)
class Found:
    """A task in the log, and what a program could do of it. Money is in US dollars, None where unknown.

    `agreement` is with the model's own answers to the later calls: of all, and of those that would be answered.
    """

    task_id: str
    template: str
    inputs: list[Any] = field(repr=False)
    outputs: list[Any] = field(repr=False)
    input_schema: dict[str, Any] = field(repr=False)
    output_schema: dict[str, Any] = field(repr=False)
    form: str
    calls: int
    odd: int
    models: list[str]
    calls_a_day: float | None
    usd_a_day: float | None
    verdict: str
    answered: float
    agreement: dict[str, float] | None
    agreement_answered: dict[str, float] | None
    learner: str | None
    past: Past | None = field(repr=False)

    @property
    def compiles(self) -> bool:
        return self.verdict.startswith("compile")

    @property
    def usd_a_day_after(self) -> float | None:
        return None if self.usd_a_day is None else self.usd_a_day * (1 - self.answered)

    def as_dict(self) -> dict[str, Any]:
        hidden = ("inputs", "outputs", "past")
        shown = {name: value for name, value in vars(self).items() if name not in hidden}
        return shown | {"usd_a_day_after": self.usd_a_day_after}


def keep(found: Found, layout: Layout, target: float) -> str:
    """Write the task's specification and its calls into the data directory, for `generate`; the task's name.

    A task of that name that is another one keeps it, and this one gets a number. Raises StorageError.
    """
    name = _unused(found, layout)
    make_dir(layout.task(name))
    rows = [{"input": i, "output": o} for i, o in zip(found.inputs, found.outputs, strict=True)]
    at_rest.replace(layout, layout.calls(name), b"".join(jsonl.compact(row) + b"\n" for row in rows))
    if found.past is not None:
        history.begin(layout, name, found.past)
    agreement = found.agreement["low"] if found.agreement else 1.0
    document = {
        "name": name,
        "description": found.template,
        "input_schema": found.input_schema,
        "output_schema": found.output_schema,
        "examples_from": [{"file": layout.calls(name).name}],
        # What abstaining makes good need not be reached by all answers.
        "accuracy_target": round(max(0.01, min(target, agreement - 0.03)), 2),
        "abstain": {"target_accuracy": target},
    }
    replace_file(layout.spec(name), jsonl.dumps(document).encode("utf-8") + b"\n")  # JSON is YAML
    return name


def _unused(found: Found, layout: Layout) -> str:
    for n in range(1, 1000):
        name = found.task_id if n == 1 else f"{found.task_id}-{n}"
        if not layout.spec(name).exists() or specfile.load(layout.spec(name)).spec.description == found.template:
            return name
    raise StorageError("has a thousand tasks of this name", where=str(layout.root))


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for a million tokens, for calls whose log does not say what they cost."""

    input: float
    output: float


def scan(
    calls: Sequence[Call],
    config: Config,
    *,
    target: float = 0.95,
    prices: Prices | None = None,
    tell: Callable[[str, float | None], None] = lambda _what, _share: None,
) -> list[Found]:
    """Every task in the calls, the most frequent first. `target`: the agreement that answers must have."""
    tell("looking for templates", None)
    texts = [as_text(call.messages) for call in calls]
    groups = templates_of(texts, lambda one, other: alike(calls, one, other))
    found: list[Found] = []
    with open_pool(config, workers=1) as pool:
        for at, (template, rows) in enumerate(groups):
            tell(f"trying {template.shown()[:40]!r}", at / len(groups))
            ordered = sorted(rows, key=lambda row: (calls[row].at or 0.0, row))
            name = _name(template, {one.task_id for one in found})
            inputs = inputs_of(template, [texts[row] for row in ordered])
            trial = _Trial(name, template, [calls[row] for row in ordered], inputs, config, target)
            found.append(trial.found(pool, prices))
    return found


def alike(calls: Sequence[Call], one: list[int], other: list[int]) -> bool:
    """Whether two groups of calls are answered in the same way."""
    first, second = (answers_of([calls[row].answer for row in rows[:200]]) for rows in (one, other))
    if first.form != second.form:
        return False
    if first.form == "labels":
        a, b = set(first.schema["enum"]), set(second.schema["enum"])
        return 2 * len(a & b) >= min(len(a), len(b))
    return set(first.schema.get("properties", ())) == set(second.schema.get("properties", ()))


def inputs_of(template: Template, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The inputs of prompts; an object that always stands at the one place for input is the input itself."""
    inputs = [template.inputs(text) or {} for text in texts]
    if len(template.names) == 1:
        parsed = [_object(one[template.names[0]]) for one in inputs]
        if all(value is not None for value in parsed):
            return [value for value in parsed if value is not None]
    return inputs


def _object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = jsonl.loads(text)
    except InputError:
        return None
    return value if isinstance(value, dict) else None


class _Trial:
    """One task: a program from its earlier calls, beside the model on its later ones."""

    def __init__(
        self,
        name: str,
        template: Template,
        calls: Sequence[Call],
        inputs: list[dict[str, Any]],
        config: Config,
        target: float,
    ) -> None:
        self._name, self._template, self._calls, self._config, self._target = name, template, calls, config, target
        self._answers: Answers = answers_of([call.answer for call in calls])
        kept = [row for row, value in enumerate(self._answers.values) if value is not None]
        self._inputs = [inputs[row] for row in kept]
        self._outputs = [self._answers.values[row] for row in kept]
        self._input_schema = schema_of(self._inputs)
        self._output_schema = self._answers.schema

    def found(self, pool: SyncPool, prices: Prices | None) -> Found:
        later = max(1, int(_LATER * len(self._inputs)))
        early = _some(range(len(self._inputs) - later), LEARNED_FROM)
        late = _some(range(len(self._inputs) - later, len(self._inputs)), TRIED_ON)
        made, why_not = self._learned(early)
        answered, everything, given = 0.0, None, None
        if made is not None:
            everything, given, answered = self._tried(pool, made, late)
            why_not = self._why_not(made, given)
            answered = 0.0 if why_not else answered
        verdict = f"don't: {why_not}" if why_not else self._good(answered)
        span = self._days()
        usd = self._usd(prices)
        return Found(
            task_id=self._name,
            template=self._template.shown(),
            inputs=self._inputs,
            outputs=self._outputs,
            input_schema=self._input_schema,
            output_schema=self._output_schema,
            form=self._answers.form,
            calls=len(self._calls),
            odd=self._answers.odd,
            models=sorted({call.model for call in self._calls if call.model}),
            calls_a_day=None if span is None else len(self._calls) / span,
            usd_a_day=None if span is None or usd is None else usd * len(self._calls) / span,
            verdict=verdict,
            answered=answered,
            agreement=everything,
            agreement_answered=given,
            learner=made.learner if made else None,
            past=history.of([replace(call, usd=_cost(call, prices)) for call in self._calls]),
        )

    def _learned(self, rows: Sequence[int]) -> tuple[Synthesis | None, str]:
        if len(rows) < _FEWEST:
            return None, f"too few calls ({len(self._calls)}) to tell"
        inputs = [self._inputs[row] for row in rows]
        problem = Problem(
            name=self._name,
            input_schema=self._input_schema,
            output_schema=self._output_schema,
            inputs=inputs,
            outputs=[self._outputs[row] for row in rows],
            groups=near_groups(inputs, [jsonl.canonical(value) for value in inputs]),
            accuracy_target=self._target,
            offload_target=self._target,
            forbidden=flags,
            min_support=self._config.privacy.min_support,
        )
        try:
            return synthesize(problem, strategy="auto", seed=0, budget_s=BUDGET_S), ""
        except SpecError:
            return (
                None,
                "free text" if self._answers.form == "text" else "nothing that fits the answers generalises",
            )

    def _tried(
        self, pool: SyncPool, made: Synthesis, rows: Sequence[int]
    ) -> tuple[dict[str, float], dict[str, float] | None, float]:
        """Agreement on the later calls, that of the answers given, and the share of calls that is answered."""
        timeout, memory = self._config.execution.timeout_ms, self._config.execution.memory_mb
        program = Program(self._name, made.code, timeout, memory)
        outcomes = run_inputs(pool, program, [self._inputs[row] for row in rows])
        floor = made.offload.threshold
        same = [
            outcome.status == "success" and jsonl.canonical(outcome.output) == jsonl.canonical(self._outputs[row])
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
        given = [
            hit
            for hit, outcome in zip(same, outcomes, strict=True)
            if floor is not None and outcome.status == "success" and (outcome.confidence or 0.0) >= floor
        ]
        return _interval(same), _interval(given) if given else None, len(given) / len(rows)

    def _why_not(self, made: Synthesis, given: dict[str, float] | None) -> str:
        if made.offload.threshold is None or given is None:
            if self._answers.form == "text":
                return "free text"
            words = made.offload.verdict.removeprefix("don't compile this: ")
            return words.replace("more examples", "more calls")
        if given["high"] < self._target:
            return f"on later calls only {given['value']:.0%} of its answers agree; the task changes with time"
        return ""

    @staticmethod
    def _good(answered: float) -> str:
        return "compile" if answered >= EVERYTHING else f"compile + abstain: {answered:.0%} answered"

    def _days(self) -> float | None:
        times = [call.at for call in self._calls if call.at is not None]
        if len(times) < 2 or max(times) == min(times):
            return None
        # Between n calls lie n - 1 gaps.
        return (max(times) - min(times)) / _DAY * len(times) / (len(times) - 1)

    def _usd(self, prices: Prices | None) -> float | None:
        """What a call costs on average, of those of which it is known."""
        known = [usd for call in self._calls if (usd := _cost(call, prices)) is not None]
        return sum(known) / len(known) if known else None


def _cost(call: Call, prices: Prices | None) -> float | None:
    if call.usd is not None:
        return call.usd
    if prices is None or call.prompt_tokens is None or call.completion_tokens is None:
        return None
    return (call.prompt_tokens * prices.input + call.completion_tokens * prices.output) / 1e6


def _interval(hits: Sequence[bool]) -> dict[str, float]:
    low, high = wilson(sum(hits), len(hits))
    return {"value": sum(hits) / len(hits), "low": low, "high": high, "n": len(hits)}


def _some(rows: range, most: int) -> list[int]:
    if len(rows) <= most:
        return list(rows)
    return sorted(random.Random(0).sample(rows, most))  # noqa: S311  a sample, not a secret


def _name(template: Template, taken: set[str]) -> str:
    """A slug of the words that the instruction begins with, in the message where the input stands."""
    words = list(_words(template))[:4] or ["task"]
    slug = "-".join(words)[:50].strip("-")
    return next(name for n in range(1, 1000) if (name := slug if n == 1 else f"{slug}-{n}") not in taken)


def _words(template: Template) -> Iterator[str]:
    shown = re.sub(r"\{\w+\}", " ", template.asked())
    unwanted, seen = set(_NO_NAME.split()), set()
    for word in re.findall(r"[a-z0-9]+", shown.lower()):
        if word not in unwanted and word not in seen and len(word) < 20:
            seen.add(word)
            yield word

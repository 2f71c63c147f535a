"""A specification becomes a version: read -> synthesize -> measure in the sandbox -> gate -> store."""

from __future__ import annotations

import base64
import hmac
import math
import time
from dataclasses import asdict, dataclass, field, replace
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import Fault, GateMissed, ProgramError, SpecError, UsageError
from loopai_runtime.flows.gather import gather, most_sure, said, sources, tempered
from loopai_runtime.flows.measure import Latency, latency_of, open_pool, run_inputs
from loopai_runtime.flows.survey import Survey, of_examples, of_unlabelled, some
from loopai_runtime.models import (
    AbstainThreshold,
    Complexity,
    ProgramArtifact,
    SynthesisStrategy,
    TaskSpecification,
    VersionStatus,
    new_id,
    utc_now,
)
from loopai_runtime.redaction import Redactor, flags
from loopai_runtime.sandbox import Program
from loopai_runtime.synthesis import examples as example_files
from loopai_runtime.synthesis.strategy import Problem
from loopai_runtime.synthesis.synthesize import INTERRUPTED, synthesize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.flows.writing import Writer, Writing
    from loopai_runtime.layout import Layout
    from loopai_runtime.synthesis.examples import Example, ExampleSet
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.synthesis.strategy import Synthesis
    from loopai_runtime.synthesis.writer.write import Prompts

# Enough inputs for a p99; more would only cost time.
MEASURED_INPUTS = 2000
MEASURED_AGAIN = 3
"""Times that inputs over the latency target are measured again, each keeping its best where too many of them are:
what a busy machine adds is not the program's."""
MOST_SUSPECTS = 50
OFFLOAD_CONFIDENCE = 0.95
"""With which safe offload is reported where a specification does not say."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the lifecycle asks of a new version, and whether it got it."""

    accuracy_target: float
    accuracy: float
    latency_target_ms: float
    p99_ms: float

    @property
    def accuracy_met(self) -> bool:
        return self.accuracy >= self.accuracy_target

    @property
    def latency_met(self) -> bool:
        return self.p99_ms <= self.latency_target_ms

    @property
    def met(self) -> bool:
        return self.accuracy_met and self.latency_met


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one seed."""

    seed: int
    learner: str
    accuracy: float
    confidence_score: float
    bytes: int

    @classmethod
    def of(cls, seed: int, made: Synthesis) -> Run:
        return cls(seed, made.learner, round(made.accuracy, 6), made.confidence_score, made.complexity["bytes"])


@dataclass(frozen=True, slots=True)
class Generated:
    """A stored version, and all that was learned in making it."""

    artifact: ProgramArtifact
    status: VersionStatus
    activated: bool
    active_version: int | None
    gate: Gate
    latency: Latency
    synthesis: Synthesis = field(repr=False)
    examples: ExampleSet = field(repr=False)
    survey: Survey = field(repr=False)
    writing: Writing | None = field(default=None, repr=False)
    """What a language model was asked for, if one was named."""
    spread: list[Run] = field(default_factory=list, repr=False)
    """How it comes out with other seeds, the first one's first."""
    tempered: str | None = None
    """Why its confidence is lower than its examples alone would have it, in a line."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of where the examples and the program came from."""
        lines = [said(self.artifact.judged["sources"]), self.tempered, self._spread()]
        return [line for line in lines if line] + (self.writing.notes if self.writing else [])

    def _spread(self) -> str | None:
        if len(self.spread) < 2:
            return None
        values = [run.accuracy for run in self.spread]
        return (
            f"accuracy with {len(values)} seeds: {mean(values):.1%} on average, from {min(values):.1%} to"
            f" {max(values):.1%}, standard deviation {100 * stdev(values):.1f} points"
        )

    @property
    def suspects(self) -> list[dict[str, Any]]:
        """The examples that look mislabelled, the surest first, with the place they came from."""
        places = self.examples.examples
        return [
            {
                "where": places[one.row].where,
                "given": one.given,
                "answer": one.answer,
                "confidence": one.confidence,
            }
            for one in self.synthesis.suspects
        ]

    def require(self) -> None:
        """Raises GateMissed if the version is a draft."""
        if not self.gate.met:
            missed = "accuracy_target" if not self.gate.accuracy_met else "latency_target_ms"
            raise GateMissed(
                f"{self.artifact.task_id}@{self.artifact.version} misses its {missed}: kept as a draft"
            )

    def summary(self) -> dict[str, Any]:
        """What `generate -o json` prints."""
        artifact = self.artifact
        return {
            "task_id": artifact.task_id,
            "version": artifact.version,
            "status": self.status.value,
            "activated": self.activated,
            "active_version": self.active_version,
            "strategy": artifact.synthesis_strategy.value,
            "learner": artifact.learner,
            "accuracy": artifact.accuracy,
            "accuracy_target": artifact.accuracy_target,
            "confidence_score": artifact.confidence_score,
            "confidence_kind": artifact.confidence_kind,
            "latency_ms": artifact.latency_ms,
            "latency_target_ms": artifact.latency_target_ms,
            "complexity_metrics": artifact.complexity_metrics.model_dump(),
            "generation_time_sec": artifact.generation_time_sec,
            "examples": artifact.judged["examples"],
            "labels": artifact.judged["labels"],
            "candidates": artifact.candidates,
            "safe_offload": self.synthesis.offload.as_dict(),
            "abstain": artifact.abstain.model_dump() if artifact.abstain else None,
            "suspects": self.suspects[:MOST_SUSPECTS],
            "suggestions": [one.as_dict() for one in self.survey.suggestions],
            "warnings": [str(warning) for warning in self.examples.warnings],
            "sources": artifact.judged["sources"],
            "spread": [asdict(run) for run in self.spread],
            "llm": self.writing.as_dict() if self.writing else None,
        }


@dataclass(frozen=True, slots=True)
class Ask:
    """How a version is wanted; None: as the specification says. `tell` hears what a user must know at once."""

    strategy: str | None = None
    seed: int | None = None
    budget_s: float = math.inf
    model: str | None = None
    max_cost_usd: float | None = None
    accept: bool = False
    """Whether examples that a model makes up are taken without a person's look."""
    variance: int = 1
    """With how many seeds to try it; the first one's program is kept."""
    tell: Callable[[str], None] = lambda _line: None


def generate(
    loaded: Loaded,
    layout: Layout,
    config: Config,
    ask: Ask | None = None,
    *,
    lock_timeout_s: float = 0.0,
    progress: Callable[[str, float | None], None] | None = None,
) -> Generated:
    """Write, check and store a new version of the task in `loaded`.

    After `budget_s` seconds of judging, and on KeyboardInterrupt, the best candidate so far is taken.
    `progress(what, share)` hears what is going on, `share` in [0, 1] or None. Raises SpecError for examples
    that do not fit, Busy if the task is locked, PolicyRefused or ProgramError if the program that was written
    does not run, StorageError. A version that misses its targets is stored all the same, as a draft.
    """
    ask = ask or Ask()
    show = progress or (lambda _what, _share: None)
    spec = loaded.spec
    with layout.lock(spec.task_id, lock_timeout_s):
        started = time.monotonic()
        show("reading examples", None)
        seed = spec.generate.seed if ask.seed is None else ask.seed
        writer = writer_of(spec, layout, config, ask)
        examples = examples_of(loaded, layout, config, ask, seed, writer)
        written = write(loaded, layout, config, ask, examples, writer, show, started=started)
        show("storing", None)
        return keep(written, loaded, layout)


@dataclass(frozen=True, slots=True)
class Written:
    """A version that is not stored yet, and all that was learned in making it."""

    artifact: ProgramArtifact
    gate: Gate
    latency: Latency
    synthesis: Synthesis = field(repr=False)
    examples: ExampleSet = field(repr=False)
    survey: Survey = field(repr=False)
    writing: Writing | None = field(repr=False)
    spread: list[Run] = field(repr=False)
    tempered: str | None


def write(
    loaded: Loaded,
    layout: Layout,
    config: Config,
    ask: Ask,
    examples: ExampleSet,
    writer: Writer | None,
    show: Callable[[str, float | None], None],
    *,
    started: float | None = None,
) -> Written:
    """Write a version from `examples`, and judge it. Stores nothing. Raises as `generate`."""
    started = time.monotonic() if started is None else started
    spec, seed = loaded.spec, loaded.spec.generate.seed if ask.seed is None else ask.seed
    unlabelled = some(example_files.load_unlabelled(loaded), seed)
    problem = problem_of(spec, examples, config, unlabelled)
    synthesis = synthesized(spec, problem, config, ask, seed, writer, show)
    others = range(seed + 1, seed + ask.variance)
    more = [Run.of(at, synthesized(spec, problem, config, ask, at, writer, show)) for at in others]
    spread = [Run.of(seed, synthesis), *more]
    synthesis, why = tempered(synthesis, examples)
    show("measuring in the sandbox", None)
    latency, survey = measure(synthesis, spec, examples, unlabelled, config)
    gate = Gate(spec.accuracy_target, synthesis.accuracy, spec.latency_target_ms, latency.p99)
    artifact = describe(spec, examples, synthesis, latency, survey, layout, config, time.monotonic() - started)
    writing = writer.report() if writer else None
    if writing is not None:
        artifact = _paid(artifact, writing)
    return Written(artifact, gate, latency, synthesis, examples, survey, writing, spread, why)


def keep(written: Written, loaded: Loaded, layout: Layout, *, may_serve: bool = True) -> Generated:
    """Store a version and what it was made of; the caller holds the task's lock. It serves at once where it met
    its targets and nothing serves yet, if it may. Raises StorageError."""
    example_files.save(layout, loaded, written.examples)
    if written.survey.suggestions:
        written.survey.save(layout.suggestions(loaded.spec.task_id))
    made = _store(written, layout, may_serve)
    return replace(made, writing=written.writing, tempered=written.tempered, spread=written.spread)


def examples_of(
    loaded: Loaded, layout: Layout, config: Config, ask: Ask, seed: int, writer: Writer | None
) -> ExampleSet:
    """The task's examples; where it has none, a model makes some up. Raises as `make_up` does, and SpecError."""
    try:
        return gather(loaded, layout)
    except example_files.NoExamples:
        if writer is None or not writer.may_spend:
            raise
    from loopai_runtime.flows.invent import make_up

    nothing = problem_of(loaded.spec, example_files.describe([]), config)
    make_up(loaded, nothing, layout, config, writer, accept=ask.accept, seed=seed, tell=ask.tell)
    return gather(loaded, layout)


def preview(loaded: Loaded, layout: Layout, config: Config, ask: Ask) -> Prompts:
    """The prompts that generate would begin with and the most it could cost; makes no call and writes nothing.

    Raises SpecError, ModelError, MissingExtra; UsageError where no model is named.
    """
    writer = writer_of(loaded.spec, layout, config, ask)
    if writer is None:
        raise UsageError("--dry-run shows what a language model would be asked", hint="--model NAME names one")
    try:
        examples = gather(loaded, layout)
    except example_files.NoExamples:
        examples = example_files.describe([])
    seed = loaded.spec.generate.seed if ask.seed is None else ask.seed
    return writer.preview(problem_of(loaded.spec, examples, config), seed)


def writer_of(spec: TaskSpecification, layout: Layout, config: Config, ask: Ask) -> Writer | None:
    """The model that writes, None where none is named or the strategy is another one.

    Raises SpecError where the strategy needs a model and none is named.
    """
    strategy = ask.strategy or spec.generate.strategy
    model = ask.model or spec.generate.model
    if model is None and strategy == "llm":
        fault = Fault("the strategy llm needs a model", path="$.generate.model")
        raise SpecError([fault], hint="--model NAME, or generate: {model: NAME}")
    if model is None or strategy not in ("auto", "llm"):
        return None
    from loopai_runtime.flows.writing import Writer

    most = spec.generate.max_cost_usd if ask.max_cost_usd is None else ask.max_cost_usd
    return Writer(spec, layout, config, model=model, max_cost_usd=most, tell=ask.tell)


def synthesized(
    spec: TaskSpecification,
    problem: Problem,
    config: Config,
    ask: Ask,
    seed: int,
    writer: Writer | None,
    show: Callable[[str, float | None], None],
) -> Synthesis:
    """The best program: of the offline candidates, and of a language model where there is one."""
    strategy = ask.strategy or spec.generate.strategy
    try:
        offline: Synthesis | None = synthesize(
            problem,
            strategy="auto" if strategy == "llm" else strategy,
            seed=seed,
            budget_s=ask.budget_s,
            progress=lambda step: show(step.what, step.share),
        )
    except SpecError as error:
        if writer is None:
            raise
        offline, nothing = None, error
    if writer is None or (offline is not None and offline.judged.get("stopped") == INTERRUPTED):
        assert offline is not None
        return offline
    timeout_ms = config.timeout_ms(spec.timeout_ms)
    with open_pool(config, workers=1) as pool:
        made = writer.write(
            problem,
            offline,
            pool,
            seed=seed,
            forced=strategy == "llm",
            timeout_ms=timeout_ms,
            memory_mb=config.execution.memory_mb,
            progress=lambda what: show(what, None),
        )
    if made is None:
        for note in writer.notes:
            ask.tell(note)
        raise nothing
    return made


def _paid(artifact: ProgramArtifact, writing: Writing) -> ProgramArtifact:
    """The metadata with who was asked and what it cost."""
    who = (
        {"llm_provider": writing.provider or None, "llm_model": writing.model}
        if writing.calls or writing.cached
        else {}
    )
    return artifact.model_copy(update={**who, "generation_cost": round(writing.usd, 9)})


def problem_of(
    spec: TaskSpecification, examples: ExampleSet, config: Config, unlabelled: Sequence[Any] = ()
) -> Problem:
    return Problem(
        name=spec.name,
        description=Redactor().text(spec.description),
        input_schema=spec.input_schema,
        output_schema=spec.output_schema,
        inputs=[example.input for example in examples.examples],
        outputs=[example.output for example in examples.examples],
        groups=examples.groups,
        unlabelled=unlabelled,
        accuracy_target=spec.accuracy_target,
        offload_target=spec.abstain.target_accuracy if spec.abstain else min(spec.accuracy_target, 0.999),
        offload_confidence=spec.abstain.confidence if spec.abstain else OFFLOAD_CONFIDENCE,
        forbidden=flags,
        min_support=config.privacy.min_support,
        most_sure=most_sure(examples),
    )


def _latency(times: list[float], target_ms: float, again: Callable[[int], float]) -> Latency:
    """The latency of calls; `again` calls with the input at a place again. Changes `times`."""
    for _ in range(MEASURED_AGAIN):
        if latency_of(times).p99 <= target_ms:
            break
        for at, ms in enumerate(times):
            if ms > target_ms:
                times[at] = min(ms, again(at))
    return latency_of(times)


def measure(
    synthesis: Synthesis, spec: TaskSpecification, examples: ExampleSet, unlabelled: list[Any], config: Config
) -> tuple[Latency, Survey]:
    """Run the program where it will live, on examples and on inputs that nobody has answered.

    Raises PolicyRefused or ProgramError if it does not run there.
    """
    inputs = [example.input for example in examples.examples]
    measured = inputs[:MEASURED_INPUTS]
    program = Program(
        key=spec.task_id,
        source=synthesis.code,
        timeout_ms=config.timeout_ms(spec.timeout_ms),
        memory_mb=config.execution.memory_mb,
    )
    with open_pool(config, workers=1) as pool:
        outcomes = run_inputs(pool, program, [*measured, *unlabelled])
        outcomes, others = outcomes[: len(measured)], outcomes[len(measured) :]
        times = [outcome.wall_ms for outcome in outcomes]
        latency = _latency(times, spec.latency_target_ms, lambda at: pool.call(program.key, measured[at]).wall_ms)
    failed = next((outcome for outcome in outcomes if outcome.status == "error"), None)
    if failed is not None and failed.error is not None:
        raise ProgramError(
            f"the program that was written does not run: {failed.error.message}",
            type=failed.error.type,
            line=failed.error.line,
        )
    are_labels = bool(examples.label_counts)
    if others:
        return latency, of_unlabelled(unlabelled, others, inputs, are_labels, synthesis.disputed)
    return latency, of_examples(synthesis.predictions, are_labels, inputs)


def describe(
    spec: TaskSpecification,
    examples: ExampleSet,
    synthesis: Synthesis,
    latency: Latency,
    survey: Survey,
    layout: Layout,
    config: Config,
    seconds: float,
) -> ProgramArtifact:
    """The metadata of the new version, but for its number and digests, which the store gives it."""
    return ProgramArtifact(
        id=new_id(),
        task_id=spec.task_id,
        version=1,
        description=spec.description,
        synthesis_strategy=SynthesisStrategy(synthesis.strategy),
        learner=synthesis.learner,
        confidence_score=synthesis.confidence_score,
        confidence_kind=synthesis.confidence_kind,
        accuracy={
            "value": round(synthesis.accuracy, 6),
            "standard_error": round(synthesis.standard_error, 6),
            "n": len(examples.examples),
        },
        latency_ms=latency.as_dict(),
        accuracy_target=spec.accuracy_target,
        latency_target_ms=spec.latency_target_ms,
        timeout_ms=spec.timeout_ms,
        memory_mb=config.execution.memory_mb,
        input_schema=spec.input_schema,
        output_schema=spec.output_schema,
        sampling_rate=spec.sampling_rate,
        complexity_metrics=Complexity(**synthesis.complexity),
        generation_time_sec=round(seconds, 3),
        judged={
            **synthesis.judged,
            "examples": len(examples.examples),
            "labels": examples.label_counts,
            "sources": sources(examples),
            "rows": row_hashes(examples.examples, layout.secret("rows")),
            "safe_offload": synthesis.offload.as_dict(),
            "reference": survey.reference.as_dict(),
        },
        abstain=_threshold(spec, synthesis),
        candidates=[candidate.as_dict() for candidate in synthesis.candidates],
        created_at=utc_now(),
    )


def _threshold(spec: TaskSpecification, synthesis: Synthesis) -> AbstainThreshold | None:
    """Below which score the runtime abstains; none where the specification does not ask for that."""
    if spec.abstain is None:
        return None
    return AbstainThreshold(
        threshold=synthesis.offload.threshold,
        target_accuracy=spec.abstain.target_accuracy,
        confidence=spec.abstain.confidence,
        on_abstain=spec.abstain.on_abstain,
    )


ROW_HASH_BYTES = 8


def rows_of(artifact: ProgramArtifact) -> set[bytes]:
    """The keyed hashes of the inputs that a version was made from, as `row_hashes` wrote them."""
    packed = base64.b64decode((artifact.judged.get("rows") or {}).get("hashes", ""))
    return {packed[at : at + ROW_HASH_BYTES] for at in range(0, len(packed), ROW_HASH_BYTES)}


def row_hashes(examples: Sequence[Example], key: bytes) -> dict[str, Any]:
    """Which rows a version has seen, as keyed hashes: they tell this edge and nobody else.

    HMAC-SHA256 over the canonical JSON of the input, its first 8 bytes, concatenated and in base64.
    """
    digests = [hmac.digest(key, jsonl.canonical(example.input), "sha256")[:ROW_HASH_BYTES] for example in examples]
    return {"algorithm": "hmac-sha256-64", "hashes": base64.b64encode(b"".join(digests)).decode("ascii")}


def _store(written: Written, layout: Layout, may_serve: bool) -> Generated:
    store, gate, artifact = ArtifactStore(layout), written.gate, written.artifact
    active = store.active_version(artifact.task_id)
    activated = gate.met and active is None and may_serve
    status = VersionStatus.VALIDATED if gate.met else VersionStatus.DRAFT
    if activated:
        status = VersionStatus.ACTIVE  # in the write that lists it, so that no kill leaves it listed and idle
    stored = store.add(artifact, written.synthesis.code, status)
    active = stored.version if activated else active
    about = (written.latency, written.synthesis, written.examples, written.survey)
    return Generated(stored, status, activated, active, gate, *about)

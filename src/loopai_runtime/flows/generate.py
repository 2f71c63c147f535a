"""A specification becomes a version: read -> synthesize -> measure in the sandbox -> gate -> store."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import Fault, SpecError, UsageError
from loopai_runtime.flows.describe import describe, paid
from loopai_runtime.flows.first_run import measure
from loopai_runtime.flows.gather import gather, most_sure, tempered
from loopai_runtime.flows.generated import Gate, Generated, Run, Written
from loopai_runtime.flows.measure import open_pool
from loopai_runtime.flows.settle import settled
from loopai_runtime.flows.survey import some
from loopai_runtime.models import (
    TaskSpecification,
    VersionStatus,
)
from loopai_runtime.redaction import Redactor, flags
from loopai_runtime.synthesis import examples as example_files
from loopai_runtime.synthesis.strategy import Problem
from loopai_runtime.synthesis.synthesize import INTERRUPTED, synthesize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.flows.writing import Writer
    from loopai_runtime.layout import Layout
    from loopai_runtime.synthesis.examples import ExampleSet
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.synthesis.strategy import Question, Synthesis
    from loopai_runtime.synthesis.writer.write import Prompts

OFFLOAD_CONFIDENCE = 0.95
"""With which safe offload is reported where a specification does not say."""


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
    settle: Callable[[Question], str | None] | None = None
    """Answers a question with a key of `settle.keys` or an output, None leaves it open. None: nobody is there."""


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

    After `ask.budget_s` seconds, and on KeyboardInterrupt, the best candidate so far is taken. Where a model
    writes too, the offline candidates have half of what is left when it is their turn, and it has the rest.
    `progress(what, share)` hears what is going on, `share` in [0, 1] or None. A version that misses its targets is
    stored all the same, as a draft. Raises SpecError for examples that do not fit, Busy if the task is locked,
    PolicyRefused or ProgramError if the program that was written does not run, StorageError.
    """
    ask = ask or Ask()
    show = progress or (lambda _what, _share: None)
    spec = loaded.spec
    with layout.lock(spec.task_id, lock_timeout_s):
        started = time.monotonic()
        show("reading examples", None)
        seed = spec.generate.seed if ask.seed is None else ask.seed
        writer = writer_of(spec, layout, config, ask)
        if writer is not None:
            writer.answer_by(started + ask.budget_s)
        examples = examples_of(loaded, layout, config, ask, seed, writer)
        written = write(loaded, layout, config, ask, examples, writer, show, started=started)
        show("storing", None)
        return keep(written, loaded, layout)


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
    unlabelled = some(example_files.load_unlabelled(loaded, layout.vault), seed)
    until = started + ask.budget_s

    def make(examples: ExampleSet, at: int, to_come: int) -> Synthesis:
        """With seed `at`, in its share of the time that is left."""
        now, problem = time.monotonic(), problem_of(spec, examples, config, unlabelled)
        return synthesized(spec, problem, config, ask, at, writer, show, now + (until - now) / to_come)

    synthesis = make(examples, seed, ask.variance)
    if ask.settle is not None:
        again = partial(make, at=seed, to_come=ask.variance)
        examples, synthesis = settled(loaded, layout, examples, synthesis, ask.settle, ask.tell, again)
    others = [(seed + at, make(examples, seed + at, ask.variance - at)) for at in range(1, ask.variance)]
    spread = [Run.of(at, one) for at, one in [(seed, synthesis), *others]]
    synthesis, why = tempered(synthesis, examples)
    show("measuring in the sandbox", None)
    latency, survey = measure(synthesis, spec, examples, unlabelled, config)
    gate = Gate(spec.accuracy_target, synthesis.accuracy, spec.latency_target_ms, latency.p99)
    artifact = describe(spec, examples, synthesis, latency, survey, layout, config, time.monotonic() - started)
    writing = writer.report() if writer else None
    if writing is not None:
        artifact = paid(artifact, writing)
    return Written(artifact, gate, latency, synthesis, examples, survey, writing, spread, why)


def keep(written: Written, loaded: Loaded, layout: Layout, *, may_serve: bool = True) -> Generated:
    """Store a version and what it was made of; the caller holds the task's lock. It serves at once where it met
    its targets and nothing serves yet, if it may. Raises StorageError."""
    example_files.save(layout, loaded, written.examples)
    if written.survey.suggestions:
        written.survey.save(layout, layout.suggestions(loaded.spec.task_id))
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
    until: float,
) -> Synthesis:
    """The best program: of the offline candidates, and of a language model where there is one, by `until`."""
    strategy = ask.strategy or spec.generate.strategy
    left_s = max(0.0, until - time.monotonic())
    if writer is not None:
        writer.answer_by(until)
    try:
        offline: Synthesis | None = synthesize(
            problem,
            strategy="auto" if strategy == "llm" else strategy,
            seed=seed,
            budget_s=left_s / 2 if writer and writer.may_spend else left_s,
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

"""A specification becomes a version: read -> synthesize -> measure in the sandbox -> gate -> store."""

from __future__ import annotations

import base64
import hmac
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import GateMissed, ProgramError
from loopai_runtime.flows.measure import Latency, latency_of, open_pool, run_inputs
from loopai_runtime.flows.pii import Leak, leaks_of_program
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
from loopai_runtime.redaction import flags
from loopai_runtime.sandbox import Program
from loopai_runtime.synthesis import examples as example_files
from loopai_runtime.synthesis.strategy import Problem
from loopai_runtime.synthesis.synthesize import synthesize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.synthesis.examples import Example, ExampleSet
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.synthesis.strategy import Synthesis

# Enough inputs for a p99; more would only cost time.
MEASURED_INPUTS = 2000
MEASURED_AGAIN = 2
"""Times that a p99 over the target is measured again: what a busy machine adds is not the program's."""
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

    @property
    def personal_data(self) -> list[Leak]:
        """Personal data in the program: constants of a rule or transformation that the examples ask for."""
        return leaks_of_program(f"{self.artifact.task_id}@{self.artifact.version}", self.synthesis.code)

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
            "personal_data": [leak.as_dict() for leak in self.personal_data],
            "suspects": self.suspects[:MOST_SUSPECTS],
            "suggestions": [one.as_dict() for one in self.survey.suggestions],
            "warnings": [str(warning) for warning in self.examples.warnings],
        }


def generate(
    loaded: Loaded,
    layout: Layout,
    config: Config,
    *,
    strategy: str | None = None,
    seed: int | None = None,
    budget_s: float = math.inf,
    lock_timeout_s: float = 0.0,
    progress: Callable[[str, float | None], None] | None = None,
) -> Generated:
    """Write, check and store a new version of the task in `loaded`.

    After `budget_s` seconds of judging, and on KeyboardInterrupt, the best candidate so far is taken.
    `progress(what, share)` hears what is going on, `share` in [0, 1] or None. Raises SpecError for examples
    that do not fit, Busy if the task is locked, PolicyRefused or ProgramError if the program that was written
    does not run, StorageError. A version that misses its targets is stored all the same, as a draft.
    """
    tell = progress or (lambda _what, _share: None)
    spec = loaded.spec
    with layout.lock(spec.task_id, lock_timeout_s):
        started = time.monotonic()
        tell("reading examples", None)
        examples = example_files.load_examples(loaded)
        seed = spec.generate.seed if seed is None else seed
        unlabelled = some(example_files.load_unlabelled(loaded), seed)
        synthesis = synthesize(
            problem_of(spec, examples, config, unlabelled),
            strategy=strategy or spec.generate.strategy,
            seed=seed,
            budget_s=budget_s,
            progress=lambda step: tell(step.what, step.share),
        )
        tell("measuring in the sandbox", None)
        latency, survey = measure(synthesis, spec, examples, unlabelled, config)
        gate = Gate(spec.accuracy_target, synthesis.accuracy, spec.latency_target_ms, latency.p99)
        artifact = describe(spec, examples, synthesis, latency, survey, layout, config, time.monotonic() - started)
        tell("storing", None)
        example_files.save(layout, loaded, examples)
        if survey.suggestions:
            survey.save(layout.suggestions(spec.task_id))
        return _store(artifact, gate, latency, synthesis, examples, survey, layout)


def problem_of(
    spec: TaskSpecification, examples: ExampleSet, config: Config, unlabelled: Sequence[Any] = ()
) -> Problem:
    return Problem(
        name=spec.name,
        description=spec.description,
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
    )


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
        latency = latency_of(outcomes)
        for _ in range(MEASURED_AGAIN):
            if latency.p99 > spec.latency_target_ms:
                latency = min(latency, latency_of(run_inputs(pool, program, measured)), key=lambda one: one.p99)
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
    return latency, of_examples(synthesis.predictions, are_labels)


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


def row_hashes(examples: Sequence[Example], key: bytes) -> dict[str, Any]:
    """Which rows a version has seen, as keyed hashes: they tell this edge and nobody else.

    HMAC-SHA256 over the canonical JSON of the input, its first 8 bytes, concatenated and in base64.
    """
    digests = [hmac.digest(key, jsonl.canonical(example.input), "sha256")[:8] for example in examples]
    return {"algorithm": "hmac-sha256-64", "hashes": base64.b64encode(b"".join(digests)).decode("ascii")}


def _store(
    artifact: ProgramArtifact,
    gate: Gate,
    latency: Latency,
    synthesis: Synthesis,
    examples: ExampleSet,
    survey: Survey,
    layout: Layout,
) -> Generated:
    store = ArtifactStore(layout)
    active = store.active_version(artifact.task_id)
    activated = gate.met and active is None
    status = VersionStatus.VALIDATED if gate.met else VersionStatus.DRAFT
    if activated:
        status = VersionStatus.ACTIVE  # in the write that lists it, so that no kill leaves it listed and idle
    stored = store.add(artifact, synthesis.code, status)
    active = stored.version if activated else active
    return Generated(stored, status, activated, active, gate, latency, synthesis, examples, survey)

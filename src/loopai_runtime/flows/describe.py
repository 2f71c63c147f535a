"""What is written down of a new version: how it was made and judged, and, as keyed hashes, from which rows."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.flows.gather import sources
from loopai_runtime.models import (
    AbstainThreshold,
    Complexity,
    ProgramArtifact,
    SynthesisStrategy,
    new_id,
    utc_now,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.flows.measure import Latency
    from loopai_runtime.flows.survey import Survey
    from loopai_runtime.flows.writing import Writing
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import TaskSpecification
    from loopai_runtime.synthesis.examples import Example, ExampleSet
    from loopai_runtime.synthesis.strategy import Synthesis

ROW_HASH_BYTES = 8


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


def paid(artifact: ProgramArtifact, writing: Writing) -> ProgramArtifact:
    """The metadata with who was asked and what it cost."""
    who = (
        {"llm_provider": writing.provider or None, "llm_model": writing.model}
        if writing.calls or writing.cached
        else {}
    )
    return artifact.model_copy(update={**who, "generation_cost": round(writing.usd, 9)})


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

"""What comes of a specification: a version that is written, one that is stored, and what was learned."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from loopai_runtime.errors import GateMissed
from loopai_runtime.flows.gather import said

if TYPE_CHECKING:
    from loopai_runtime.flows.measure import Latency
    from loopai_runtime.flows.survey import Survey
    from loopai_runtime.flows.writing import Writing
    from loopai_runtime.models import ProgramArtifact, VersionStatus
    from loopai_runtime.synthesis.examples import ExampleSet
    from loopai_runtime.synthesis.strategy import Synthesis

MOST_SUSPECTS = 50


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
            "question": self.synthesis.question._asdict() if self.synthesis.question else None,
            "suspects": self.suspects[:MOST_SUSPECTS],
            "suggestions": [one.as_dict() for one in self.survey.suggestions],
            "warnings": [str(warning) for warning in self.examples.warnings],
            "sources": artifact.judged["sources"],
            "spread": [asdict(run) for run in self.spread],
            "llm": self.writing.as_dict() if self.writing else None,
        }

"""What a version says of itself, for tests that need no program."""

from __future__ import annotations

from typing import Any

from loopai_runtime.models import Complexity, ProgramArtifact, SynthesisStrategy


def artifact(**changes: Any) -> ProgramArtifact:
    fields: dict[str, Any] = {
        "id": "1", "task_id": "spam", "version": 3, "synthesis_strategy": SynthesisStrategy.ML, "learner": "x",
        "confidence_score": 0.9, "confidence_kind": "accuracy_bound", "accuracy_target": 0.9,
        "latency_target_ms": 10.0, "timeout_ms": 1000, "memory_mb": 256, "input_schema": {"type": "object"},
        "output_schema": {"enum": ["spam", "ham"]},
        "complexity_metrics": Complexity(lines=1, branches=1, features=1, bytes=1),
        "created_at": "2026-11-24T00:00:00Z",
    }  # fmt: skip
    return ProgramArtifact(**(fields | changes))

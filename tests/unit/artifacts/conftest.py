"""A small real artifact, and the ways to make others of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.layout import Layout
from loopai_runtime.models import Complexity, ProgramArtifact, SynthesisStrategy

CODE = '''"""Spam has words that ham has not."""


def run(input_data):
    return score(input_data)[0]


def score(input_data):
    text = input_data["text"].lower()
    if "buy" in text:
        return "spam", 0.95
    return "ham", 0.6
'''


@pytest.fixture(scope="session")
def code() -> str:
    """A program that has both entries."""
    return CODE


@pytest.fixture
def artifact() -> Callable[..., ProgramArtifact]:
    """Makes the metadata of a version; keywords replace its fields."""

    def make(**changes: Any) -> ProgramArtifact:
        fields: dict[str, Any] = {
            "id": "3f0c8f6e-43a4-4b12-9f4e-1f2f3c7b8a90",
            "task_id": "spam-detection",
            "version": 1,
            "description": "Classify é-mails | as spam, $or <ham>",
            "synthesis_strategy": SynthesisStrategy.RULE,
            "learner": "keywords",
            "confidence_score": 0.91,
            "confidence_kind": "accuracy_bound",
            "accuracy": {"value": 0.95, "standard_error": 0.01, "n": 240},
            "latency_ms": {"p50": 0.02, "p99": 0.09},
            "accuracy_target": 0.9,
            "latency_target_ms": 10,
            "timeout_ms": 1000,
            "memory_mb": 256,
            "input_schema": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "tags": {"const": None}},
                "required": ["text"],
            },
            "output_schema": {"type": "string", "enum": ["spam", "ham"]},
            "complexity_metrics": Complexity(lines=8, branches=1, features=1, bytes=len(CODE)),
            "created_at": "2026-11-22T10:00:00.000000Z",
        }
        return ProgramArtifact(**(fields | changes))

    return make


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data")


@pytest.fixture
def store(layout: Layout) -> ArtifactStore:
    return ArtifactStore(layout)

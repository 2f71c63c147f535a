"""The files that stand beside program.py and metadata.json, each a known text filled in from the metadata.

A release that changes a text or a value adds a set (`v2`) and keeps the old ones, so that what an earlier
release wrote still verifies. `__main__.py` and requirements.txt are fixed: nothing is filled in.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopai_runtime.models import ProgramArtifact

SETS = ("v1",)  # newest first
FIXED = ("__main__.py", "requirements.txt")
FILLED_IN = ("Dockerfile", "deployment.yaml", "README.md")
NAMES = FIXED + FILLED_IN


def render(artifact: ProgramArtifact, which: str = SETS[0]) -> dict[str, bytes]:
    """The rendered files of an artifact, by name."""
    values = _values(artifact)
    fixed = {name: _text(which, name).encode() for name in FIXED}
    return fixed | {name: _fill_in(which, name, values) for name in FILLED_IN}


def kubernetes(artifact: ProgramArtifact) -> bytes:
    """A Deployment and a Service that run the image of this artifact."""
    return _fill_in(SETS[0], "k8s.yaml", _values(artifact))


def resource_name(task_id: str) -> str:
    """A name for images and Kubernetes objects: a DNS label, also where the task's slug is none."""
    name = f"loopai-{task_id}"
    if len(name) <= 63 and not name.endswith("-"):
        return name
    return f"{name[:50].rstrip('-')}-{hashlib.sha256(task_id.encode()).hexdigest()[:12]}"


@cache
def _text(which: str, name: str) -> str:
    return resources.files(__package__).joinpath("templates", which, name).read_text("utf-8")


def _fill_in(which: str, name: str, values: dict[str, str]) -> bytes:
    return Template(_text(which, name)).substitute(values).encode()


def _values(artifact: ProgramArtifact) -> dict[str, str]:
    """What the templates may name. Only slugs and numbers may go into files that a machine reads."""
    accuracy, size = artifact.accuracy or {}, artifact.complexity_metrics
    return {
        "task_id": artifact.task_id,
        "version": str(artifact.version),
        "resource": resource_name(artifact.task_id),
        "timeout_ms": str(artifact.timeout_ms),
        "memory_mb": str(artifact.memory_mb),
        # The interpreter itself needs some of what the pod is given.
        "pod_memory_mb": str(artifact.memory_mb + 64),
        "description": artifact.description.strip(),
        "strategy": artifact.synthesis_strategy.value,
        "learner": artifact.learner,
        "confidence": f"{artifact.confidence_score:.4f}",
        "confidence_name": _CONFIDENCE[artifact.confidence_kind],
        "accuracy": _accuracy(accuracy),
        "accuracy_target": f"{artifact.accuracy_target:g}",
        "latency": " / ".join(_milliseconds(artifact.latency_ms.get(name)) for name in ("p50", "p99")),
        "latency_target_ms": f"{artifact.latency_target_ms:g}",
        "bytes": str(size.bytes),
        "lines": str(size.lines),
        "branches": str(size.branches),
        "features": str(size.features),
        "abstain": _abstain(artifact),
        "created_at": artifact.created_at,
    }


_CONFIDENCE = {
    "accuracy_bound": "accuracy on new inputs is at least (one-sided 90 %)",
    "all_correct": "probability that it is right on all inputs",
}


def _accuracy(accuracy: dict[str, object]) -> str:
    value, error, n = (accuracy.get(name) for name in ("value", "standard_error", "n"))
    if not isinstance(value, int | float):
        return "not measured"
    text = f"{value:.4f}"
    if isinstance(error, int | float):
        text += f" ± {error:.4f}"
    return text + (f", {n} examples" if isinstance(n, int) else "")


def _milliseconds(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f} ms"


def _abstain(artifact: ProgramArtifact) -> str:
    policy = artifact.abstain
    if policy is None:
        return "never"
    if policy.threshold is None:
        return "always"
    return f"below a score of {policy.threshold:.4f}, to be right on {policy.target_accuracy:g} of its answers"

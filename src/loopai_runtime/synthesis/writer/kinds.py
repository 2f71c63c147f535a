"""What kind of task a problem is, as far as that changes how one writes a program for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from loopai_runtime import jsonl

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import JSON, Problem

Kind = Literal["classify", "extract", "transform"]
_MOST_LABELS = 300


def declared(problem: Problem) -> list[JSON] | None:
    """The outputs that the schema lists, or None."""
    schema = problem.output_schema
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    parts = schema.get("oneOf") or schema.get("anyOf")
    if isinstance(parts, list) and parts and all(isinstance(part, dict) and "const" in part for part in parts):
        return [part["const"] for part in parts]
    return [False, True] if schema.get("type") == "boolean" else None


def labels(problem: Problem) -> list[JSON] | None:
    """The outputs that are known, where they are labels: as the schema lists them, or as repetition shows."""
    listed = declared(problem)
    if listed is not None:
        known = {jsonl.canonical(one) for one in listed}
        return listed + [one for one in problem.labels if jsonl.canonical(one) not in known]
    few = len(problem.labels) <= min(_MOST_LABELS, len(problem) // 2)
    plain = all(isinstance(output, (str, int, bool)) for output in problem.labels)
    return list(problem.labels) if few and plain and problem.labels else None


def kind_of(problem: Problem) -> Kind:
    if labels(problem) is not None:
        return "classify"
    schema = problem.output_schema.get("type")
    structured = schema in ("object", "array") or any(isinstance(one, (dict, list)) for one in problem.labels)
    return "extract" if structured else "transform"

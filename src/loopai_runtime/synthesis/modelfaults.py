"""What pydantic finds wrong with a specification, in sentences for the person who wrote it."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from loopai_runtime.errors import Fault
from loopai_runtime.models import TaskSpecification
from loopai_runtime.yamldoc import Document, child

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SHORT_NAMES = {"input": "input_schema", "output": "output_schema"}

_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def model_faults(exc: ValidationError, document: Document) -> list[Fault]:
    """Each place that is wrong, once, with its line and path."""
    found: dict[str, tuple[list[str | int], list[ErrorDetails]]] = {}
    for error in exc.errors(include_url=False):
        parts = _place(error, document.data)
        path = "$"
        for part in parts:
            path = child(path, part)
        found.setdefault(path, (parts, []))[1].append(error)
    return [
        Fault(_sentence(parts, errors), document.file, document.line(path), path)
        for path, (parts, errors) in found.items()
    ]


def _place(error: ErrorDetails, data: Any) -> list[str | int]:
    """The error's keys and indexes as the document has them; pydantic also names the branches of unions."""
    parts: list[str | int] = []
    last = len(error["loc"]) - 1
    for depth, part in enumerate(error["loc"]):
        short = next((short for short, key in SHORT_NAMES.items() if key == part), None)
        if depth == 0 and short is not None and part not in data and short in data:
            part = short
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            data = data[part]
        elif depth != last or error["type"] != "missing":
            continue
        parts.append(part)
    return parts


def _sentence(parts: list[str | int], errors: list[ErrorDetails]) -> str:
    error = errors[0]
    kind, context, given = error["type"], error.get("ctx") or {}, error["input"]
    name = next((part for part in reversed(parts) if isinstance(part, str)), "specification")
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        return _unknown(name, parts[:-1])
    if kind == "string_too_short":
        return f"{name} must not be empty"
    if kind == "value_error":
        return f"{name} {context['error']}"
    if kind == "literal_error":
        return f"{name} must be one of {context['expected']}, not {_shown(given)}"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{name} must be {word} {context[key]:g}, not {_shown(given)}"
    wanted = [_WANTED[one["type"]] for one in errors if one["type"] in _WANTED]
    if not wanted:
        return f"{name}: {error['msg']}"
    quote = f'; quote it: "{json.dumps(given)}"' if "a text" in wanted and isinstance(given, int | float) else ""
    return f"{name} must be {' or '.join(dict.fromkeys(wanted))}, not {_shown(given)}{quote}"


def _shown(value: Any) -> str:
    """A value as the person would name it."""
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"


def _unknown(key: str, parents: list[str | int]) -> str:
    if not parents and key in SHORT_NAMES:
        return f"{key} is short for {SHORT_NAMES[key]}, which is given as well"
    model = _model_at(parents)
    known = list(model.model_fields) if model else []
    if model is TaskSpecification:
        known += SHORT_NAMES
    return f"unknown key {key!r}{nearest(key, known)}"


def nearest(given: str, known: list[str]) -> str:
    """`; did you mean 'x'?`, or what there is."""
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""


def _model_at(parts: list[str | int]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = TaskSpecification
    for part in parts:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)

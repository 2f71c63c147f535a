"""Reading `spec.yaml`: every fault at once, each with its file, line and JSON path."""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from loopai_runtime import yamldoc
from loopai_runtime.errors import Fault, NotFound, SpecError, StorageError
from loopai_runtime.models import ExampleSource, InlineExample, TaskSpecification, UnlabelledSource
from loopai_runtime.schemas import Schema, SchemaFault
from loopai_runtime.yamldoc import Document, child

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Loaded:
    """A specification that is sound in itself; its example files have not been read yet."""

    spec: TaskSpecification
    document: Document
    text: str
    base_dir: Path
    input_schema: Schema
    output_schema: Schema


def load(path: str | Path) -> Loaded:
    """Read a specification; `-` is stdin. Raises SpecError with every fault, NotFound, StorageError."""
    if str(path) == "-":
        raw, name, base = sys.stdin.buffer.read(), "<stdin>", Path.cwd()
    else:
        raw, name, base = _read(Path(path)), str(path), Path(path).absolute().parent
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise SpecError([Fault(f"not UTF-8 (byte {raw[exc.start]:#04x})", name, line)]) from None
    return parse(text, name, base)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(
            "no such file", where=str(path), hint="loopai init writes a specification to start from"
        ) from None
    except OSError as exc:
        raise StorageError(exc.strerror or "cannot be read", where=str(path)) from None


def parse(text: str, name: str, base_dir: Path) -> Loaded:
    """A specification from its text; `name` is what faults call it. Raises SpecError."""
    document = yamldoc.parse(text, name, SpecError)
    if document.data is None:
        raise SpecError(
            [Fault("the file is empty", name)], hint="loopai init writes a specification to start from"
        )
    if not isinstance(document.data, dict):
        raise SpecError([Fault("a specification is a mapping of keys (name, description, …)", name, 1)])
    faults = list(_surrogates(document))
    spec = None
    try:
        spec = TaskSpecification.model_validate(document.data)
    except ValidationError as exc:
        faults += _model_faults(exc, document)
    schemas = {key: _schema(document, key, faults) for key in ("input", "output")}
    if spec is not None and schemas["input"] and schemas["output"]:
        faults += _example_faults(spec, document, schemas["input"], schemas["output"])
    if faults or spec is None or schemas["input"] is None or schemas["output"] is None:
        raise SpecError(sorted(faults, key=lambda fault: fault.line or 0))
    return Loaded(spec, document, text, base_dir, schemas["input"], schemas["output"])


def _surrogates(document: Document) -> Iterable[Fault]:
    """An escape can smuggle half of a character into a text; nothing could store it again."""

    def walk(value: Any, path: str) -> Iterable[Fault]:
        if isinstance(value, str):
            if any("\ud800" <= c <= "\udfff" for c in value):
                yield Fault("a lone surrogate (half of a character)", document.file, document.line(path), path)
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from walk(item, child(path, key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from walk(item, child(path, index))

    return walk(document.data, "$")


def _schema(document: Document, which: str, faults: list[Fault]) -> Schema | None:
    """Compile the schema under `input_schema` or its short name; what is wrong goes to `faults`."""
    key = f"{which}_schema" if f"{which}_schema" in document.data else which
    schema = document.data.get(key)
    if not isinstance(schema, dict):
        return None  # the model has already said so
    try:
        return Schema(schema)
    except SchemaFault as exc:
        path = "$." + key + exc.path[1:]
        faults.append(Fault(f"not a JSON Schema: {exc}", document.file, document.line(path), path))
        return None


def _example_faults(
    spec: TaskSpecification, document: Document, input_schema: Schema, output_schema: Schema
) -> Iterable[Fault]:
    for index, example in enumerate(spec.examples):
        for part, value, schema in (
            ("input", example.input, input_schema),
            ("output", example.output, output_schema),
        ):
            for fault in schema.faults(value):
                path = f"$.examples[{index}].{part}" + (fault.path or "$")[1:]
                message = fault.message + _quote_hint(value, schema)
                yield Fault(message, document.file, document.line(path), path)


def _quote_hint(value: Any, schema: Schema) -> str:
    """A number or truth value where the enum has the same text was meant as that text."""
    labels = schema.schema.get("enum")
    if isinstance(value, int | float) and isinstance(labels, list):
        written = str(value).lower() if isinstance(value, bool) else str(value)
        if written in labels:
            return f'; quote it: "{written}"'
    return ""


# --- pydantic's faults in human sentences ---------------------------------------------------------------------

_MODELS: dict[str, type[BaseModel]] = {
    "examples": InlineExample,
    "examples_from": ExampleSource,
    "unlabelled_from": UnlabelledSource,
}


def _model_faults(exc: ValidationError, document: Document) -> list[Fault]:
    return [_model_fault(error, document) for error in exc.errors()]


def _model_fault(error: ErrorDetails, document: Document) -> Fault:
    # In a union pydantic names the branch (`str`, `dict[…]`) after the key; no key of ours looks like that.
    parts = [part for part in error["loc"] if isinstance(part, int) or part not in ("str", "dict[str,str]")]
    path = "$"
    for part in parts:
        path = child(path, part)
    message = _sentence(error, parts)
    if error["type"] == "missing" and parts[-1] in ("input_schema", "output_schema"):
        message = f"{parts[-1]} is missing"
    return Fault(message, document.file, document.line(path), path)


def _sentence(error: ErrorDetails, parts: list[int | str]) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    name = parts[-1] if parts else "specification"
    if kind == "extra_forbidden":
        return f"unknown key {name!r}{_nearest(str(name), parts[:-1])}"
    if kind == "missing":
        return f"{name} is missing"
    if kind == "value_error":
        return f"{name} {context.get('error', error['msg'])}"
    if kind == "literal_error":
        return f"{name} must be one of {context['expected']}"
    given = error["input"]
    shown = yaml_type(given)
    if kind == "string_too_short":
        return f"{name} must not be empty"
    if kind.endswith("_type") or kind.endswith("_parsing"):
        wanted = error["msg"].removeprefix("Input should be ").split(",")[0]
        return f"{name} must be {wanted}, not {shown}"
    return f"{name}: {error['msg'].removeprefix('Input ')}, not {given!r}"


def yaml_type(value: Any) -> str:
    """What a person would call the value they wrote."""
    match value:
        case None:
            return "empty"
        case bool():
            return "true/false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _nearest(key: str, parents: list[int | str]) -> str:
    model: type[BaseModel] = TaskSpecification
    for part in parents:
        if not isinstance(part, str):
            continue
        field = model.model_fields.get(part)
        inner = (
            _MODELS.get(part)
            or next(
                (t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)), None
            )
            if field
            else None
        )
        if inner is None:
            return ""
        model = inner
    known = [*model.model_fields, *(("input", "output") if model is TaskSpecification else ())]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"


def _types(annotation: Any) -> tuple[Any, ...]:
    from typing import get_args

    return (annotation, *get_args(annotation))


# --- the schema that editors use ------------------------------------------------------------------------------


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a specification, as editors use it; shipped as `data/loopai.schema.json`."""
    schema = TaskSpecification.model_json_schema(by_alias=False)
    for short in ("input", "output"):
        schema["properties"][short] = {
            **schema["properties"][f"{short}_schema"],
            "description": f"short for {short}_schema",
        }
    schema["required"] = ["name", "description"]
    schema["allOf"] = [
        {"oneOf": [{"required": [f"{short}_schema"]}, {"required": [short]}]} for short in ("input", "output")
    ]
    schema["properties"]["name"]["pattern"] = "^[a-z0-9][a-z0-9-]{0,62}$"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "loopai specification", **schema}


def json_schema_text() -> str:
    """The text of the shipped file."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"

"""Reading `spec.yaml`: every fault at once, each with its file, line and JSON path."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from loopai_runtime import yamldoc
from loopai_runtime.errors import Fault, NotFound, SpecError, StorageError
from loopai_runtime.models import TaskSpecification
from loopai_runtime.schemas import MAX_FAULTS, Schema, SchemaFault
from loopai_runtime.synthesis.modelfaults import SHORT_NAMES, model_faults, nearest
from loopai_runtime.yamldoc import Document, child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.layout import Layout

START = "loopai init writes a specification to start from"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A specification that is sound in itself; its example files have not been read yet."""

    spec: TaskSpecification
    document: Document
    text: str
    base_dir: Path
    input_schema: Schema
    output_schema: Schema


@dataclass(frozen=True, slots=True)
class Examined:
    """All that is wrong with a specification.

    `sound` is what is left of it without the keys that have faults, so that its example files can be judged in
    the same breath; None where the schemas are among what is wrong.
    """

    faults: list[Fault]
    sound: Loaded | None


def load(path: str | Path) -> Loaded:
    """Read a specification; `-` is stdin. Raises SpecError with every fault, NotFound, StorageError."""
    return _only_sound(examine(path))


def parse(text: str, name: str, base_dir: Path) -> Loaded:
    """A specification from its text; `name` is what faults call it. Raises SpecError."""
    return _only_sound(_examine(text, name, base_dir))


def load_saved(layout: Layout, task_id: str) -> Loaded:
    """The specification that is kept with a task; files that it names are where they were when it was read.

    Raises SpecError, NotFound, StorageError.
    """
    loaded = load(layout.spec(task_id))
    try:
        origin = layout.spec_origin(task_id).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return loaded
    return replace(loaded, base_dir=Path(origin)) if origin else loaded


def _only_sound(examined: Examined) -> Loaded:
    if examined.faults or examined.sound is None:
        raise SpecError(examined.faults)
    return examined.sound


def examine(path: str | Path) -> Examined:
    """Read a specification (`-` is stdin) and find everything wrong with it. Raises NotFound, StorageError."""
    try:
        if str(path) == "-":
            raw, name, base_dir = sys.stdin.buffer.read(yamldoc.MAX_BYTES + 1), "<stdin>", Path.cwd()
        else:
            raw, name, base_dir = _read(Path(path)), str(path), Path(path).absolute().parent
        return _examine(yamldoc.text_of(raw, name, SpecError), name, base_dir)
    except SpecError as exc:
        return Examined(exc.faults, None)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(yamldoc.MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("no such file", where=str(path), hint=START) from None
    except IsADirectoryError:
        raise SpecError([Fault(f"is a directory; did you mean {path / 'spec.yaml'}?", str(path))]) from None
    except OSError as exc:
        raise StorageError(exc.strerror or "cannot be read", where=str(path)) from None


def _examine(text: str, name: str, base_dir: Path) -> Examined:
    try:
        document = yamldoc.parse(text, name, SpecError)
    except SpecError as exc:
        return Examined(exc.faults, None)
    if document.data is None:
        return Examined([Fault(f"the file is empty; {START}", name)], None)
    if not isinstance(document.data, dict):
        return Examined([Fault("a specification is a mapping of keys (name, description, …)", name, 1)], None)
    spec, faults = _model(document)
    schemas = {key: _schema(document, key, faults) for key in ("input", "output")}
    takes, gives = schemas["input"], schemas["output"]
    if takes is not None:
        faults += _mapping_faults(document, takes)
    if takes is None or gives is None or spec is None:
        return Examined(_in_order(faults), None)
    faults += _few(_example_faults(document, takes, gives), name)
    return Examined(_in_order(faults), Loaded(spec, document, text, base_dir, takes, gives))


def _in_order(faults: list[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: sys.maxsize if fault.line is None else fault.line)


def _model(document: Document) -> tuple[TaskSpecification | None, list[Fault]]:
    """The specification, without its faulty keys if there are any, and the faults."""
    data = document.data
    try:
        return TaskSpecification.model_validate(data, strict=True), []
    except ValidationError as exc:
        faulty = {str(error["loc"][0]) for error in exc.errors() if error["loc"]}
        faulty |= {short for short, key in SHORT_NAMES.items() if key in faulty}
        left = {"name": "unnamed", "description": "none"} | {k: v for k, v in data.items() if k not in faulty}
        try:
            return TaskSpecification.model_validate(left, strict=True), model_faults(exc, document)
        except ValidationError:
            return None, model_faults(exc, document)


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


def _example_faults(document: Document, input_schema: Schema, output_schema: Schema) -> Iterator[Fault]:
    examples = document.data.get("examples")
    for index, example in enumerate(examples if isinstance(examples, list) else []):
        for part, schema in (("input", input_schema), ("output", output_schema)):
            if not isinstance(example, dict) or part not in example or schema.accepts(example[part]):
                continue
            for fault in schema.faults(example[part]):
                path = f"$.examples[{index}].{part}" + (fault.path or "$")[1:]
                yield Fault(fault.message, document.file, document.line(path), path)


def _few(faults: Iterator[Fault], file: str) -> list[Fault]:
    """The first 20, and how many more there are."""
    found = list(faults)
    more = len(found) - MAX_FAULTS
    return found[:MAX_FAULTS] + ([Fault(f"… and {more:,} more faults in examples", file)] if more > 0 else [])


def _mapping_faults(document: Document, input_schema: Schema) -> Iterator[Fault]:
    """Properties to which a file's columns are mapped, though the input has none of that name."""
    schema = input_schema.schema
    known = schema.get("properties")
    if not known or schema.get("additionalProperties") or schema.get("patternProperties"):
        return
    for key in ("examples_from", "unlabelled_from"):
        sources = document.data.get(key)
        for index, source in enumerate(sources if isinstance(sources, list) else []):
            mapping = source.get("input") if isinstance(source, dict) else None
            for name in mapping if isinstance(mapping, dict) else []:
                if name not in known:
                    path = child(f"$.{key}[{index}].input", name)
                    message = f"the input has no property {name!r}{nearest(name, list(known))}"
                    yield Fault(message, document.file, document.line(path), path)


# --- the schema that editors use ------------------------------------------------------------------------------


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a specification, as editors use it; shipped as `data/loopai.schema.json`."""
    schema = TaskSpecification.model_json_schema()
    properties = schema["properties"]
    for short, key in SHORT_NAMES.items():
        properties[short] = {**properties[key], "description": f"short for {key}"}
    properties["name"]["pattern"] = "^[a-z0-9][a-z0-9-]{0,62}$"
    schema["required"] = ["name", "description"]
    schema["allOf"] = [
        {"oneOf": [{"required": [key]}, {"required": [short]}]} for short, key in SHORT_NAMES.items()
    ]
    schema["title"] = "loopai specification"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without_titles(schema)}


def _without_titles(schema: Any) -> Any:
    """pydantic titles every field with its own name, which tells an editor's user nothing."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _without_titles(part) for name, part in value.items()}
        if key in ("properties", "$defs")
        else _without_titles(value)
        for key, value in schema.items()
        if key != "title" or "$defs" in schema
    }


def json_schema_text() -> str:
    """The text of the shipped file."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"

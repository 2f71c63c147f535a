"""The platform's HTTP interface as OpenAPI 3.1, made of the table from which its routes are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from loopai_runtime._version import __version__
from loopai_runtime.http.problem import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopai_runtime.central.routing import Operation

_SAYS = {
    "400": "no JSON, or a name that is none",
    "401": "no valid key",
    "403": "a key without the scope",
    "404": "it is not there, or not this tenant's",
    "409": "a quality gate was missed",
    "413": "the body is too large",
    "415": "the body is compressed",
    "422": "the body is not what it should be",
    "429": "more than this key may ask for; Retry-After says when",
    "503": "overloaded; Retry-After says when",
}
_PARAMETER = re.compile(r"\{(\w+)\}")
_SLUG = "^[a-z0-9][a-z0-9-]{0,62}$"
_PATTERNS = {"task_id": _SLUG, "deployment_id": _SLUG, "version": "^v[1-9][0-9]{0,8}$"}
_BYTES = {"type": "string", "format": "binary"}
_REF = "#/components/schemas/{model}"


def description(operations: Iterable[Operation]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Problem": SCHEMA}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "loopai central platform", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}, "schemas": schemas},
        "security": [{"bearer": []}],
    }


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    is_json = operation.media == "application/json"
    answer: dict[str, Any] = {"schema": _schema(operation.answer, schemas) if is_json else _BYTES}
    if "response" in operation.examples:
        answer["example"] = operation.examples["response"]
    said: dict[str, Any] = {status: {"description": text, "content": problem} for status, text in _SAYS.items()}
    said[str(operation.status)] = {"description": "done", "content": {operation.media: answer}}
    made: dict[str, Any] = {
        "operationId": f"{operation.handler.__name__}_{operation.method.lower()}_{len(operation.path)}",
        "summary": operation.summary,
        "description": f"Scope: {operation.scope.value}." if operation.scope else "Any key.",
        "parameters": [
            *(_parameter(name) for name in _PARAMETER.findall(operation.path)),
            *({"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()),
        ],
        "responses": said,
    }
    if operation.body is not None or operation.raw_body:
        is_zip = operation.path.endswith("/upload")
        content: dict[str, Any] = {"schema": _BYTES if is_zip else _schema(operation.body, schemas)}
        if "request" in operation.examples:
            content["example"] = operation.examples["request"]
        kind = "application/zip" if is_zip else "application/json"
        made["requestBody"] = {"required": True, "content": {kind: content}}
    return made


def _parameter(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name in _PATTERNS:
        schema["pattern"] = _PATTERNS[name]
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _schema(model: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if model is None:
        return {}
    made = model.model_json_schema(ref_template=_REF)
    schemas.update(made.pop("$defs", {}))
    schemas[model.__name__] = made
    return {"$ref": _REF.format(model=model.__name__)}

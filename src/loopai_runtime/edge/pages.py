"""Everything of the edge that is not executing: health, metrics, OpenAPI, the documentation page."""

from __future__ import annotations

import html
import os
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from loopai_runtime import jsonl
from loopai_runtime._version import __version__
from loopai_runtime.edge import rollout_pages, ticket_pages
from loopai_runtime.http.page import code, page
from loopai_runtime.http.problem import SCHEMA, problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from loopai_runtime.config import Config
    from loopai_runtime.datasets.live_log import LiveLog
    from loopai_runtime.edge.metrics import Metrics
    from loopai_runtime.flows.serve import Lane, Traffic
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact


class Pages:
    """Reads the state of the parts; of rollouts and tickets, also changes it."""

    def __init__(self, traffic: Traffic, metrics: Metrics, kept: LiveLog, layout: Layout, config: Config) -> None:
        self._traffic = traffic
        self._metrics = metrics
        self._log = kept
        self._layout = layout
        self._rollouts = rollout_pages.RolloutPages(layout, config)
        self._tickets = ticket_pages.TicketPages(layout, config)
        self.draining = False

    def app(self) -> Starlette:
        routes = [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
            Route("/docs", self.docs),
            *self._rollouts.routes(),
            *self._tickets.routes(),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _not_found})

    async def healthz(self, _request: Request) -> Response:
        return _json(200, {"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Ready when a task is served and the data directory takes records."""
        tasks = {
            task_id: {"version": lane.artifact.version, **({"trouble": lane.trouble} if lane.trouble else {})}
            for task_id, lane in sorted(self._traffic.lanes.items())
        }
        tasks |= {task_id: {"version": None, "trouble": why} for task_id, why in self._traffic.troubles.items()}
        storage = str(self._log.trouble) if self._log.trouble else None
        if storage is None and not os.access(self._layout.root, os.W_OK | os.X_OK):
            storage = f"{self._layout.root} cannot be written"
        ready = bool(self._traffic.lanes) and storage is None and not self.draining
        body = {"ready": ready, "tasks": tasks, "storage": storage or "ok"}
        return _json(200 if ready else 503, body | ({"draining": True} if self.draining else {}))

    async def metrics(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, _request: Request) -> Response:
        return _json(200, self.description())

    async def docs(self, _request: Request) -> Response:
        return HTMLResponse(_page(self._traffic))

    def description(self) -> dict[str, Any]:
        """OpenAPI 3.1 with each task's own schemas."""
        paths: dict[str, Any] = ticket_pages.described(_problems())
        for task_id, lane in sorted(self._traffic.lanes.items()):
            artifact = lane.artifact
            operation = _operation(task_id, artifact)
            paths[f"/v1/execute/{task_id}"] = {"post": operation}
            paths[f"/api/v1/tasks/{task_id}/execute"] = {
                "post": operation | {"operationId": f"{operation['operationId']}_api"}
            }
            paths[f"/api/v1/tasks/{task_id}/batch"] = {"post": _batch_operation(task_id, artifact)}
            paths |= rollout_pages.described(task_id, _problems())
        return {
            "openapi": "3.1.0",
            "info": {"title": "loopai", "version": __version__},
            "paths": paths,
            "components": {
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
                "schemas": {"Problem": SCHEMA},
            },
        }


_SAYS = {
    "400": "not JSON",
    "401": "no valid key",
    "404": "no such task",
    "413": "the body is too large",
    "422": "the input does not fit the schema",
    "429": "more than this key may ask for; Retry-After says when",
    "503": "overloaded; Retry-After says when",
    "504": "the program was stopped by the clock",
    "507": "the execution cannot be kept",
}


_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key and body get the same answer, executed once; kept in memory, an hour at most.",
}


def _operation(task_id: str, artifact: ProgramArtifact) -> dict[str, Any]:
    body = {
        "type": "object",
        "properties": {"input": artifact.input_schema},
        "required": ["input"],
    }
    answer = {
        "type": "object",
        "properties": {
            "output": {"anyOf": [artifact.output_schema, {"type": "null"}]},
            "latency_ms": {"type": "number"},
            "execution_id": {"type": "string"},
            "task_id": {"const": task_id},
            "version": {"type": "integer"},
            "confidence": {"type": "number"},
            "abstained": {"type": "boolean"},
            "source": {"enum": ["program", "oracle", "none"]},
        },
        "required": ["output", "latency_ms", "execution_id", "task_id", "version", "source"],
    }
    return {
        "operationId": "execute_" + task_id.replace("-", "_"),
        "summary": artifact.description or task_id,
        "parameters": [_IDEMPOTENCY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": body, "example": {"input": example(artifact.input_schema)}}
            },
        },
        "responses": {
            "200": {
                "description": "the answer",
                "content": {"application/json": {"schema": answer, "example": _example_answer(task_id, artifact)}},
            },
            **_problems(),
        },
    }


def _example_answer(task_id: str, artifact: ProgramArtifact) -> dict[str, Any]:
    return {
        "output": example(artifact.output_schema),
        "latency_ms": 0.09,
        "execution_id": "285498c0-88f6-4c96-8031-66438d85456a",
        "task_id": task_id,
        "version": artifact.version,
        "source": "program",
    }


def _batch_operation(task_id: str, artifact: ProgramArtifact) -> dict[str, Any]:
    item = {
        "type": "object",
        "properties": {"input": artifact.input_schema, "id": {}},
        "required": ["input"],
    }
    items = {"type": "array", "maxItems": 1000, "items": item}
    schema = {"type": "object", "properties": {"items": items}, "required": ["items"]}
    results = {"type": "array", "items": {"type": "object"}}
    answer = {"type": "object", "properties": {"results": results}, "required": ["results"]}
    return {
        "operationId": "batch_" + task_id.replace("-", "_"),
        "summary": f"up to 1000 inputs of {task_id} at once",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": schema,
                    "example": {"items": [{"input": example(artifact.input_schema), "id": 1}]},
                }
            },
        },
        "responses": {
            "200": {
                "description": "a result for each item",
                "content": {"application/json": {"schema": answer}},
            },
            **_problems(),
        },
    }


def _problems() -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in _SAYS.items()}


def example(schema: Any) -> Any:
    """A value that shows what a schema asks for."""
    if not isinstance(schema, dict):
        return None
    for name in ("example", "default", "const"):
        if name in schema:
            return schema[name]
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        wanted = schema.get("required") or list(schema.get("properties", {}))
        return {name: example(schema.get("properties", {}).get(name, {})) for name in wanted}
    if kind == "array":
        return [example(schema.get("items"))]
    return {"string": "text", "integer": 1, "number": 1.5, "boolean": True}.get(str(kind))


def _page(traffic: Traffic) -> str:
    parts = ["<h1>Tasks</h1>"]
    for task_id, lane in sorted(traffic.lanes.items()):
        parts.append(_section(task_id, lane))
    if not traffic.lanes:
        parts.append("<p>No task is served.</p>")
    parts.append('<p><a href="/openapi.json">openapi.json</a> <a href="/metrics">metrics</a></p>')
    return page("loopai", parts)


def _section(task_id: str, lane: Lane) -> str:
    artifact = lane.artifact
    body = jsonl.dumps({"input": example(artifact.input_schema)}).replace("'", "'\\''")
    curl = f"curl -s localhost:8080/v1/execute/{task_id} -H 'content-type: application/json' -d '{body}'"
    schemas = jsonl.dumps({"input": artifact.input_schema, "output": artifact.output_schema})
    return (
        f"<h2>{html.escape(task_id)} v{artifact.version}</h2><p>{html.escape(artifact.description)}</p>"
        f"{code(curl)}{code(schemas)}"
    )


def _json(status: int, body: Any) -> Response:
    return Response(jsonl.encode(body), status, media_type="application/json")


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: f"nothing is at {request.url.path[:200]}", 405: "this path does not take that method"}
    code, headers, body = problem(status, "request", text.get(status, "refused"))
    return Response(body, code, {name.decode(): value.decode() for name, value in headers})

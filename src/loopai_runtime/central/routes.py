"""All of the platform's HTTP interface, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from loopai_runtime import jsonl
from loopai_runtime.central import (
    artifact_routes,
    deployment_routes,
    execution_routes,
    generation_routes,
    improvement_routes,
    key_routes,
    rollout_routes,
    task_routes,
    telemetry_routes,
)
from loopai_runtime.central.access import Scope
from loopai_runtime.central.db.tables import tenants
from loopai_runtime.central.documentation import documentation
from loopai_runtime.central.metrics import Metrics
from loopai_runtime.central.openapi import description
from loopai_runtime.central.routing import Call, Operation, response_of, routes
from loopai_runtime.http.problem import problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from loopai_runtime.central.platform import Platform


async def metrics(call: Call) -> Response:
    text = Metrics(call.platform).text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


OPERATIONS = (
    *task_routes.OPERATIONS,
    *deployment_routes.OPERATIONS,
    *key_routes.OPERATIONS,
    *artifact_routes.OPERATIONS,
    *execution_routes.OPERATIONS,
    *generation_routes.OPERATIONS,
    *improvement_routes.OPERATIONS,
    *telemetry_routes.OPERATIONS,
    *rollout_routes.OPERATIONS,
    Operation("GET", "/metrics", metrics, Scope.READ, "Prometheus metrics", media="text/plain"),
)


def app(platform: Platform) -> Starlette:
    async def healthz(_request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        """Ready when the database answers and the end has not begun."""

        def read() -> bool:
            with platform.db.read() as connection:
                return connection.scalar(select(tenants.c.id).limit(1)) is not None

        try:
            ready = not platform.draining and await platform.thread(read)
        except Exception:
            ready = False
        return _json({"ready": ready}, 200 if ready else 503)

    async def openapi(_request: Request) -> Response:
        return _json(description(OPERATIONS))

    async def docs(_request: Request) -> Response:
        return HTMLResponse(documentation(OPERATIONS))

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            *routes(platform, OPERATIONS),
            *platform.news.routes(),
        ],
        exception_handlers={HTTPException: _refused},
    )


def _json(body: object, status: int = 200) -> Response:
    return Response(jsonl.encode(body), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: f"nothing is at {request.url.path[:200]}", 405: "this path does not take that method"}
    return response_of(problem(status, "request", text.get(status, "refused")))

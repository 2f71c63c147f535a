"""All of the platform's HTTP interface, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from loopai_runtime import jsonl
from loopai_runtime.central import artifact_routes, execution_routes, manage_routes, telemetry_routes
from loopai_runtime.central.routing import response_of, routes
from loopai_runtime.http.problem import problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from loopai_runtime.central.platform import Platform

OPERATIONS = (
    *manage_routes.OPERATIONS,
    *artifact_routes.OPERATIONS,
    *execution_routes.OPERATIONS,
    *telemetry_routes.OPERATIONS,
)


def app(platform: Platform) -> Starlette:
    async def healthz(_request: Request) -> Response:
        return Response(jsonl.encode({"status": "ok"}), media_type="application/json")

    return Starlette(
        routes=[Route("/healthz", healthz), *routes(platform, OPERATIONS), *platform.news.routes()],
        exception_handlers={HTTPException: _refused},
    )


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: f"nothing is at {request.url.path[:200]}", 405: "this path does not take that method"}
    return response_of(problem(status, "request", text.get(status, "refused")))

"""Rollouts over the edge's HTTP: how one stands, and starting, promoting and aborting it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.routing import Route

from loopai_runtime.edge.json_pages import Body, answering, parsed
from loopai_runtime.errors import UsageError
from loopai_runtime.flows import roll_out, standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

BY = "http"
MOST_SHOWN = 1000
_AT = "/api/v1/tasks/{task_id}/rollout"
_SLUG = r"[a-z0-9][a-z0-9-]{0,62}"


class Start(Body):
    version: int = Field(ge=1, le=999_999_999)


class Why(Body):
    reason: str = Field(min_length=1, max_length=500)


class RolloutPages:
    """Routes of the edge; each works in a thread, off the loop that serves."""

    def __init__(self, layout: Layout, config: Config) -> None:
        self._layout = layout
        self._config = config

    def routes(self) -> list[Route]:
        return [
            Route(_AT, answering(self.status), methods=["GET"]),
            Route(f"{_AT}/start", answering(self.start, 201), methods=["POST"]),
            Route(f"{_AT}/promote", answering(self.promote), methods=["POST"]),
            Route(f"{_AT}/abort", answering(self.abort), methods=["POST"]),
        ]

    async def status(self, request: Request) -> dict[str, Any]:
        """Raises NotFound, UsageError, StorageError."""
        text = request.query_params.get("disagreements", str(standing.SHOWN))
        if not (text.isascii() and text.isdecimal() and int(text[:6]) <= MOST_SHOWN):
            raise UsageError(f"disagreements must be a number from 0 to {MOST_SHOWN}")

        def read() -> dict[str, Any]:
            rollout = roll_out.status(self._layout, request.path_params["task_id"])
            return standing.shown(self._layout, rollout, disagreements=int(text))

        return await asyncio.to_thread(read)

    async def start(self, request: Request) -> dict[str, Any]:
        """Raises NotFound, GateMissed, UsageError, Busy."""
        body = await parsed(Start, request)
        ref = f"{request.path_params['task_id']}@{body.version}"
        begun = await asyncio.to_thread(roll_out.start, self._layout, self._config, ref, by=BY)
        return begun.as_dict()

    async def promote(self, request: Request) -> dict[str, Any]:
        return await self._end(roll_out.promote, request)

    async def abort(self, request: Request) -> dict[str, Any]:
        return await self._end(roll_out.abort, request)

    async def _end(self, how: Callable[..., Any], request: Request) -> dict[str, Any]:
        """Raises NotFound, UsageError where no rollout is under way, Busy."""
        body = await parsed(Why, request)
        task_id = request.path_params["task_id"]
        done = await asyncio.to_thread(how, self._layout, self._config, task_id, body.reason, by=BY)
        found: dict[str, Any] = done.as_dict()
        return found


# --- OpenAPI


def described(task_id: str, problems: dict[str, Any]) -> dict[str, Any]:
    """The paths of a task's rollout."""
    at, name = _AT.format(task_id=task_id), task_id.replace("-", "_")
    shown = {
        "name": "disagreements",
        "in": "query",
        "schema": {"type": "integer", "minimum": 0, "maximum": MOST_SHOWN, "default": standing.SHOWN},
    }
    status = _operation(f"rollout_{name}", f"how the rollout of {task_id} stands", problems)
    return {
        at: {"get": status | {"parameters": [shown]}},
        f"{at}/start": {"post": _changing("start", name, f"try a version of {task_id}", Start, problems)},
        f"{at}/promote": {
            "post": _changing("promote", name, "go to the next stage whatever the evidence says", Why, problems)
        },
        f"{at}/abort": {
            "post": _changing("abort", name, "end the rollout: the incumbent serves alone", Why, problems)
        },
    }


def _changing(verb: str, name: str, summary: str, body: type[Body], problems: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": body.model_json_schema()}}
    operation = _operation(f"rollout_{verb}_{name}", summary, problems, "201" if verb == "start" else "200")
    return operation | {"requestBody": {"required": True, "content": content}}


def _operation(operation_id: str, summary: str, problems: dict[str, Any], status: str = "200") -> dict[str, Any]:
    answer = {"description": "the rollout", "content": {"application/json": {"schema": _ROLLOUT}}}
    return {"operationId": operation_id, "summary": summary, "responses": {status: answer, **problems}}


_ROLLOUT = {
    "type": "object",
    "properties": {
        "rollout_id": {"type": "string"},
        "task_id": {"type": "string"},
        "candidate": {"type": "integer"},
        "incumbent": {"type": "integer"},
        "state": {"enum": ["running", "watching", "promoted", "rolled_back", "aborted"]},
        "stage": {"type": "integer", "description": "percent of the requests that the candidate serves"},
        "reason": {"type": "string"},
        "evidence": {"type": "object"},
        "disagreements": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["rollout_id", "task_id", "candidate", "incumbent", "state", "stage", "reason"],
}

"""Tickets over the edge's HTTP: what improving came to nothing on, for whoever keeps the tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.routing import Route

from loopai_runtime.edge.json_pages import Body, answering, parsed
from loopai_runtime.errors import UsageError
from loopai_runtime.tickets import Tickets

if TYPE_CHECKING:
    from starlette.requests import Request

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_AT = "/api/v1/tickets"
_STATES = ("open", "resolved")


class Resolution(Body):
    note: str = Field("", max_length=2000)
    """What was done about it."""


class TicketPages:
    """Routes of the edge; each works in a thread, off the loop that serves."""

    def __init__(self, layout: Layout, config: Config) -> None:
        self._layout = layout
        self._config = config
        self._tickets = Tickets(layout)

    def routes(self) -> list[Route]:
        return [
            Route(_AT, answering(self.list), methods=["GET"]),
            Route(f"{_AT}/{{ticket_id}}", answering(self.show), methods=["GET"]),
            Route(f"{_AT}/{{ticket_id}}/resolve", answering(self.resolve), methods=["POST"]),
        ]

    async def list(self, request: Request) -> dict[str, Any]:
        """Raises UsageError, StorageError."""
        status = request.query_params.get("status")
        if status not in (None, *_STATES):
            raise UsageError("status must be open or resolved")
        wanted = (request.query_params.get("task_id"), status)
        found = await asyncio.to_thread(self._tickets.list, *wanted)  # type: ignore[arg-type]
        return {"tickets": [one.as_dict(whole=False) for one in reversed(found)]}

    async def show(self, request: Request) -> dict[str, Any]:
        """Raises NotFound."""
        found = await asyncio.to_thread(self._tickets.show, request.path_params["ticket_id"])
        return found.as_dict()

    async def resolve(self, request: Request) -> dict[str, Any]:
        """Raises NotFound, InputError."""
        from loopai_runtime.flows.improve import resolve  # here, as it brings all of generating along

        body = await parsed(Resolution, request)
        given = (self._layout, self._config, request.path_params["ticket_id"], body.note)
        return (await asyncio.to_thread(resolve, *given)).as_dict(whole=False)


# --- OpenAPI


def described(problems: dict[str, Any]) -> dict[str, Any]:
    """The paths of tickets."""
    by_id = {"name": "ticket_id", "in": "path", "required": True, "schema": {"type": "string"}}
    listing = [
        {"name": "task_id", "in": "query", "schema": {"type": "string"}},
        {"name": "status", "in": "query", "schema": {"enum": list(_STATES)}},
    ]
    content = {"application/json": {"schema": Resolution.model_json_schema()}}
    body = {"requestBody": {"required": True, "content": content}}
    return {
        _AT: {"get": _operation("tickets", "tickets, the latest first", listing, problems)},
        f"{_AT}/{{ticket_id}}": {"get": _operation("ticket", "a ticket, and what was tried", [by_id], problems)},
        f"{_AT}/{{ticket_id}}/resolve": {
            "post": _operation("resolve_ticket", "close it: the task's loop goes on", [by_id], problems) | body
        },
    }


def _operation(
    id_: str, summary: str, parameters: list[dict[str, Any]], problems: dict[str, Any]
) -> dict[str, Any]:
    answer = {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "operationId": id_,
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": answer, **problems},
    }

"""What the platform does about tasks that fail too often, over HTTP; and its tickets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from loopai_runtime.central import improvements, tickets
from loopai_runtime.central.access import Scope
from loopai_runtime.central.routing import Call, Operation
from loopai_runtime.errors import UsageError
from loopai_runtime.layout import checked_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

_STATES = ("open", "resolved")


class Resolution(BaseModel):
    note: str = Field("", max_length=2000)
    """What was done about it."""


async def _read(call: Call, work: Callable[[Connection], Any]) -> Any:
    def read() -> Any:
        with call.platform.db.read() as connection:
            return work(connection)

    return await call.platform.thread(read)


async def of_task(call: Call) -> dict[str, Any]:
    task_id = checked_task(call.params["task_id"])
    await call.platform.thread(call.platform.generations.spec, call.caller.tenant_id, task_id)  # 404 where none
    found = await _read(call, partial(improvements.of_task, tenant_id=call.caller.tenant_id, task_id=task_id))
    return {"task_id": task_id, "improvements": [_shown(row) for row in found]}


async def improve(call: Call) -> dict[str, Any]:
    """Begin now, also without evidence, within the cool-down and past a ticket."""
    task_id = checked_task(call.params["task_id"])
    reason = await call.platform.coordinator.look(call.caller.tenant_id, task_id, force=True)
    return {"task_id": task_id, "reason": reason}


async def list_tickets(call: Call) -> dict[str, Any]:
    task_id, status = call.query.get("task_id"), call.query.get("status")
    if status not in (None, *_STATES):
        raise UsageError("status must be open or resolved")
    task_id = None if task_id is None else checked_task(task_id)
    wanted = partial(tickets.listed, tenant_id=call.caller.tenant_id, task_id=task_id, status=status)
    return {"tickets": await _read(call, wanted)}


async def ticket(call: Call) -> dict[str, Any]:
    wanted = partial(tickets.shown, tenant_id=call.caller.tenant_id, ticket_id=call.params["ticket_id"])
    found: dict[str, Any] = await _read(call, wanted)
    return found


async def resolve(call: Call) -> dict[str, Any]:
    """The task's loop goes on."""
    caller, ticket_id = call.caller, call.params["ticket_id"]
    done = await call.platform.coordinator.resolve(caller.tenant_id, caller.key_id, ticket_id, call.body.note)
    return {name: done[name] for name in ("id", "task_id", "title", "status", "resolution", "created_at")}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "base", "state", "reason", "version", "started_at", "ended_at")
    return {name: row[name] for name in names}


_ID = "285498c0-88f6-4c96-8031-66438d85456a"
_AT = "2025-10-26T10:00:00.123456Z"
_IMPROVEMENT = {
    "id": _ID,
    "base": 2,
    "state": "made",
    "reason": "v3 is published",
    "version": 3,
    "started_at": _AT,
    "ended_at": "2025-10-26T10:00:19.345678Z",
}
_TICKET = {
    "id": _ID,
    "task_id": "spam-detection",
    "title": "spam-detection: improving it came to nothing, 3 times in a row",
    "status": "open",
    "resolution": None,
    "created_at": _AT,
}
_OF_TASK = "/api/v1/tasks/{task_id}"
OPERATIONS = (
    Operation(
        "GET",
        f"{_OF_TASK}/improvements",
        of_task,
        Scope.READ,
        "What was tried to improve a task, the latest first",
        examples={"response": {"task_id": "spam-detection", "improvements": [_IMPROVEMENT]}},
    ),
    Operation(
        "POST",
        f"{_OF_TASK}/improve",
        improve,
        Scope.PUBLISH,
        "Improve a task now, from what its deployments report",
        status=202,
    ),
    Operation(
        "GET",
        "/api/v1/tickets",
        list_tickets,
        Scope.READ,
        "What the loop could not settle by itself, the latest first",
        examples={"response": {"tickets": [_TICKET | {"updated_at": _AT}]}},
        query={
            "task_id": {"type": "string"},
            "status": {"enum": list(_STATES)},
        },
    ),
    Operation("GET", "/api/v1/tickets/{ticket_id}", ticket, Scope.READ, "A ticket, and what was tried"),
    Operation(
        "POST",
        "/api/v1/tickets/{ticket_id}/resolve",
        resolve,
        Scope.PUBLISH,
        "Close a ticket",
        body=Resolution,
        examples={"request": {"note": "two labels were swapped"}},
    ),
)

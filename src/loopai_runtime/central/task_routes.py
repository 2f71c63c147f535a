"""Tasks over HTTP."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import select, update

from loopai_runtime.central.access import Scope
from loopai_runtime.central.audit import note
from loopai_runtime.central.db.tables import tasks
from loopai_runtime.central.routing import CURSOR, Call, Operation
from loopai_runtime.errors import NotFound
from loopai_runtime.layout import checked_task
from loopai_runtime.models import utc_now

_PAGE = 100


class Task(BaseModel):
    description: str = Field("", max_length=10_000)
    spec: dict[str, Any] = {}
    """As spec.yaml has it."""


async def list_tasks(call: Call) -> dict[str, Any]:
    """A page of ids, and where the next begins."""

    def read() -> list[str]:
        mine = (tasks.c.tenant_id == call.caller.tenant_id, tasks.c.deleted_at.is_(None))
        after = tasks.c.task_id > call.query.get("cursor", "")
        wanted = select(tasks.c.task_id).where(*mine, after).order_by(tasks.c.task_id).limit(_PAGE + 1)
        with call.platform.db.read() as connection:
            return list(connection.scalars(wanted))

    found = await call.platform.thread(read)
    following = found[_PAGE - 1] if len(found) > _PAGE else None
    return {"tasks": [{"task_id": each} for each in found[:_PAGE]], "next": following}


async def get_task(call: Call) -> dict[str, Any]:
    task_id = checked_task(call.params["task_id"])

    def read() -> dict[str, Any]:
        with call.platform.db.read() as connection:
            row = connection.execute(select(tasks).where(*_this(call, task_id))).mappings().first()
            if row is None:
                raise NotFound(f"no task {task_id!r}")
            return dict(row)

    found = await call.platform.thread(read)
    return {name: value for name, value in found.items() if name not in ("tenant_id", "deleted_at")}


async def put_task(call: Call) -> dict[str, Any]:
    task_id = checked_task(call.params["task_id"])
    body: Task = call.body

    def write() -> None:
        now = utc_now()
        values = {"description": body.description, "spec": body.spec, "updated_at": now, "deleted_at": None}
        row = {"tenant_id": call.caller.tenant_id, "task_id": task_id, "created_at": now}
        mine = (tasks.c.tenant_id == call.caller.tenant_id, tasks.c.task_id == task_id)
        with call.platform.db.write() as connection:
            connection.execute(call.platform.db.insert_new(tasks), row | values)
            connection.execute(update(tasks).where(*mine).values(values))
            note(connection, call.caller.tenant_id, call.caller.key_id, "task.put", task_id=task_id)

    await call.platform.thread(write)
    await call.platform.execution.refresh(call.caller.tenant_id, task_id)
    return {"task_id": task_id}


async def delete_task(call: Call) -> dict[str, Any]:
    """Its versions stay, and are found again where the task is put again."""
    task_id = checked_task(call.params["task_id"])

    def write() -> None:
        with call.platform.db.write() as connection:
            done = connection.execute(update(tasks).where(*_this(call, task_id)).values(deleted_at=utc_now()))
            if not done.rowcount:
                raise NotFound(f"no task {task_id!r}")
            note(connection, call.caller.tenant_id, call.caller.key_id, "task.deleted", task_id=task_id)

    await call.platform.thread(write)
    await call.platform.execution.refresh(call.caller.tenant_id, task_id)
    return {"task_id": task_id, "deleted": True}


def _this(call: Call, task_id: str) -> tuple[Any, ...]:
    return (tasks.c.tenant_id == call.caller.tenant_id, tasks.c.task_id == task_id, tasks.c.deleted_at.is_(None))


_SPEC = {"name": "spam-detection", "description": "Classify", "input_schema": {}, "output_schema": {}}
_PUT = {"description": "Classify", "spec": _SPEC}
_TIME = "2025-10-26T10:00:00.123456Z"
_ROW = {"task_id": "spam-detection", **_PUT, "active_version": 2, "created_at": _TIME, "updated_at": _TIME}
_AT = "/api/v1/tasks/{task_id}"
OPERATIONS = (
    Operation(
        "GET",
        "/api/v1/tasks",
        list_tasks,
        Scope.READ,
        "The tasks, a page of them",
        query=CURSOR,
        examples={"response": {"tasks": [{"task_id": "spam-detection"}], "next": None}},
    ),
    Operation("GET", _AT, get_task, Scope.READ, "A task", examples={"response": _ROW}),
    Operation(
        "PUT",
        _AT,
        put_task,
        Scope.PUBLISH,
        "Make a task, or change it",
        body=Task,
        examples={"request": _PUT, "response": {"task_id": "spam-detection"}},
    ),
    Operation(
        "DELETE",
        _AT,
        delete_task,
        Scope.ADMIN,
        "Give a task up",
        examples={"response": {"task_id": "spam-detection", "deleted": True}},
    ),
)

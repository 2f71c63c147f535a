"""Tasks, deployments and keys over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import delete, insert, select

from loopai_runtime.central.access import Scope
from loopai_runtime.central.db.tables import deployment_tasks, deployments, tasks
from loopai_runtime.central.routing import Call, Operation
from loopai_runtime.errors import NotFound
from loopai_runtime.layout import checked_task
from loopai_runtime.models import Slug, utc_now


class Deployment(BaseModel):
    tasks: list[Slug] = Field([], max_length=1000)


class NewKey(BaseModel):
    name: str = Field("", max_length=200)
    scopes: list[Scope] = Field(min_length=1)
    deployment_id: Slug | None = None
    rate_per_minute: float | None = Field(None, gt=0)


async def list_tasks(call: Call) -> dict[str, Any]:
    def read() -> list[str]:
        mine = (tasks.c.tenant_id == call.caller.tenant_id, tasks.c.deleted_at.is_(None))
        with call.platform.db.read() as connection:
            return list(connection.scalars(select(tasks.c.task_id).where(*mine).order_by(tasks.c.task_id)))

    return {"tasks": [{"task_id": each} for each in await call.platform.thread(read)], "next": None}


async def task(call: Call) -> dict[str, Any]:
    task_id = checked_task(call.params["task_id"])

    def read() -> dict[str, Any] | None:
        mine = (tasks.c.tenant_id == call.caller.tenant_id, tasks.c.task_id == task_id)
        with call.platform.db.read() as connection:
            row = connection.execute(select(tasks).where(*mine, tasks.c.deleted_at.is_(None))).mappings().first()
            return None if row is None else dict(row)

    found = await call.platform.thread(read)
    if found is None:
        raise NotFound(f"no task {task_id!r}")
    return {name: value for name, value in found.items() if name not in ("tenant_id", "deleted_at")}


async def put_deployment(call: Call) -> dict[str, Any]:
    tenant_id, deployment_id = call.caller.tenant_id, checked_task(call.params["deployment_id"])
    wanted = sorted(set(call.body.tasks))

    def write() -> None:
        with call.platform.db.write() as connection:
            known = set(connection.scalars(select(tasks.c.task_id).where(tasks.c.tenant_id == tenant_id)))
            if missing := set(wanted) - known:
                raise NotFound(f"no task {min(missing)!r}")
            row = {"tenant_id": tenant_id, "deployment_id": deployment_id, "id": str(uuid.uuid4())}
            connection.execute(call.platform.db.insert_new(deployments), row | {"created_at": utc_now()})
            mine = (deployment_tasks.c.tenant_id == tenant_id, deployment_tasks.c.deployment_id == deployment_id)
            connection.execute(delete(deployment_tasks).where(*mine))
            place = {"tenant_id": tenant_id, "deployment_id": deployment_id}
            if wanted:
                connection.execute(insert(deployment_tasks), [place | {"task_id": each} for each in wanted])

    await call.platform.thread(write)
    call.platform.news.assigned(tenant_id, deployment_id, wanted)
    return {"deployment_id": deployment_id, "tasks": wanted}


async def deployment(call: Call) -> dict[str, Any]:
    tenant_id, deployment_id = call.caller.tenant_id, checked_task(call.params["deployment_id"])

    def read() -> dict[str, Any]:
        with call.platform.db.read() as connection:
            mine = (deployments.c.tenant_id == tenant_id, deployments.c.deployment_id == deployment_id)
            row = connection.execute(select(deployments).where(*mine)).mappings().first()
            if row is None:
                raise NotFound(f"no deployment {deployment_id!r}")
            its = (deployment_tasks.c.tenant_id == tenant_id, deployment_tasks.c.deployment_id == deployment_id)
            assigned = connection.scalars(
                select(deployment_tasks.c.task_id).where(*its).order_by(deployment_tasks.c.task_id)
            )
            return {k: v for k, v in row.items() if k != "tenant_id"} | {"tasks": list(assigned)}

    return await call.platform.thread(read)


async def create_key(call: Call) -> dict[str, Any]:
    body: NewKey = call.body
    platform, caller = call.platform, call.caller

    def create() -> tuple[str, str]:
        return platform.keys.create(
            caller.tenant_id,
            body.name,
            body.scopes,
            deployment_id=body.deployment_id,
            rate_per_minute=body.rate_per_minute,
        )

    key_id, key = await platform.thread(create)
    await platform.thread(platform.audit, caller, "key.created", key_id=key_id)
    return {"id": key_id, "key": key}


async def revoke_key(call: Call) -> dict[str, Any]:
    platform, caller, key_id = call.platform, call.caller, call.params["key_id"]
    await platform.thread(platform.keys.revoke, caller.tenant_id, key_id)
    platform.news.revoked(key_id)
    await platform.thread(platform.audit, caller, "key.revoked", key_id=key_id)
    return {"id": key_id, "revoked": True}


OPERATIONS = (
    Operation("GET", "/api/v1/tasks", list_tasks, Scope.READ, "The tasks"),
    Operation("GET", "/api/v1/tasks/{task_id}", task, Scope.READ, "A task"),
    Operation("GET", "/api/v1/deployments/{deployment_id}", deployment, Scope.READ, "A deployment"),
    Operation(
        "PUT",
        "/api/v1/deployments/{deployment_id}",
        put_deployment,
        Scope.ADMIN,
        "Make a deployment, or assign it tasks",
        body=Deployment,
    ),
    Operation("POST", "/api/v1/keys", create_key, Scope.ADMIN, "Make a key", body=NewKey, status=201),
    Operation("DELETE", "/api/v1/keys/{key_id}", revoke_key, Scope.ADMIN, "Revoke a key"),
)

"""Deployments over HTTP: which edges there are, and which tasks each of them has."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import delete, insert, select

from loopai_runtime.central.access import Scope, know_deployment
from loopai_runtime.central.audit import note
from loopai_runtime.central.db.tables import deployment_tasks, deployments, tasks
from loopai_runtime.central.routing import CURSOR, Call, Operation
from loopai_runtime.errors import NotFound
from loopai_runtime.layout import checked_task
from loopai_runtime.models import Slug

_PAGE = 100


class Deployment(BaseModel):
    tasks: list[Slug] = Field([], max_length=1000)


async def list_deployments(call: Call) -> dict[str, Any]:
    """A page of them, and where the next begins."""

    def read() -> list[dict[str, Any]]:
        mine = deployments.c.tenant_id == call.caller.tenant_id
        after = deployments.c.deployment_id > call.query.get("cursor", "")
        columns = (deployments.c.deployment_id, deployments.c.last_seen_at, deployments.c.status)
        wanted = select(*columns).where(mine, after).order_by(deployments.c.deployment_id).limit(_PAGE + 1)
        with call.platform.db.read() as connection:
            return [dict(row) for row in connection.execute(wanted).mappings()]

    found = await call.platform.thread(read)
    following = found[_PAGE - 1]["deployment_id"] if len(found) > _PAGE else None
    return {"deployments": found[:_PAGE], "next": following}


async def get_deployment(call: Call) -> dict[str, Any]:
    tenant_id, deployment_id = call.caller.tenant_id, checked_task(call.params["deployment_id"])

    def read() -> dict[str, Any]:
        with call.platform.db.read() as connection:
            mine = (deployments.c.tenant_id == tenant_id, deployments.c.deployment_id == deployment_id)
            row = connection.execute(select(deployments).where(*mine)).mappings().first()
            if row is None:
                raise NotFound(f"no deployment {deployment_id!r}")
            wanted = select(deployment_tasks.c.task_id).where(*_its(tenant_id, deployment_id))
            assigned = connection.scalars(wanted.order_by(deployment_tasks.c.task_id))
            return {k: v for k, v in row.items() if k != "tenant_id"} | {"tasks": list(assigned)}

    return await call.platform.thread(read)


async def put_deployment(call: Call) -> dict[str, Any]:
    tenant_id, deployment_id = call.caller.tenant_id, checked_task(call.params["deployment_id"])
    wanted = sorted(set(call.body.tasks))
    facts = {"deployment_id": deployment_id, "tasks": wanted}

    def write() -> None:
        place = {"tenant_id": tenant_id, "deployment_id": deployment_id}
        mine = (tasks.c.tenant_id == tenant_id, tasks.c.deleted_at.is_(None))
        with call.platform.db.write() as connection:
            known = set(connection.scalars(select(tasks.c.task_id).where(*mine)))
            if missing := set(wanted) - known:
                raise NotFound(f"no task {min(missing)!r}")
            know_deployment(call.platform.db, connection, tenant_id, deployment_id)
            connection.execute(delete(deployment_tasks).where(*_its(tenant_id, deployment_id)))
            if wanted:
                connection.execute(insert(deployment_tasks), [place | {"task_id": each} for each in wanted])
            note(connection, tenant_id, call.caller.key_id, "deployment.put", **facts)

    await call.platform.thread(write)
    call.platform.news.assigned(tenant_id, deployment_id, wanted)
    return facts


async def delete_deployment(call: Call) -> dict[str, Any]:
    """Its keys are revoked and its tasks taken away; what it reported stays."""
    platform, by = call.platform, call.caller.key_id
    tenant_id, deployment_id = call.caller.tenant_id, checked_task(call.params["deployment_id"])
    mine = (deployments.c.tenant_id == tenant_id, deployments.c.deployment_id == deployment_id)

    def revoke() -> list[str]:
        with platform.db.read() as connection:
            if connection.scalar(select(deployments.c.id).where(*mine)) is None:
                raise NotFound(f"no deployment {deployment_id!r}")
        its = [key["id"] for key in platform.keys.list(tenant_id) if key["deployment_id"] == deployment_id]
        for key_id in its:
            platform.keys.revoke(tenant_id, key_id, by=by)
        return its

    def write() -> None:
        with platform.db.write() as connection:
            connection.execute(delete(deployment_tasks).where(*_its(tenant_id, deployment_id)))
            connection.execute(delete(deployments).where(*mine))
            note(connection, tenant_id, by, "deployment.deleted", deployment_id=deployment_id)

    for key_id in await platform.thread(revoke):
        platform.news.revoked(key_id)
    await platform.thread(write)
    return {"deployment_id": deployment_id, "deleted": True}


def _its(tenant_id: str, deployment_id: str) -> tuple[Any, ...]:
    return (deployment_tasks.c.tenant_id == tenant_id, deployment_tasks.c.deployment_id == deployment_id)


_TIME = "2025-10-26T10:00:00.123456Z"
_SEEN = {"deployment_id": "shop-1", "last_seen_at": _TIME, "status": {"status": "ok"}}
_ROW = _SEEN | {
    "id": "285498c0-88f6-4c96-8031-66438d85456a",
    "created_at": _TIME,
    "versions": {"spam-detection": 2},
    "clock_skew_ms": 1.5,
    "tasks": ["spam-detection"],
}
_TASKS = {"tasks": ["spam-detection"]}
_AT = "/api/v1/deployments/{deployment_id}"
OPERATIONS = (
    Operation(
        "GET",
        "/api/v1/deployments",
        list_deployments,
        Scope.READ,
        "The deployments, a page of them",
        query=CURSOR,
        examples={"response": {"deployments": [_SEEN], "next": None}},
    ),
    Operation(
        "GET",
        _AT,
        get_deployment,
        Scope.READ,
        "A deployment: when it was last seen, what it has and serves",
        examples={"response": _ROW},
    ),
    Operation(
        "PUT",
        _AT,
        put_deployment,
        Scope.ADMIN,
        "Make a deployment, and assign it tasks",
        body=Deployment,
        examples={"request": _TASKS, "response": {"deployment_id": "shop-1", **_TASKS}},
    ),
    Operation(
        "DELETE",
        _AT,
        delete_deployment,
        Scope.ADMIN,
        "Give a deployment up: its keys are revoked, what it reported stays",
        examples={"response": {"deployment_id": "shop-1", "deleted": True}},
    ),
)

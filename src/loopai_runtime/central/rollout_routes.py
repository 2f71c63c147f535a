"""Rollouts over HTTP: what edges have reported of them, and the request to abort."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from loopai_runtime.central import rollouts
from loopai_runtime.central.access import Scope
from loopai_runtime.central.routing import Call, Operation
from loopai_runtime.layout import checked_task
from loopai_runtime.models import Slug


class Abort(BaseModel):
    reason: str = Field(min_length=1, max_length=500)
    deployment_id: Slug | None = None
    """One edge's; without it that of every edge."""


async def of_task(call: Call) -> dict[str, Any]:
    task_id = checked_task(call.params["task_id"])
    return await call.platform.thread(rollouts.of_task, call.platform.db, call.caller.tenant_id, task_id)


async def of_deployment(call: Call) -> dict[str, Any]:
    deployment_id = checked_task(call.params["deployment_id"])
    return await call.platform.thread(
        rollouts.of_deployment, call.platform.db, call.caller.tenant_id, deployment_id
    )


async def abort(call: Call) -> dict[str, Any]:
    task_id, asked = checked_task(call.params["task_id"]), call.body
    caller = call.caller
    found = await call.platform.thread(
        rollouts.ask_abort,
        call.platform.db,
        caller.tenant_id,
        caller.key_id,
        task_id,
        asked.reason,
        asked.deployment_id,
    )
    call.platform.news.abort(caller.tenant_id, task_id, asked.reason)
    return {"task_id": task_id, "asked": [each._asdict() for each in found]}


_ID = "0b6cf2b1-5f6e-4c35-9d0a-2f3f6a1f0c11"
_ROLLOUT = {
    "deployment_id": "berlin-1",
    "task_id": "spam-detection",
    "rollout_id": _ID,
    "version": 3,
    "state": "running",
    "updated_at": "2025-10-26T10:05:00Z",
    "counts": {"rollout_id": _ID, "state": "running", "share": 10, "shadowed": 4120, "differed": 61, "labels": 44},
}
_TOTAL = {"states": {"running": 1}, "shadowed": 4120, "differed": 61, "labels": 44}
OPERATIONS = (
    Operation(
        "GET",
        "/api/v1/tasks/{task_id}/rollouts",
        of_task,
        Scope.READ,
        "The rollouts of a task at all edges, the latest first, as the edges report them",
        examples={"response": {"task_id": "spam-detection", "versions": {"3": _TOTAL}, "rollouts": [_ROLLOUT]}},
    ),
    Operation(
        "POST",
        "/api/v1/tasks/{task_id}/rollouts/abort",
        abort,
        Scope.PUBLISH,
        "Ask edges to abort their rollouts of a task; each does so when it next looks, and nothing promotes one",
        body=Abort,
        status=202,
        examples={
            "request": {"reason": "a customer complained"},
            "response": {
                "task_id": "spam-detection",
                "asked": [{"deployment_id": "berlin-1", "rollout_id": _ID}],
            },
        },
    ),
    Operation(
        "GET",
        "/api/v1/deployments/{deployment_id}/rollouts",
        of_deployment,
        Scope.READ,
        "A deployment's rollouts that are under way, and which of them it is asked to abort",
        examples={"response": {"deployment_id": "berlin-1", "rollouts": [_ROLLOUT]}},
    ),
)

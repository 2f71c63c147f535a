"""Execution over HTTP, as at an edge; and which version it is that executes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from loopai_runtime.central import serving
from loopai_runtime.central.access import Scope
from loopai_runtime.central.routing import Call, Operation, response_of
from loopai_runtime.layout import checked_task

if TYPE_CHECKING:
    from starlette.responses import Response


class Choice(BaseModel):
    version: int = Field(ge=1, le=999_999_999, strict=True)


async def execute(call: Call) -> Response:
    """One input."""
    return await _answered(call, is_batch=False)


async def batch(call: Call) -> Response:
    """Up to 1000 inputs."""
    return await _answered(call, is_batch=True)


async def _answered(call: Call, *, is_batch: bool) -> Response:
    route = (checked_task(call.params["task_id"]), is_batch)
    key = call.request.headers.get("idempotency-key")
    answer = await call.platform.execution.answer(
        route, call.caller, call.body, None if key is None else key.encode("latin-1")
    )
    return response_of(answer)


async def choose(call: Call) -> dict[str, Any]:
    """Let another version execute."""
    platform, caller = call.platform, call.caller
    task_id, version = checked_task(call.params["task_id"]), call.body.version
    before = await platform.thread(serving.choose, platform.db, caller.tenant_id, task_id, version, caller.key_id)
    await platform.execution.refresh(caller.tenant_id, task_id)
    return {"task_id": task_id, "version": version, "previous": before}


async def chosen(call: Call) -> dict[str, Any]:
    """The version that executes, and what it takes and answers."""
    platform = call.platform
    task_id = checked_task(call.params["task_id"])
    version = await platform.thread(serving.version_of, platform.db, call.caller.tenant_id, task_id)
    told = await platform.thread(serving.schemas_of, platform.db, call.caller.tenant_id, task_id, version)
    return {"task_id": task_id, "version": version, **told}


_INPUT = {"input": {"text": "Buy now!"}}
_ANSWER = {
    "output": "spam",
    "latency_ms": 0.09,
    "execution_id": "285498c0-88f6-4c96-8031-66438d85456a",
    "version": 2,
}
_ONE = {
    "request": _INPUT,
    "response": _ANSWER | {"task_id": "spam-detection", "source": "program"},
}
_MANY = {"request": {"items": [_INPUT]}, "response": {"results": [_ANSWER | {"status": "success"}]}}
_CHOSEN = {"task_id": "spam-detection", "version": 2}
_TASK = "/api/v1/tasks/{task_id}"
OPERATIONS = (
    Operation(
        "POST",
        "/v1/execute/{task_id}",
        execute,
        Scope.EXECUTE,
        "Execute an input",
        raw_body=True,
        is_counted=False,
        examples=_ONE,
    ),
    Operation(
        "POST",
        f"{_TASK}/execute",
        execute,
        Scope.EXECUTE,
        "Execute an input",
        raw_body=True,
        is_counted=False,
        examples=_ONE,
    ),
    Operation(
        "POST",
        f"{_TASK}/batch",
        batch,
        Scope.EXECUTE,
        "Execute up to 1000 inputs",
        raw_body=True,
        is_counted=False,
        examples=_MANY,
    ),
    Operation(
        "GET",
        f"{_TASK}/active",
        chosen,
        Scope.READ,
        "The version that executes",
        examples={"response": _CHOSEN | {"input_schema": {}, "output_schema": {"enum": ["spam", "ham"]}}},
    ),
    Operation(
        "PUT",
        f"{_TASK}/active",
        choose,
        Scope.PUBLISH,
        "Let another version execute",
        body=Choice,
        examples={"request": {"version": 2}, "response": _CHOSEN | {"previous": 1}},
    ),
)

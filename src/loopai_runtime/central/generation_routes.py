"""Programs that the platform writes, over HTTP: ask for one, look how far it is."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from loopai_runtime import jsonl
from loopai_runtime.central.access import Scope
from loopai_runtime.central.routing import Call, Operation
from loopai_runtime.layout import checked_task
from loopai_runtime.models import InlineExample


class Wanted(BaseModel):
    examples: list[InlineExample] = Field([], max_length=100_000)
    """Beside those in the task's specification."""


async def generate(call: Call) -> Response:
    """Begin to write a program of the task's specification; one at a time for a task."""
    task_id, wanted = checked_task(call.params["task_id"]), call.body
    examples: list[dict[str, Any]] = [each.model_dump(mode="json") for each in wanted.examples]
    row = await call.platform.generations.ask(call.caller, task_id, examples)
    at = f"/api/v1/tasks/{task_id}/generations/{row['id']}"
    return Response(jsonl.encode(row), 202, {"location": at}, media_type="application/json")


async def generation(call: Call) -> dict[str, Any]:
    """How far it is: `state` is queued, running, done (then `version` is the new one), or failed (see `error`)."""
    task_id, generation_id = checked_task(call.params["task_id"]), call.params["generation_id"]
    return await call.platform.thread(
        call.platform.generations.read, call.caller.tenant_id, task_id, generation_id
    )


_NOT_YET = ("version", "status", "started_at", "ended_at")
_AT = "/api/v1/tasks/{task_id}"
_ROW = {
    "id": "285498c0-88f6-4c96-8031-66438d85456a",
    "task_id": "spam-detection",
    "state": "done",
    "version": 3,
    "status": "validated",
    "error": None,
    "created_at": "2025-10-26T10:00:00.123456Z",
    "started_at": "2025-10-26T10:00:00.234567Z",
    "ended_at": "2025-10-26T10:00:09.345678Z",
}
OPERATIONS = (
    Operation(
        "POST",
        f"{_AT}/generate",
        generate,
        Scope.PUBLISH,
        "Write a program",
        body=Wanted,
        status=202,
        examples={
            "request": {"examples": [{"input": {"text": "Buy now!"}, "output": "spam"}]},
            "response": _ROW | dict.fromkeys(_NOT_YET) | {"state": "queued"},
        },
    ),
    Operation(
        "GET",
        _AT + "/generations/{generation_id}",
        generation,
        Scope.READ,
        "How far a program is",
        examples={"response": _ROW},
    ),
)

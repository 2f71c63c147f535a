"""Artifacts over HTTP: upload, list, download, deprecate."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from loopai_runtime import jsonl
from loopai_runtime.artifacts.bundle import sha256
from loopai_runtime.central.access import Scope
from loopai_runtime.central.routing import Call, Operation
from loopai_runtime.errors import NotFound
from loopai_runtime.layout import checked_task

_VERSION = re.compile(r"v([1-9][0-9]{0,8})")


class Reason(BaseModel):
    reason: str = Field(min_length=1, max_length=1000)


async def upload(call: Call) -> Response:
    task_id = checked_task(call.params["task_id"])
    platform, caller = call.platform, call.caller
    made = await platform.thread(platform.repository.publish, caller.tenant_id, task_id, call.body, caller.key_id)
    if made.created:
        await platform.execution.refresh(caller.tenant_id, task_id)
        platform.news.artifact(caller.tenant_id, task_id, made.version)
        await platform.thread(platform.audit, caller, "artifact.published", task_id=task_id, version=made.version)
    body = {"task_id": task_id, "version": made.version, "sha256": made.sha256}
    return _json(body, 201 if made.created else 200)


async def versions(call: Call) -> Response:
    task_id = checked_task(call.params["task_id"])
    found = await call.platform.thread(call.platform.repository.versions, call.caller.tenant_id, task_id)
    content = jsonl.encode({"versions": found, "next": None})
    etag = f'"{sha256(content)[:32]}"'
    if call.request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return Response(content, media_type="application/json", headers={"etag": etag})


async def download(call: Call) -> Response:
    content = await call.platform.thread(
        call.platform.repository.read, call.caller.tenant_id, checked_task(call.params["task_id"]), _version(call)
    )
    return Response(content, media_type="application/zip", headers={"etag": f'"{sha256(content)}"'})


async def deprecate(call: Call) -> dict[str, Any]:
    task_id, version = checked_task(call.params["task_id"]), _version(call)
    platform, caller = call.platform, call.caller
    await platform.thread(platform.repository.deprecate, caller.tenant_id, task_id, version, call.body.reason)
    await platform.execution.refresh(caller.tenant_id, task_id)
    await platform.thread(platform.audit, caller, "artifact.deprecated", task_id=task_id, version=version)
    return {"task_id": task_id, "version": version, "status": "deprecated"}


def _version(call: Call) -> int:
    match = _VERSION.fullmatch(call.params["version"])
    if match is None:
        raise NotFound("a version is written v3")
    return int(match[1])


def _json(body: dict[str, Any], status: int) -> Response:
    return Response(jsonl.encode(body), status, media_type="application/json")


_AT = "/api/v1/artifacts/{task_id}"
OPERATIONS = (
    Operation("POST", f"{_AT}/upload", upload, Scope.PUBLISH, "Publish a bundle", status=201, raw_body=True),
    Operation("GET", f"{_AT}/versions", versions, Scope.READ, "The versions of a task"),
    Operation("GET", _AT + "/{version}/download", download, Scope.READ, "A version's bundle"),
    Operation("POST", _AT + "/{version}/deprecate", deprecate, Scope.PUBLISH, "Give up a version", body=Reason),
)

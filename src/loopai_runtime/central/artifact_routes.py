"""Artifacts over HTTP: upload, list, download, describe, deprecate."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from loopai_runtime import jsonl
from loopai_runtime.artifacts import archive
from loopai_runtime.artifacts.bundle import sha256
from loopai_runtime.central.access import Scope
from loopai_runtime.central.routing import CURSOR, Call, Operation
from loopai_runtime.errors import NotFound, UsageError
from loopai_runtime.http import ranges
from loopai_runtime.http.problem import Refused
from loopai_runtime.layout import checked_task

_VERSION = re.compile(r"v([1-9][0-9]{0,8})")
_ZIP = "application/zip"
PAGE, MOST_IN_PAGE = 100, 1000


class Reason(BaseModel):
    reason: str = Field(min_length=1, max_length=1000)


async def upload(call: Call) -> Response:
    task_id = _task(call)
    if call.request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Refused(415, f"a bundle is sent as it is, with content-type {_ZIP}: no form around it")
    platform, caller = call.platform, call.caller
    async with platform.publishing:
        made = await platform.thread(
            platform.repository.publish, caller.tenant_id, task_id, call.body, caller.key_id
        )
    if made.created:
        await platform.execution.refresh(caller.tenant_id, task_id)
        platform.news.artifact(caller.tenant_id, task_id, made.version)
    body = {"task_id": task_id, "version": made.version, "sha256": made.sha256}
    return _json(body, 201 if made.created else 200)


async def versions(call: Call) -> Response:
    """The oldest first. `next` is the `cursor` of the following page; `limit` says how many there are in one."""
    after, limit = _number(call, "cursor", 0), _number(call, "limit", PAGE)
    if not 1 <= limit <= MOST_IN_PAGE:
        raise UsageError(f"limit must be from 1 to {MOST_IN_PAGE}")
    page = await call.platform.thread(
        call.platform.repository.versions, call.caller.tenant_id, _task(call), after, limit
    )
    etag = ranges.etag_of(sha256(f"{page.mark} {after} {limit}".encode())[:32])
    if ranges.matches(call.request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers={"etag": etag})
    body = {"versions": page.versions, "next": None if page.next is None else str(page.next)}
    return _json(body, etag=etag)


async def download(call: Call) -> Response:
    task_id, version = _task(call), _version(call)
    content = await call.platform.thread(call.platform.repository.read, call.caller.tenant_id, task_id, version)
    etag = ranges.etag_of(sha256(content))
    headers = {
        "etag": etag,
        "repr-digest": ranges.repr_digest(content),
        "accept-ranges": "bytes",
        "cache-control": "private, immutable, max-age=31536000",
        "content-disposition": f'attachment; filename="{task_id}-v{version}.zip"',
    }
    asked = call.request.headers
    if ranges.matches(asked.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    try:
        part = ranges.asked(asked, len(content), etag)
    except ranges.Unsatisfiable:
        raise Refused(
            416, f"the bundle has {len(content)} bytes", [(b"content-range", b"bytes */%d" % len(content))]
        ) from None
    if part is None:
        return Response(content, media_type=_ZIP, headers=headers)
    start, end = part
    headers["content-range"] = f"bytes {start}-{end - 1}/{len(content)}"
    return Response(content[start:end], 206, media_type=_ZIP, headers=headers)


async def describe(call: Call) -> Response:
    found = await call.platform.thread(
        call.platform.repository.describe, call.caller.tenant_id, _task(call), _version(call)
    )
    content = jsonl.encode(found)
    etag = ranges.etag_of(sha256(content)[:32])
    if ranges.matches(call.request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers={"etag": etag})
    return Response(content, media_type="application/json", headers={"etag": etag})


async def deprecate(call: Call) -> dict[str, Any]:
    task_id, version = _task(call), _version(call)
    platform, caller, reason = call.platform, call.caller, call.body.reason
    await platform.thread(platform.repository.deprecate, caller.tenant_id, task_id, version, reason, caller.key_id)
    await platform.execution.refresh(caller.tenant_id, task_id)
    return {"task_id": task_id, "version": version, "status": "deprecated"}


async def signing_key(call: Call) -> dict[str, Any]:
    return {"algorithm": "ed25519", "key": call.platform.repository.public_key}


def _task(call: Call) -> str:
    return checked_task(call.params["task_id"])


def _version(call: Call) -> int:
    match = _VERSION.fullmatch(call.params["version"])
    if match is None:
        raise NotFound("a version is written v3")
    return int(match[1])


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise UsageError(f"{name} is {text[:30]!r}, which is no number that this list gave")
    return int(text)


def _json(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    return Response(jsonl.encode(body), status, headers, media_type="application/json")


_HEX = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
_LISTED = {"version": 2, "sha256": _HEX, "status": "validated", "created_at": "2025-10-26T10:00:00.123456Z"}
_SIGNED = {"schema": 1, "algorithm": "ed25519", "digest": _HEX, "key": _HEX, "signature": _HEX * 2}
_ALL = _LISTED | {
    "task_id": "spam-detection",
    "digest": _HEX,
    "size": 9500,
    "signature": _SIGNED,
    "deprecated_at": None,
    "deprecated_reason": None,
    "metadata": {"task_id": "spam-detection", "version": 2},
}
_LIMIT = {"limit": {"type": "integer", "minimum": 1, "maximum": MOST_IN_PAGE, "default": PAGE}}
_AT = "/api/v1/artifacts/{task_id}"
OPERATIONS = (
    Operation(
        "POST",
        f"{_AT}/upload",
        upload,
        Scope.PUBLISH,
        "Publish a bundle",
        status=201,
        raw_body=True,
        max_body=archive.MAX_TOTAL,
        examples={"response": {"task_id": "spam-detection", "version": 2, "sha256": _HEX}},
    ),
    Operation(
        "GET",
        f"{_AT}/versions",
        versions,
        Scope.READ,
        "The versions of a task",
        query=CURSOR | _LIMIT,
        examples={"response": {"versions": [_LISTED], "next": None}},
    ),
    Operation("GET", _AT + "/{version}/download", download, Scope.READ, "A version's bundle", media=_ZIP),
    Operation(
        "GET",
        _AT + "/{version}/metadata",
        describe,
        Scope.READ,
        "What a version is",
        examples={"response": _ALL},
    ),
    Operation(
        "POST",
        _AT + "/{version}/deprecate",
        deprecate,
        Scope.PUBLISH,
        "Give up a version",
        body=Reason,
        examples={
            "request": {"reason": "it takes invoices for advertisements"},
            "response": {"task_id": "spam-detection", "version": 2, "status": "deprecated"},
        },
    ),
    Operation(
        "GET",
        "/api/v1/signing-key",
        signing_key,
        Scope.READ,
        "The key by which versions are signed",
        examples={"response": {"algorithm": "ed25519", "key": _HEX}},
    ),
)

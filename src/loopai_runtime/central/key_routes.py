"""Keys over HTTP, and the audit of everything that was changed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import select

from loopai_runtime.central.access import Scope
from loopai_runtime.central.db.tables import audit
from loopai_runtime.central.routing import CURSOR, Call, Operation
from loopai_runtime.errors import UsageError
from loopai_runtime.models import Slug

_PAGE = 100


class NewKey(BaseModel):
    name: str = Field("", max_length=200)
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    deployment_id: Slug | None = None
    rate_per_minute: float | None = Field(None, gt=0, le=1e9)


async def list_keys(call: Call) -> dict[str, Any]:
    found = await call.platform.thread(call.platform.keys.list, call.caller.tenant_id)
    return {"keys": [{name: value for name, value in each.items() if name != "tenant_id"} for each in found]}


async def create_key(call: Call) -> dict[str, Any]:
    """The key is shown this once."""
    body: NewKey = call.body
    platform, caller = call.platform, call.caller

    key_id, key = await platform.thread(
        platform.keys.create,
        caller.tenant_id,
        body.name,
        body.scopes,
        by=caller.key_id,
        deployment_id=body.deployment_id,
        rate_per_minute=body.rate_per_minute,
    )
    return {"id": key_id, "key": key}


async def rotate_key(call: Call) -> dict[str, Any]:
    """Another key of the same kind; the old one goes on until it is revoked."""
    platform, caller, old = call.platform, call.caller, call.params["key_id"]
    key_id, key = await platform.thread(platform.keys.rotate, caller.tenant_id, old, by=caller.key_id)
    return {"id": key_id, "key": key, "old": old}


async def revoke_key(call: Call) -> dict[str, Any]:
    """Everything that was opened with it ends."""
    platform, caller, key_id = call.platform, call.caller, call.params["key_id"]
    await platform.thread(platform.keys.revoke, caller.tenant_id, key_id, by=caller.key_id)
    platform.news.revoked(key_id)
    return {"id": key_id, "revoked": True}


async def list_audit(call: Call) -> dict[str, Any]:
    """The latest first."""
    before = call.query.get("cursor")
    if before is not None and not before.isascii():
        raise UsageError("that cursor is none that this list gave")

    def read() -> list[dict[str, Any]]:
        wanted = select(audit.c.at, audit.c.who, audit.c.what, audit.c.facts, audit.c.id)
        wanted = wanted.where(audit.c.tenant_id == call.caller.tenant_id)
        if before is not None:
            wanted = wanted.where(audit.c.at + audit.c.id < before)
        with call.platform.db.read() as connection:
            found = connection.execute(wanted.order_by(audit.c.at.desc(), audit.c.id.desc()).limit(_PAGE + 1))
            return [dict(row) for row in found.mappings()]

    found = await call.platform.thread(read)
    following = found[_PAGE - 1] if len(found) > _PAGE else None
    return {"audit": found[:_PAGE], "next": following and following["at"] + following["id"]}


_NEW = {"name": "shop", "scopes": ["read", "telemetry"], "deployment_id": "shop-1"}
_TIME, _ID = "2025-10-26T10:00:00.123456Z", "5f0c1a2b3d4e"
_KEPT = _NEW | {"id": _ID, "rate_per_minute": None, "created_at": _TIME, "revoked_at": None, "last_used_at": None}
_MADE = {"id": _ID, "key": f"lp_{_ID}_secret"}
_NOTED = {"at": _TIME, "who": _ID, "what": "version.activated", "facts": {"version": 2}, "id": "285498c0"}
OPERATIONS = (
    Operation(
        "GET",
        "/api/v1/keys",
        list_keys,
        Scope.ADMIN,
        "The keys, without their secrets",
        examples={"response": {"keys": [_KEPT]}},
    ),
    Operation(
        "POST",
        "/api/v1/keys",
        create_key,
        Scope.ADMIN,
        "Make a key",
        body=NewKey,
        status=201,
        examples={"request": _NEW, "response": _MADE},
    ),
    Operation(
        "POST",
        "/api/v1/keys/{key_id}/rotate",
        rotate_key,
        Scope.ADMIN,
        "Make its successor",
        status=201,
        examples={"response": _MADE | {"old": "0a1b2c3d4e5f"}},
    ),
    Operation(
        "DELETE",
        "/api/v1/keys/{key_id}",
        revoke_key,
        Scope.ADMIN,
        "Revoke a key",
        examples={"response": {"id": _ID, "revoked": True}},
    ),
    Operation(
        "GET",
        "/api/v1/audit",
        list_audit,
        Scope.ADMIN,
        "What was changed, and by whom",
        query=CURSOR,
        examples={"response": {"audit": [_NOTED], "next": None}},
    ),
)

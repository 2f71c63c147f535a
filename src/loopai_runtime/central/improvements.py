"""What the platform tried to improve a task, and what came of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from loopai_runtime.central.audit import PLATFORM, note
from loopai_runtime.central.db.tables import improvements, telemetry_records
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from sqlalchemy import Connection

FAILED = frozenset({"missed", "refused", "failed", "rolled_back"})
"""`missed`: published as a draft, below its targets; `refused`: by the regression gate; `failed`: none was
written; `rolled_back`: published, and no better on real traffic. The other states are `running`, `made`,
`interrupted`, and `left`: to the edges, which report no inputs."""
MOST_SHOWN = 50


def begin(connection: Connection, tenant_id: str, task_id: str, **values: Any) -> dict[str, Any]:
    """`values`: base, state, reason, spec_digest, body."""
    place = {"tenant_id": tenant_id, "task_id": task_id}
    row: dict[str, Any] = {"id": str(uuid.uuid4()), **place, "started_at": utc_now()}
    row |= {"generation_id": None, "version": None, "ended_at": None, **values}
    connection.execute(insert(improvements), row)
    facts = {"task_id": task_id, "improvement_id": row["id"], "base": row["base"]}
    note(connection, tenant_id, PLATFORM, "improvement.started", **facts)
    return row


def change(connection: Connection, improvement: dict[str, Any], **values: Any) -> None:
    improvement |= values
    mine = improvements.c.id == improvement["id"]
    connection.execute(update(improvements).where(mine).values(values))


def end(connection: Connection, improvement: dict[str, Any], state: str, reason: str, version: int | None) -> None:
    change(connection, improvement, state=state, reason=reason[:1000], version=version, ended_at=utc_now())
    names = ("task_id", "base", "state", "version")
    facts = {name: improvement[name] for name in names} | {"improvement_id": improvement["id"]}
    what = "improvement.refused" if state == "refused" else "improvement.finished"
    note(connection, improvement["tenant_id"], PLATFORM, what, **facts)


def running(connection: Connection) -> list[dict[str, Any]]:
    """All that has not ended, of every tenant."""
    wanted = select(improvements).where(improvements.c.ended_at.is_(None))
    return [dict(row) for row in connection.execute(wanted).mappings()]


def of_task(connection: Connection, tenant_id: str, task_id: str) -> list[dict[str, Any]]:
    """The latest first."""
    mine = (improvements.c.tenant_id == tenant_id, improvements.c.task_id == task_id)
    order = (improvements.c.started_at.desc(), improvements.c.id)
    wanted = select(improvements).where(*mine).order_by(*order).limit(MOST_SHOWN)
    return [dict(row) for row in connection.execute(wanted).mappings()]


def was_rolled_back(connection: Connection, tenant_id: str, task_id: str, version: int) -> bool:
    """Whether a deployment has reported that a version's rollout was rolled back."""
    table = telemetry_records.c
    mine = (
        table.tenant_id == tenant_id,
        table.task_id == task_id,
        table.kind == "rollout",
        table.version == version,
    )
    said = connection.scalars(select(table.payload).where(*mine))
    return any(each.get("state") == "rolled_back" for each in said)


def failed_in_a_row(past: list[dict[str, Any]], spec_digest: str, since: str) -> list[dict[str, Any]]:
    """Of `past` (the latest first) those that came to nothing since the last that did not, the oldest first."""
    found: list[dict[str, Any]] = []
    for one in past:
        if one["state"] in ("left", "interrupted"):
            continue
        if one["spec_digest"] != spec_digest or one["started_at"] <= since or one["state"] not in FAILED:
            break
        found.append(one)
    return found[::-1]

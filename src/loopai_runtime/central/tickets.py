"""The platform's tickets: what improving came to nothing on, and a person has to look at."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from loopai_runtime.central.audit import note
from loopai_runtime.central.db.tables import tickets
from loopai_runtime.errors import NotFound
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_SHOWN = 500
_SHOWN = ("id", "task_id", "title", "status", "resolution", "created_at", "updated_at")


def open_(
    connection: Connection, tenant_id: str, who: str, task_id: str, title: str, body: dict[str, Any]
) -> tuple[dict[str, Any], bool]:
    """The task's open ticket, made where there is none; True with it if it was made now."""
    if (there := waiting(connection, tenant_id, task_id)) is not None:
        return there, False
    now = utc_now()
    row: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "tenant_id": tenant_id,
        "task_id": task_id,
        "title": title[:200],
    }
    row |= {"status": "open", "resolution": None, "created_at": now, "updated_at": now, "body": body}
    connection.execute(insert(tickets), row)
    note(connection, tenant_id, who, "ticket.opened", task_id=task_id, ticket_id=row["id"])
    return row, True


def waiting(connection: Connection, tenant_id: str, task_id: str) -> dict[str, Any] | None:
    """The ticket for which a task's loop waits."""
    mine = (tickets.c.tenant_id == tenant_id, tickets.c.task_id == task_id, tickets.c.status == "open")
    row = connection.execute(select(tickets).where(*mine).limit(1)).mappings().first()
    return None if row is None else dict(row)


def listed(
    connection: Connection, tenant_id: str, task_id: str | None = None, status: str | None = None
) -> list[dict[str, Any]]:
    """The tickets without their bodies, the latest first."""
    where = [tickets.c.tenant_id == tenant_id]
    where += [tickets.c.task_id == task_id] if task_id is not None else []
    where += [tickets.c.status == status] if status is not None else []
    wanted = select(tickets).where(*where).order_by(tickets.c.created_at.desc(), tickets.c.id).limit(MOST_SHOWN)
    return [{name: row[name] for name in _SHOWN} for row in connection.execute(wanted).mappings()]


def shown(connection: Connection, tenant_id: str, ticket_id: str) -> dict[str, Any]:
    """One of them, whole. Raises NotFound."""
    mine = (tickets.c.tenant_id == tenant_id, tickets.c.id == ticket_id)
    row = connection.execute(select(tickets).where(*mine)).mappings().first()
    if row is None:
        raise NotFound(f"no ticket {ticket_id[:40]!r}")
    return {name: row[name] for name in (*_SHOWN, "body")}


def resolve(
    connection: Connection, tenant_id: str, who: str, ticket_id: str, resolution: str
) -> tuple[dict[str, Any], bool]:
    """Close a ticket: the task's loop goes on. False with it if it was closed already. Raises NotFound."""
    found = shown(connection, tenant_id, ticket_id)
    if found["status"] == "resolved":
        return found, False
    values = {"status": "resolved", "resolution": resolution, "updated_at": utc_now()}
    mine = (tickets.c.tenant_id == tenant_id, tickets.c.id == ticket_id)
    connection.execute(update(tickets).where(*mine).values(values))
    note(connection, tenant_id, who, "ticket.resolved", task_id=found["task_id"], ticket_id=ticket_id)
    return found | values, True


def last_resolved(connection: Connection, tenant_id: str, task_id: str) -> str:
    """When a person last resolved one: what was tried before does not count."""
    mine = (tickets.c.tenant_id == tenant_id, tickets.c.task_id == task_id, tickets.c.status == "resolved")
    wanted = select(tickets.c.updated_at).where(*mine).order_by(tickets.c.updated_at.desc()).limit(1)
    return connection.scalar(wanted) or ""

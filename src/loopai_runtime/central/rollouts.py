"""Rollouts as edges report them, and what the platform may ask: that one is aborted.

Each edge decides for itself, on its own traffic. The platform shows the counts. It can ask for an abort, which the
edge finds when it next looks; it cannot promote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from loopai_runtime.central.audit import note
from loopai_runtime.central.db.tables import rollouts, tasks
from loopai_runtime.errors import NotFound
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from loopai_runtime.central.db.database import Database
    from loopai_runtime.models import TelemetryRecord

ENDED = frozenset({"promoted", "rolled_back", "aborted"})
MOST = 500
"""Rollouts of a task that are told, the latest first."""
_SUMS = ("shadowed", "differed", "labels")


class Asked(NamedTuple):
    """A rollout that is asked to be aborted, and its deployment."""

    deployment_id: str
    rollout_id: str


# --- what edges report


def keep(db: Database, connection: Connection, mine: dict[str, str], records: Iterable[TelemetryRecord]) -> None:
    """Let the latest record of each rollout count, in whatever order they come. What names no rollout is left."""
    for record in records:
        rollout_id, state = record.data.get("rollout_id"), record.data.get("state")
        if record.kind != "rollout" or record.task_id is None:
            continue
        if not (_is_short(rollout_id, 64) and _is_short(state, 32)):
            continue
        place = mine | {"task_id": record.task_id, "rollout_id": str(rollout_id)}
        told = {"boot": record.boot, "seq": record.seq, "state": state, "body": record.data}
        told |= {"version": record.version, "updated_at": utc_now()}
        connection.execute(db.insert_new(rollouts), place | told)
        where = [rollouts.c[name] == value for name, value in place.items()]
        known = connection.execute(select(rollouts.c.boot, rollouts.c.seq).where(*where)).one()
        if (record.boot, record.seq) > (known.boot, known.seq):
            connection.execute(update(rollouts).where(*where).values(told))


def _is_short(value: object, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


# --- what is told of them


def of_task(db: Database, tenant_id: str, task_id: str) -> dict[str, Any]:
    """The rollouts of a task, the latest first, and for each version how many there are and what they saw in all.

    Raises NotFound.
    """
    where = (rollouts.c.tenant_id == tenant_id, rollouts.c.task_id == task_id)
    wanted = select(rollouts).where(*where).order_by(rollouts.c.updated_at.desc()).limit(MOST)
    with db.read() as connection:
        found = [_shown(row) for row in connection.execute(wanted).mappings()]
        if not found:
            _must_be_there(connection, tenant_id, task_id)
    return {"task_id": task_id, "versions": _by_version(found), "rollouts": found}


def of_deployment(db: Database, tenant_id: str, deployment_id: str) -> dict[str, Any]:
    """The rollouts of a deployment that are under way. Of no deployment there are none."""
    where = (rollouts.c.tenant_id == tenant_id, rollouts.c.deployment_id == deployment_id)
    wanted = select(rollouts).where(*where, rollouts.c.state.not_in(ENDED)).order_by(rollouts.c.updated_at.desc())
    with db.read() as connection:
        found = [_shown(row) for row in connection.execute(wanted.limit(MOST)).mappings()]
    return {"deployment_id": deployment_id, "rollouts": found}


def _shown(row: Any) -> dict[str, Any]:
    names = ("deployment_id", "task_id", "rollout_id", "version", "state", "updated_at")
    asked = {name: row[name] for name in ("abort_requested_at", "abort_reason") if row[name] is not None}
    return {name: row[name] for name in names} | asked | {"counts": row["body"]}


def _by_version(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    by_version: dict[str, dict[str, Any]] = {}
    for each in found:
        total = by_version.setdefault(str(each["version"]), {"states": {}, **dict.fromkeys(_SUMS, 0)})
        total["states"][each["state"]] = total["states"].get(each["state"], 0) + 1
        for name in _SUMS:
            count = each["counts"].get(name)
            total[name] += count if type(count) is int and count > 0 else 0
    return by_version


# --- what is asked


def ask_abort(
    db: Database, tenant_id: str, who: str, task_id: str, reason: str, deployment_id: str | None = None
) -> list[Asked]:
    """Ask for all rollouts of a task that are under way, or for one deployment's, to be aborted.

    Raises NotFound for no such task, and where none is under way as far as edges have told.
    """
    where = [rollouts.c.tenant_id == tenant_id, rollouts.c.task_id == task_id, rollouts.c.state.not_in(ENDED)]
    if deployment_id is not None:
        where.append(rollouts.c.deployment_id == deployment_id)
    columns = (rollouts.c.deployment_id, rollouts.c.rollout_id)
    with db.write() as connection:
        found = [Asked(*row) for row in connection.execute(select(*columns).where(*where).order_by(*columns))]
        if not found:
            _must_be_there(connection, tenant_id, task_id)
            at = f" at {deployment_id}" if deployment_id else ""
            raise NotFound(f"no rollout of {task_id} is under way{at}, as far as edges have reported")
        values = {"abort_requested_at": utc_now(), "abort_reason": reason}
        connection.execute(update(rollouts).where(*where).values(values))
        facts = {"task_id": task_id, "reason": reason, "rollouts": [each.rollout_id for each in found]}
        note(connection, tenant_id, who, "rollout.abort_requested", **facts)
    return found


def _must_be_there(connection: Connection, tenant_id: str, task_id: str) -> None:
    where = (tasks.c.tenant_id == tenant_id, tasks.c.task_id == task_id, tasks.c.deleted_at.is_(None))
    if connection.scalar(select(tasks.c.task_id).where(*where)) is None:
        raise NotFound(f"no task {task_id!r}")

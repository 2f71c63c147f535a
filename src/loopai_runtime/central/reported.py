"""What deployments have reported: a task's metrics, a deployment's gaps, a task's failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from loopai_runtime.central.counted import Day
from loopai_runtime.central.db.tables import (
    deployments,
    tasks,
    telemetry_boots,
    telemetry_days,
    telemetry_records,
)
from loopai_runtime.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from loopai_runtime.central.db.database import Database

MOST_FAILURES = 1000


def metrics(db: Database, tenant_id: str, task_id: str, days: int) -> dict[str, Any]:
    """Counts, latencies and accuracy of the last `days` days, in all and by deployment. Raises NotFound."""
    first = (datetime.now(UTC).date() - timedelta(days=days - 1)).isoformat()
    mine = (telemetry_days.c.tenant_id == tenant_id, telemetry_days.c.task_id == task_id)
    with db.read() as connection:
        wanted = select(telemetry_days).where(*mine, telemetry_days.c.day >= first)
        rows = connection.execute(wanted).mappings().all()
        if not rows and not _exists(connection, tenant_id, task_id):
            raise NotFound(f"no task {task_id!r}")
    by_deployment: dict[str, Day] = {}
    total = Day({}, {})
    for row in rows:
        day = Day(row["counts"], row["checked"])
        by_deployment.setdefault(row["deployment_id"], Day({}, {})).merge(day)
        total.merge(day)
    return {
        "task_id": task_id,
        "since": first,
        "total": total.shown(),
        "deployments": {name: by_deployment[name].shown() for name in sorted(by_deployment)},
    }


def _exists(connection: Connection, tenant_id: str, task_id: str) -> bool:
    for table in (tasks, telemetry_days):
        mine = (table.c.tenant_id == tenant_id, table.c.task_id == task_id)
        if connection.execute(select(table.c.task_id).where(*mine).limit(1)).first() is not None:
            return True
    return False


def reporting(db: Database, tenant_id: str, deployment_id: str) -> dict[str, Any]:
    """How complete a deployment's reports are. `missing` records may still come, unless `dropped` says that the
    edge lost them. Raises NotFound."""
    with db.read() as connection:
        mine = (deployments.c.tenant_id == tenant_id, deployments.c.deployment_id == deployment_id)
        row = connection.execute(
            select(deployments.c.last_seen_at, deployments.c.clock_skew_ms).where(*mine)
        ).first()
        if row is None:
            raise NotFound(f"no deployment {deployment_id!r}")
        its = (telemetry_boots.c.tenant_id == tenant_id, telemetry_boots.c.deployment_id == deployment_id)
        boots = connection.execute(select(telemetry_boots).where(*its).order_by(telemetry_boots.c.boot)).mappings()
        found = [
            {name: boot[name] for name in ("boot", "last_seq", "received")}
            | {"missing": boot["last_seq"] - boot["received"]}
            for boot in boots
        ]
        dropped = connection.scalar(_last_of(tenant_id, deployment_id, "dropped")) or {}
    return {
        "deployment_id": deployment_id,
        "last_seen_at": row.last_seen_at,
        "clock_skew_ms": row.clock_skew_ms,
        "received": sum(boot["received"] for boot in found),
        "missing": sum(boot["missing"] for boot in found),
        "dropped": dropped.get("totals", {}),
        "boots": found[-20:],
    }


def _last_of(tenant_id: str, deployment_id: str, kind: str) -> Any:
    table = telemetry_records.c
    mine = (table.tenant_id == tenant_id, table.deployment_id == deployment_id, table.kind == kind)
    return select(table.payload).where(*mine).order_by(table.boot.desc(), table.seq.desc()).limit(1)


def failures(db: Database, tenant_id: str, task_id: str, most: int = MOST_FAILURES) -> Iterator[dict[str, Any]]:
    """Executions that the oracle found wrong, the latest first: `deployment_id`, `version`, `execution_id` and
    what their privacy mode lets be known of `input`, `input_hash`, `output` and `oracle_output`."""
    wrong, ran = telemetry_records.alias("wrong"), telemetry_records.alias("ran")
    same = and_(
        ran.c.tenant_id == wrong.c.tenant_id,
        ran.c.task_id == wrong.c.task_id,
        ran.c.kind == "execution",
        ran.c.execution_id == wrong.c.execution_id,
        ran.c.deployment_id == wrong.c.deployment_id,
    )
    mine = (wrong.c.tenant_id == tenant_id, wrong.c.task_id == task_id, wrong.c.kind == "failure")
    columns = (wrong.c.deployment_id, wrong.c.version, wrong.c.execution_id, wrong.c.at, wrong.c.payload)
    wanted = (
        select(*columns, ran.c.payload.label("execution"))
        .select_from(wrong.outerjoin(ran, same))
        .where(*mine)
        .order_by(wrong.c.at.desc())
        .limit(most)
    )
    with db.read() as connection:
        for row in connection.execute(wanted).mappings().all():
            known = {name: row[name] for name in ("deployment_id", "version", "execution_id", "at")}
            ran_with = {
                name: value for name, value in (row["execution"] or {}).items() if name.startswith("input")
            }
            said = {name: value for name, value in row["payload"].items() if "output" in name}
            yield known | ran_with | said

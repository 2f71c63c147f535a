"""The hub's side of the database: what a caller may hear of, and what it reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from loopai_runtime.central.db.tables import api_keys, deployment_tasks, deployments, metrics, tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopai_runtime.central.access import Caller
    from loopai_runtime.central.db.database import Database


def tasks_of(db: Database, caller: Caller) -> list[str]:
    """The tasks of the deployment whose key it is."""
    assigned = deployment_tasks.c
    wanted = select(assigned.task_id).where(
        assigned.tenant_id == caller.tenant_id, assigned.deployment_id == caller.deployment_id
    )
    with db.read() as connection:
        return list(connection.scalars(wanted))


def has_task(db: Database, caller: Caller, task_id: str) -> bool:
    wanted = select(tasks.c.task_id).where(
        tasks.c.tenant_id == caller.tenant_id, tasks.c.task_id == task_id, tasks.c.deleted_at.is_(None)
    )
    with db.read() as connection:
        return connection.scalar(wanted) is not None


def has_deployment(db: Database, caller: Caller, deployment_id: str) -> bool:
    known = deployments.c
    wanted = select(known.deployment_id).where(
        known.tenant_id == caller.tenant_id, known.deployment_id == deployment_id
    )
    with db.read() as connection:
        return connection.scalar(wanted) is not None


def revoked_among(db: Database, key_ids: Iterable[str]) -> list[str]:
    wanted = select(api_keys.c.id).where(api_keys.c.id.in_(list(key_ids)), api_keys.c.revoked_at.is_not(None))
    with db.read() as connection:
        return list(connection.scalars(wanted))


def keep(db: Database, beats: dict[tuple[str, str], dict[str, Any]], reports: list[dict[str, Any]]) -> None:
    """Write what was heard, all or nothing."""
    known = deployments.c
    with db.write() as connection:
        for (tenant_id, deployment_id), values in beats.items():
            connection.execute(
                update(deployments)
                .where(known.tenant_id == tenant_id, known.deployment_id == deployment_id)
                .values(values)
            )
        if reports:
            connection.execute(insert(metrics), reports)


def forget(db: Database, days: int) -> None:
    """Metrics of more than `days` days ago."""
    before = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with db.write() as connection:
        connection.execute(delete(metrics).where(metrics.c.at < before))

"""Records of telemetry do not stay for ever; the sums by day that were made of them do.

A record is old by when it came, not by when it happened: what an edge sends after a month without a network is
kept as long as all else. Its number is remembered, so that a repetition of it counts no second time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from loopai_runtime.central.db.tables import telemetry_batches, telemetry_boots, telemetry_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from loopai_runtime.central.db.database import Database

_AT_ONCE = 2000
"""Rows of a transaction: whoever reports waits for no more."""


def forget(db: Database, days: int, is_over: Callable[[], bool] = lambda: False) -> int:
    """Delete records and batches that came more than `days` days ago; how many records were old.

    `is_over` is asked between transactions: whoever stops goes on the next time.
    """
    before = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with db.read() as connection:
        boots = [tuple(row) for row in connection.execute(select(*telemetry_boots.primary_key))]
        reporting = dict.fromkeys(boot[:2] for boot in boots)
    count = 0
    for boot in boots:
        while not is_over():
            with db.write() as connection:
                done = _some_records(connection, boot, before)
            count += done
            if done < _AT_ONCE:
                break
    for deployment in reporting:
        while not is_over():
            with db.write() as connection:
                if _some_batches(connection, deployment, before) < _AT_ONCE:
                    break
    return count


def _some_records(connection: Connection, boot: tuple[Any, ...], before: str) -> int:
    """Delete the first ones of a boot, as far as they are old. The last word on what an edge lost stays."""
    its, boots = telemetry_records.c, telemetry_boots.c
    mine = (its.tenant_id == boot[0], its.deployment_id == boot[1], its.boot == boot[2])
    this = (boots.tenant_id == boot[0], boots.deployment_id == boot[1], boots.boot == boot[2])
    forgotten = connection.scalar(select(boots.forgotten).where(*this).with_for_update()) or 0
    oldest = select(its.seq, its.received_at, its.kind).where(*mine, its.seq > forgotten)
    old = []
    for row in connection.execute(oldest.order_by(its.seq).limit(_AT_ONCE)):
        if row.received_at >= before:
            break
        old.append(row)
    if not old:
        return 0
    doomed = [*mine, its.seq > forgotten, its.seq <= old[-1].seq]
    if any(row.kind == "dropped" for row in old):
        told = (*mine, its.kind == "dropped")
        latest = connection.scalar(select(its.seq).where(*told).order_by(its.seq.desc()).limit(1))
        doomed.append(its.seq != latest)
    connection.execute(delete(telemetry_records).where(*doomed))
    connection.execute(update(telemetry_boots).where(*this).values(forgotten=old[-1].seq))
    return len(old)


def _some_batches(connection: Connection, deployment: tuple[Any, ...], before: str) -> int:
    its = telemetry_batches.c
    mine = (its.tenant_id == deployment[0], its.deployment_id == deployment[1])
    wanted = select(its.idempotency_key).where(*mine, its.received_at < before).limit(_AT_ONCE)
    old = connection.scalars(wanted).all()
    connection.execute(delete(telemetry_batches).where(*mine, its.idempotency_key.in_(old)))
    return len(old)

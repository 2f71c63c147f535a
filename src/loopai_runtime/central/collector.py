"""Telemetry as it arrives: each record kept once, whatever was repeated, in one transaction with what counts it.

A record is known by (deployment, boot, seq). What is there already is a duplicate, and counts nowhere again; what
is missing between the numbers shows in a deployment's status, until it comes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ValidationError
from sqlalchemy import insert, select, update

from loopai_runtime import jsonl
from loopai_runtime.central import rollouts
from loopai_runtime.central.counted import CheckedReport, Day, StatsReport
from loopai_runtime.central.db.tables import (
    deployments,
    telemetry_batches,
    telemetry_boots,
    telemetry_days,
    telemetry_records,
)
from loopai_runtime.errors import InputError, UsageError
from loopai_runtime.models import TelemetryBatch, TelemetryRecord, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Table

    from loopai_runtime.central.db.database import Database

LONGEST_KEY = 255
_SKEW_WEIGHT = 0.2  # of the latest sample of a clock's skew
_CHECKED = ("validation", "failure")


class Collected(NamedTuple):
    """What became of a batch, and for each task in it what is new (as `OnMetricUpdate` tells it)."""

    accepted: int
    duplicates: int
    metrics: list[dict[str, Any]]


class _Believed(NamedTuple):
    """A record, and what of it was looked at."""

    record: TelemetryRecord
    report: BaseModel | None


def parse(plain: bytes) -> TelemetryBatch:
    """Raises InputError, UsageError."""
    try:
        return TelemetryBatch.model_validate(jsonl.loads(plain))
    except InputError as error:
        raise UsageError(error.message) from None
    except ValidationError as error:
        raise _fault("$", error) from None


def collect(
    db: Database,
    tenant_id: str,
    batch: TelemetryBatch,
    *,
    key: str | None = None,
    sha256: str = "",
    sent_at: str | None = None,
) -> Collected:
    """Keep a batch. The same `key` again is answered as before. Raises InputError where a record cannot be such,
    or the key came with another batch; then nothing was kept."""
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise InputError("must be 1 to 255 printable ASCII characters", path="Idempotency-Key")
    try:
        believed = [_looked_at(at, record) for at, record in enumerate(batch.records)]
    except RecursionError:
        raise InputError("a record is nested too deeply") from None
    mine = {"tenant_id": tenant_id, "deployment_id": batch.deployment_id}
    with db.write() as connection:
        _enter(db, connection, mine, sent_at)
        if key is not None and (known := _known(connection, mine, key, sha256)) is not None:
            return known
        new = _new(connection, mine, believed)
        if new:
            _keep(connection, mine, new)
            rollouts.keep(db, connection, mine, (each.record for each in new))
            _count_boots(db, connection, mine, new)
        metrics = _count(connection, mine, new)
        done = Collected(len(new), len(batch.records) - len(new), metrics)
        if key is not None:
            row = {"idempotency_key": key, "sha256": sha256, "received_at": utc_now()}
            counts = {"accepted": done.accepted, "duplicates": done.duplicates}
            connection.execute(insert(telemetry_batches), mine | row | counts)
    return done


def _looked_at(at: int, record: TelemetryRecord) -> _Believed:
    kind = StatsReport if record.kind == "stats" else CheckedReport if record.kind in _CHECKED else None
    try:
        return _Believed(record, kind.model_validate(record.data) if kind else None)
    except ValidationError as error:
        raise _fault(f"$.records[{at}].data", error) from None


def _fault(place: str, error: ValidationError) -> InputError:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    return InputError(fault["msg"], path=f"{place}{where}"[:200])


def _enter(db: Database, connection: Connection, mine: dict[str, str], sent_at: str | None) -> None:
    """The deployment's row, which whoever reports for it holds until the end; and its clock."""
    row = mine | {"id": str(uuid.uuid4()), "created_at": utc_now()}
    connection.execute(db.insert_new(deployments), row)
    where = _where(deployments, mine)
    skew = connection.scalar(select(deployments.c.clock_skew_ms).where(*where).with_for_update())
    sample = _skew_ms(sent_at)
    if sample is not None:
        skew = sample if skew is None else skew + _SKEW_WEIGHT * (sample - skew)
    values = {"last_seen_at": utc_now(), "clock_skew_ms": skew}
    connection.execute(update(deployments).where(*where).values(values))


def _where(table: Table, place: dict[str, str]) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in place.items()]


def _skew_ms(sent_at: str | None) -> float | None:
    """How far a clock is ahead of ours, the way here included."""
    try:
        sent = datetime.fromisoformat(sent_at or "")
        return round((sent - datetime.now(UTC)).total_seconds() * 1000, 1)
    except (ValueError, TypeError, OverflowError):
        return None


def _known(connection: Connection, mine: dict[str, str], key: str, sha256: str) -> Collected | None:
    """What was answered to this key."""
    table = telemetry_batches.c
    where = (table.tenant_id == mine["tenant_id"], table.deployment_id == mine["deployment_id"])
    row = (
        connection.execute(select(telemetry_batches).where(*where, table.idempotency_key == key))
        .mappings()
        .first()
    )
    if row is None:
        return None
    if row["sha256"] != sha256:
        raise InputError("was used with another batch", path="Idempotency-Key")
    return Collected(0, row["accepted"] + row["duplicates"], [])


def _new(connection: Connection, mine: dict[str, str], believed: Sequence[_Believed]) -> list[_Believed]:
    """Those that are not there yet and have not been forgotten, each once, in order."""
    wanted: dict[str, dict[int, _Believed]] = defaultdict(dict)
    for each in believed:
        wanted[each.record.boot].setdefault(each.record.seq, each)
    for boot, by_number in wanted.items():
        for seq in _there(connection, mine, boot, by_number):
            del by_number[seq]
    return [wanted[boot][seq] for boot in sorted(wanted) for seq in sorted(wanted[boot])]


def _there(connection: Connection, mine: dict[str, str], boot: str, numbers: Iterable[int]) -> set[int]:
    """Which of a boot's records were taken before, those that were deleted since among them."""
    boots, table = telemetry_boots.c, telemetry_records.c
    place = mine | {"boot": boot}
    asked = select(boots.forgotten).where(*_where(telemetry_boots, place))
    forgotten = connection.scalar(asked) or 0
    wanted = set(numbers)
    span = (table.seq >= min(wanted), table.seq <= max(wanted))
    kept = connection.scalars(select(table.seq).where(*_where(telemetry_records, place), *span))
    return (wanted & set(kept)) | {seq for seq in wanted if seq <= forgotten}


def _keep(connection: Connection, mine: dict[str, str], new: Sequence[_Believed]) -> None:
    now = utc_now()
    rows: list[dict[str, Any]] = [
        {
            **mine,
            "boot": record.boot,
            "seq": record.seq,
            "kind": record.kind,
            "task_id": record.task_id,
            "version": record.version,
            "execution_id": _execution_id(record.data),
            "at": record.at,
            "received_at": now,
            "payload": record.data,
        }
        for record, _ in new
    ]
    connection.execute(insert(telemetry_records), rows)


def _execution_id(data: dict[str, Any]) -> str | None:
    found = data.get("execution_id")
    return found if isinstance(found, str) and len(found) <= 64 and found.isprintable() else None


def _count_boots(db: Database, connection: Connection, mine: dict[str, str], new: Sequence[_Believed]) -> None:
    """How far each boot came, and how many of its records are here."""
    last: dict[str, int] = defaultdict(int)
    received: dict[str, int] = defaultdict(int)
    for record, _ in new:
        last[record.boot] = max(last[record.boot], record.seq)
        received[record.boot] += 1
        if record.kind == "started" and (before := _previous(record.data)) is not None:
            last[before[0]] = max(last[before[0]], before[1])
    table = telemetry_boots.c
    for boot, seq in last.items():
        counts = {"last_seq": 0, "received": 0, "forgotten": 0}
        connection.execute(db.insert_new(telemetry_boots), mine | {"boot": boot} | counts)
        where = (
            table.tenant_id == mine["tenant_id"],
            table.deployment_id == mine["deployment_id"],
            table.boot == boot,
        )
        known = connection.execute(select(table.last_seq, table.received).where(*where)).one()
        values = {"last_seq": max(known.last_seq, seq), "received": known.received + received[boot]}
        connection.execute(update(telemetry_boots).where(*where).values(values))


def _previous(data: dict[str, Any]) -> tuple[str, int] | None:
    """The boot before a `started` record's, and the last number in it."""
    try:
        boot, seq = data["previous"]
        checked = TelemetryRecord(boot=boot, seq=seq, kind="started", at=utc_now(), data={})
    except (KeyError, TypeError, ValueError):
        return None
    return checked.boot, checked.seq


def _count(connection: Connection, mine: dict[str, str], new: Sequence[_Believed]) -> list[dict[str, Any]]:
    """Add what is new to the days' sums; answers it by task and version."""
    days: dict[tuple[str, str], Day] = defaultdict(lambda: Day({}, {}))
    for record, report in new:
        day = days[record.task_id, record.at[:10]] if report is not None and record.task_id is not None else None
        if day is not None and isinstance(report, StatsReport):
            day.add_stats(report)
        elif day is not None and isinstance(report, CheckedReport):
            day.add_checked(record.version, report)
    by_task: dict[str, Day] = defaultdict(lambda: Day({}, {}))
    for (task_id, date), day in sorted(days.items()):
        by_task[task_id].merge(day)
        _add_day(connection, mine | {"task_id": task_id, "day": date}, day)
    return [told for task_id, day in by_task.items() for told in _told(mine["deployment_id"], task_id, day)]


def _add_day(connection: Connection, place: dict[str, str], day: Day) -> None:
    where = _where(telemetry_days, place)
    row = connection.execute(select(telemetry_days.c.counts, telemetry_days.c.checked).where(*where)).first()
    if row is not None:
        day.merge(Day(row.counts, row.checked))
    sums = {"counts": day.counts.as_dict(), "checked": day.checked}
    if row is None:
        connection.execute(insert(telemetry_days), place | sums)
    else:
        connection.execute(update(telemetry_days).where(*where).values(sums))


def _told(deployment_id: str, task_id: str, day: Day) -> Iterator[dict[str, Any]]:
    for version, shown in day.shown()["by_version"].items():
        if version.isdecimal() and int(version):
            told = {name: shown[name] for name in ("count", "errors", "p50_ms", "p99_ms")}
            accuracy = {"accuracy": shown["accuracy"]["value"]} if shown["accuracy"] else {}
            yield {"task_id": task_id, "version": int(version), "deployment_id": deployment_id, **told, **accuracy}


def digest(plain: bytes) -> str:
    """By which a batch is known again."""
    return hashlib.sha256(plain).hexdigest()

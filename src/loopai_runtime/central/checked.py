"""Executions that the oracle judged, as deployments report them: what a task can learn from its failures.

Where a deployment reports no inputs (strict privacy) there are counts by keyed hash, and nothing to learn from.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, select

from loopai_runtime import jsonl
from loopai_runtime.central.db.tables import telemetry_days, telemetry_records
from loopai_runtime.datasets.counts import Group, Slice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

MOST_ROWS = 20_000
MOST_PATTERNS = 10
_SHOWN = 3
_DAY_S = 86_400


class Row(NamedTuple):
    """A check: `payload` says how it came out, `ran` what was executed, as far as privacy lets."""

    deployment_id: str
    version: int
    at: str
    payload: dict[str, Any]
    ran: dict[str, Any]

    @property
    def match(self) -> bool:
        return self.payload.get("match") is True

    @property
    def pi(self) -> float:
        return self.payload.get("pi") or 1.0

    @property
    def teaches(self) -> bool:
        """Whether both the input and the right answer are known."""
        return "input" in self.ran and "oracle_output" in self.payload

    @property
    def pattern(self) -> str:
        """What it answered in place of what."""
        said = [
            jsonl.dumps(self.payload[name])[:80]
            if name in self.payload
            else f"#{self.payload.get(f'{name}_hash')}"
            for name in ("output", "oracle_output")
        ]
        return f"{said[0]} instead of {said[1]}"


def rows_of(connection: Connection, tenant_id: str, task_id: str, days: int) -> list[Row]:
    """The checks of a task in the last days, the oldest first; of very many the latest."""
    check, ran = telemetry_records.alias("check"), telemetry_records.alias("ran")
    same = and_(
        ran.c.tenant_id == check.c.tenant_id,
        ran.c.task_id == check.c.task_id,
        ran.c.kind == "execution",
        ran.c.execution_id == check.c.execution_id,
        ran.c.deployment_id == check.c.deployment_id,
    )
    mine = (check.c.tenant_id == tenant_id, check.c.task_id == task_id)
    kinds = (check.c.kind.in_(("validation", "failure")), check.c.version.is_not(None), check.c.at >= since(days))
    wanted = (
        select(check.c.deployment_id, check.c.version, check.c.at, check.c.payload, ran.c.payload.label("ran"))
        .select_from(check.outerjoin(ran, same))
        .where(*mine, *kinds)
        .order_by(check.c.at.desc())
        .limit(MOST_ROWS)
    )
    found = connection.execute(wanted).mappings().all()
    return [
        Row(each["deployment_id"], each["version"], each["at"], each["payload"], each["ran"] or {})
        for each in reversed(found)
    ]


def counts_of(connection: Connection, tenant_id: str, task_id: str, version: int, days: int) -> Group:
    """How the executions of a version ended."""
    table = telemetry_days.c
    mine = (table.tenant_id == tenant_id, table.task_id == task_id, table.day >= since(days)[:10])
    total = Group()
    for counts in connection.scalars(select(table.counts).where(*mine)):
        total.merge(Slice.of_dict(counts).by_version.get(str(version), Group()))
    return total


def patterns_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What was answered in place of what, the most frequent first, with some examples as they were reported."""
    wrong = [row for row in rows if not row.match]
    counts = Counter(row.pattern for row in wrong)
    found = []
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_PATTERNS]:
        those = [row for row in wrong if row.pattern == name]
        shown = [row.ran["input"] for row in those if "input" in row.ran][:_SHOWN]
        at = len({row.deployment_id for row in those})
        found.append({"pattern": name, "count": count, "deployments": at, "examples": shown})
    return found


def since(days: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * _DAY_S))

"""Telemetry over HTTP: taking it, and what it says."""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import BaseModel, Field

from loopai_runtime.central import collector, reported
from loopai_runtime.central.access import Scope
from loopai_runtime.central.routing import Call, Operation
from loopai_runtime.errors import UsageError
from loopai_runtime.http.body import inflated
from loopai_runtime.http.problem import Refused
from loopai_runtime.layout import checked_task

MAX_PLAIN_BYTES = 64 * 2**20
MOST_DAYS = 400


class Accepted(BaseModel):
    """How many records are kept of it, and how many were there already."""

    accepted: int = Field(examples=[998])
    duplicates: int = Field(examples=[2])


async def take(call: Call) -> Accepted:
    headers, caller = call.request.headers, call.caller
    compressed = headers.get("content-encoding", "").lower() == "gzip"
    work = partial(_take, call, compressed, headers.get("idempotency-key"), headers.get("loopai-sent-at"))
    done = await call.platform.thread(work)
    call.platform.records += done.accepted
    for metrics in done.metrics:
        call.platform.news.metrics(caller.tenant_id, metrics["task_id"], metrics)
        call.platform.coordinator.heard(caller.tenant_id, metrics["task_id"])
    return Accepted(accepted=done.accepted, duplicates=done.duplicates)


def _take(call: Call, compressed: bool, key: str | None, sent_at: str | None) -> collector.Collected:
    """In a thread: unpacking, reading and keeping."""
    plain = inflated(call.body, MAX_PLAIN_BYTES) if compressed else call.body
    batch, own = collector.parse(plain), call.caller.deployment_id
    if own is not None and own != batch.deployment_id:
        raise Refused(403, f"this key is the deployment {own}'s, and speaks for no other")
    return collector.collect(
        call.platform.db, call.caller.tenant_id, batch, key=key, sha256=collector.digest(plain), sent_at=sent_at
    )


async def metrics(call: Call) -> dict[str, Any]:
    task_id, text = checked_task(call.params["task_id"]), call.query.get("days", "7")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:5]) <= MOST_DAYS):
        raise UsageError(f"days must be a number from 1 to {MOST_DAYS}")
    return await call.platform.thread(
        reported.metrics, call.platform.db, call.caller.tenant_id, task_id, int(text[:5])
    )


async def reporting(call: Call) -> dict[str, Any]:
    deployment_id = checked_task(call.params["deployment_id"])
    return await call.platform.thread(reported.reporting, call.platform.db, call.caller.tenant_id, deployment_id)


_BATCH = {
    "schema": 1,
    "deployment_id": "berlin-1",
    "records": [
        {
            "boot": "00000001-5f0c1a2b",
            "seq": 17,
            "kind": "stats",
            "task_id": "spam-detection",
            "at": "2025-10-26T10:05:00Z",
            "data": {"by_version": {"3": {"count": 120, "errors": 1, "sampled": 6}}},
        }
    ],
}
_SUMMARY = {"count": 120, "errors": 1, "timeouts": 0, "p50_ms": 0.2, "p95_ms": 0.4, "p99_ms": 0.9}

_METRICS = {"task_id": "spam-detection", "since": "2025-10-20", "total": _SUMMARY, "deployments": {}}
_COMPLETE = {
    "deployment_id": "berlin-1",
    "last_seen_at": "2025-10-26T10:00:00.123456Z",
    "clock_skew_ms": 1.5,
    "received": 1203,
    "missing": 0,
    "dropped": {},
    "boots": [{"boot": "00000001-5f0c1a2b", "last_seq": 1203, "received": 1203, "missing": 0}],
}

OPERATIONS = (
    Operation(
        "POST",
        "/api/v1/telemetry",
        take,
        Scope.TELEMETRY,
        "Take a batch of telemetry, plain or gzip; records that are there already count once",
        answer=Accepted,
        status=202,
        examples={"request": _BATCH, "response": {"accepted": 1, "duplicates": 0}},
        raw_body=True,
        gzip=True,
    ),
    Operation(
        "GET",
        "/api/v1/tasks/{task_id}/metrics",
        metrics,
        Scope.READ,
        "Counts, latencies and accuracy of the last days, in all and by deployment",
        query={"days": {"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": 7}},
        examples={"response": _METRICS},
    ),
    Operation(
        "GET",
        "/api/v1/deployments/{deployment_id}/telemetry",
        reporting,
        Scope.READ,
        "How complete a deployment's reports are",
        examples={"response": _COMPLETE},
    ),
)

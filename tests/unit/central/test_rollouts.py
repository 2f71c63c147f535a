"""Rollouts on the platform: what edges reported last is told, and an abort can be asked for, never a promotion."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from sqlalchemy import insert, select

from loopai_runtime import jsonl
from loopai_runtime.central import collector, rollouts
from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.tables import audit, tasks
from loopai_runtime.errors import NotFound
from loopai_runtime.models import utc_now

BOOT = "00000001-0123abcd"


def told(seq: int, state: str = "running", boot: str = BOOT, rollout: str = "r1", **counts: Any) -> dict[str, Any]:
    data = {"rollout_id": rollout, "state": state, **counts}
    at = "2026-03-04T05:06:07Z"
    return {"boot": boot, "seq": seq, "kind": "rollout", "task_id": "spam", "version": 3, "at": at, "data": data}


def collect(db: Database, *records: dict[str, Any], deployment: str = "edge-1", tenant: str = "one") -> None:
    body = {"schema": 1, "deployment_id": deployment, "records": list(records)}
    collector.collect(db, tenant, collector.parse(jsonl.compact(body)))


def task(db: Database, tenant: str = "one") -> None:
    row = {"tenant_id": tenant, "task_id": "spam", "description": "", "spec": {}}
    with db.write() as connection:
        connection.execute(insert(tasks), row | {"created_at": utc_now(), "updated_at": utc_now()})


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_the_latest_record_counts_in_whatever_order_they_come(db: Database, order: tuple[int, ...]) -> None:
    records = [
        told(4, shadowed=10, labels=2),
        told(9, shadowed=90, labels=30),
        told(1, "watching", "00000002-0123abcd", shadowed=95, labels=31),
    ]
    for n in order:
        collect(db, records[n])
        collect(db, records[n])
    found = rollouts.of_task(db, "one", "spam")
    assert [(each["state"], each["counts"]["labels"]) for each in found["rollouts"]] == [("watching", 31)]


def test_what_edges_saw_is_summed_by_version(db: Database) -> None:
    collect(db, told(1, shadowed=100, differed=10, labels=5))
    collect(db, told(1, "rolled_back", shadowed=50, differed=20, labels=True), deployment="edge-2")
    collect(db, told(1, shadowed=7), tenant="two")
    found = rollouts.of_task(db, "one", "spam")
    states = {"running": 1, "rolled_back": 1}
    assert found["versions"] == {"3": {"states": states, "shadowed": 150, "differed": 30, "labels": 5}}
    assert rollouts.of_task(db, "two", "spam")["versions"]["3"]["shadowed"] == 7


def test_a_record_that_names_no_rollout_is_kept_and_tells_of_none(db: Database) -> None:
    task(db)
    for data in ({}, {"rollout_id": "r", "state": 3}, {"rollout_id": "r" * 65, "state": "running"}):
        collect(db, {**told(hash(str(data)) % 1000 + 1), "data": data})
    assert rollouts.of_task(db, "one", "spam")["rollouts"] == []


def test_an_abort_is_asked_of_what_is_under_way(db: Database) -> None:
    collect(db, told(1), told(2, "promoted", rollout="r0"))
    collect(db, told(1, "watching", rollout="r2"), deployment="edge-2")
    asked = rollouts.ask_abort(db, "one", "key-1", "spam", "too many complaints")
    assert [tuple(each) for each in asked] == [("edge-1", "r1"), ("edge-2", "r2")]
    (own,) = rollouts.of_deployment(db, "one", "edge-1")["rollouts"]
    assert (own["rollout_id"], own["abort_reason"]) == ("r1", "too many complaints")
    assert own["abort_requested_at"]
    with db.read() as connection:
        (line,) = connection.execute(select(audit)).mappings()
    assert (line["who"], line["what"]) == ("key-1", "rollout.abort_requested")
    assert line["facts"]["rollouts"] == ["r1", "r2"]
    collect(db, told(3, "aborted"))
    assert rollouts.of_deployment(db, "one", "edge-1")["rollouts"] == []


def test_an_abort_may_be_for_one_deployment(db: Database) -> None:
    collect(db, told(1))
    collect(db, told(1, rollout="r2"), deployment="edge-2")
    assert [each.rollout_id for each in rollouts.ask_abort(db, "one", "k", "spam", "no", "edge-2")] == ["r2"]
    assert "abort_requested_at" not in rollouts.of_deployment(db, "one", "edge-1")["rollouts"][0]


def test_nothing_is_asked_of_nobody_nor_of_another_tenant(db: Database) -> None:
    collect(db, told(1), tenant="two")
    for what in (lambda: rollouts.of_task(db, "one", "spam"), lambda: _abort(db)):
        with pytest.raises(NotFound, match="no task 'spam'"):
            what()
    task(db)
    with pytest.raises(NotFound, match="no rollout of spam is under way"):
        _abort(db)
    assert "abort_requested_at" not in rollouts.of_deployment(db, "two", "edge-1")["rollouts"][0]


def _abort(db: Database) -> object:
    return rollouts.ask_abort(db, "one", "k", "spam", "no")

"""Keys: two a deployment however many ask at once, revoked for good, noted with each change."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update

from loopai_runtime.central.access import Caller, Keys, Scope
from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.tables import api_keys, audit
from loopai_runtime.errors import NotFound, UsageError


def noted(db: Database) -> list[tuple[str, str]]:
    with db.read() as connection:
        return [tuple(row) for row in connection.execute(select(audit.c.who, audit.c.what).order_by(audit.c.at))]


def test_a_key_opens_for_its_tenant_and_a_guess_for_nobody(db: Database) -> None:
    keys = Keys(db)
    key_id, key = keys.create("one", "shop", [Scope.READ, Scope.TELEMETRY], by="me", deployment_id="shop-1")
    caller = keys.check(key)
    assert caller == Caller("one", "another", "shop-1", frozenset({Scope.READ, Scope.TELEMETRY}))
    assert caller.key_id == key_id
    assert keys.known(key) == caller
    for guess in (key[:-1], f"{key}x", key.upper(), f"lp_{key_id}_", "lp__", "", f"lp_{key_id}", "lp_" * 200):
        assert keys.check(guess) is None
        assert keys.known(guess) is None
    with db.read() as connection:
        (row,) = connection.execute(select(api_keys)).mappings()
    assert key.rpartition("_")[2].encode() not in bytes(row["hash"])


def test_a_deployment_never_has_three_keys(db: Database) -> None:
    keys = Keys(db)
    first, _ = keys.create("one", "shop", [Scope.READ], by="me", deployment_id="shop-1")
    start = threading.Barrier(8)

    def rotate(_: int) -> bool:
        start.wait()
        try:
            keys.rotate("one", first, by="me")
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(rotate, range(8))) == 1
    assert len(keys.list("one")) == 2
    assert noted(db) == [("me", "key.created"), ("me", "key.rotated")]


def test_a_revoked_key_stays_revoked_and_is_noted_once(db: Database) -> None:
    keys = Keys(db)
    key_id, key = keys.create("one", "shop", [Scope.READ], by="me")
    assert keys.check(key) is not None
    with pytest.raises(NotFound):
        keys.revoke("two", key_id, by="them")
    keys.revoke("one", key_id, by="me")
    (before,) = keys.list("one")
    keys.revoke("one", key_id, by="me")
    assert keys.list("one") == [before]
    assert keys.known(key) is None
    assert keys.check(key) is None
    with pytest.raises(NotFound):
        keys.rotate("one", key_id, by="me")
    assert noted(db) == [("me", "key.created"), ("me", "key.revoked")]


def test_what_was_read_before_a_revocation_is_not_remembered_after_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(db)
    key_id, key = keys.create("one", "shop", [Scope.READ], by="me")
    real = db.read

    def read() -> Any:
        monkeypatch.setattr(db, "read", real)
        found = real()

        class Late:
            def __enter__(self) -> Any:
                return found.__enter__()

            def __exit__(self, *error: Any) -> None:
                found.__exit__(*error)
                keys.revoke("one", key_id, by="me")  # between the reading and the remembering

        return Late()

    monkeypatch.setattr(db, "read", read)
    keys.check(key)
    assert keys.known(key) is None
    assert keys.check(key) is None


def test_a_key_shows_when_it_was_used_last(db: Database) -> None:
    keys = Keys(db)
    key_id, key = keys.create("one", "shop", [Scope.READ], by="me")
    assert keys.list("one")[0]["last_used_at"] is None
    keys.check(f"lp_{key_id}_guess")
    assert keys.list("one")[0]["last_used_at"] is None
    keys = Keys(db)
    keys.check(key)
    assert keys.list("one")[0]["last_used_at"] is not None
    with db.write() as connection:
        connection.execute(update(api_keys).values(last_used_at="2025-10-26T12:00:00Z"))
    Keys(db).check(key)
    assert keys.list("one")[0]["last_used_at"] > "2025-10-26T13"

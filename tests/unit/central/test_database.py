"""A database that does not answer is told, and not waited for."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from tests import postgres

from loopai_runtime.central.db import database
from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.patience import PatientConnection
from loopai_runtime.errors import StorageAway


@pytest.fixture
def impatient(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(PatientConnection, "silence_s", 0.3)
    monkeypatch.setitem(database._PATIENCE, "connect_timeout", 2)
    made = Database(postgresql)
    yield made
    made.close()


def one(db: Database) -> object:
    with db.read() as connection:
        return connection.scalar(text("SELECT 1"))


def test_a_frozen_server_is_told_and_when_it_thaws_all_goes_on(impatient: Database, postgresql: str) -> None:
    assert one(impatient) == 1  # its connection waits for the next one
    with postgres.frozen(postgresql), pytest.raises(StorageAway, match="does not answer"):
        one(impatient)
    assert one(impatient) == 1


def test_a_server_that_freezes_in_a_transaction_ends_it(impatient: Database, postgresql: str) -> None:
    def frozen_between() -> None:
        with impatient.write() as connection:
            connection.execute(text("CREATE TABLE half (done int)"))
            with postgres.frozen(postgresql):
                connection.execute(text("INSERT INTO half VALUES (1)"))

    with pytest.raises(OperationalError, match="nothing was heard"):
        frozen_between()
    with impatient.read() as connection:
        assert connection.scalar(text("SELECT to_regclass('half')")) is None


def test_what_somebody_else_holds_is_not_waited_for_without_end(impatient: Database) -> None:
    with impatient.write() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(7)"))
        with pytest.raises(OperationalError, match="nothing was heard"), impatient.write() as other:
            other.execute(text("SELECT pg_advisory_xact_lock(7)"))


def test_what_is_slow_by_nature_is_waited_for(impatient: Database) -> None:
    with impatient.write(slow=True) as connection:
        assert connection.scalar(text("SELECT 1 FROM pg_sleep(0.9)")) == 1
    with impatient.snapshot() as connection:
        assert connection.scalar(text("SELECT 1 FROM pg_sleep(0.9)")) == 1
        assert connection.connection.dbapi_connection.silence_s == math.inf  # type: ignore[union-attr]
    with pytest.raises(OperationalError), impatient.read() as connection:
        connection.scalar(text("SELECT 1 FROM pg_sleep(30)"))


def test_an_answer_that_comes_in_pieces_is_no_silence(impatient: Database) -> None:
    """Longer than the limit in all, but never silent for so long."""
    rows = "SELECT n, repeat('x', 100000), pg_sleep(0.05) FROM generate_series(1, 16) AS n"
    began = time.monotonic()
    with impatient.read() as connection:
        assert len(connection.execute(text(rows)).all()) == 16
    assert time.monotonic() - began > 0.3


def test_whoever_finds_no_connection_free_is_told(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_FREE_S", 0.1)
    db, inside, over = Database(postgresql), threading.Semaphore(0), threading.Event()

    def hold() -> None:
        with db.read() as connection:
            connection.scalar(text("SELECT 1"))
            inside.release()
            over.wait(60)

    holders = [threading.Thread(target=hold) for _ in range(15)]
    try:
        for holder in holders:
            holder.start()
        for _ in holders:
            assert inside.acquire(timeout=60)
        with pytest.raises(StorageAway, match="too much to do"):
            one(db)
    finally:
        over.set()
        for holder in holders:
            holder.join()
        db.close()

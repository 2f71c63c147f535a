"""One way to the database: a transaction to read in, or one to write in."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from loopai_runtime.central.db import schema
from loopai_runtime.errors import ConfigError, Fault, StorageAway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine, Table

    from loopai_runtime.central.db.patience import PatientConnection

_BUSY_MS = 10_000
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Seconds, but the last, which is milliseconds: libpq's own are hours. The URL's query may say others."""
_FREE_S = 5  # to wait for a connection that others have


class Database:
    """Synchronous; call it from threads. On SQLite one transaction writes at a time, and readers never wait.

    All raise StorageAway where the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        """Raises ConfigError for a URL that names no database of a kind that is known here."""
        try:
            self.url = make_url(url)
            self.is_sqlite = self.url.get_backend_name() == "sqlite"
            self._engine = create_engine(self.url, **({} if self.is_sqlite else _elsewhere(self.url)))
        except (ArgumentError, ModuleNotFoundError, ValueError):  # whose words may quote the password
            said = "is no URL of a database, such as postgresql+psycopg://user:password@host/name"
            raise ConfigError([Fault(said, path="central.database_url")]) from None
        self._one_writer = threading.Lock()
        if self.is_sqlite:
            _tame_sqlite(self._engine)
        else:
            _tame_postgresql(self._engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._connected() as connection, connection.begin():
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """To read one moment of the whole, however long that takes."""
        with self._connected(slow=True) as plain:
            one = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
            connection = plain.execution_options(**one)
            with connection.begin():
                yield connection

    @contextmanager
    def write(self, *, slow: bool = False) -> Iterator[Connection]:
        """Committed at the end, undone by an exception; one that is `slow` is waited for as long as it takes."""
        if not self.is_sqlite:
            with self._connected(slow) as connection, connection.begin():
                yield connection
            return
        with self._one_writer, self._connected() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _connected(self, slow: bool = False) -> Iterator[Connection]:
        try:
            connection = self._engine.connect()
        except OperationalError as error:
            why = (str(error.orig).strip().splitlines() or ["no reason given"])[0][:300]
            raise StorageAway("the database does not answer", where=f"{self._place} ({why})") from None
        except PoolTimeout:
            raise StorageAway("the database has too much to do", where=self._place) from None
        with connection:
            if not slow or self.is_sqlite:
                yield connection
                return
            with cast("PatientConnection", connection.connection.dbapi_connection).unhurried():
                yield connection

    @property
    def _place(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def upgrade(self) -> None:
        """Bring the tables to this release. Raises StorageError."""
        with self.write(slow=True) as connection:
            schema.upgrade(connection)

    def insert_new(self, table: Table) -> Any:
        """An INSERT that leaves rows alone which are there already."""
        if self.is_sqlite:
            from sqlalchemy.dialects.sqlite import insert as insert_sqlite

            return insert_sqlite(table).on_conflict_do_nothing()
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(table).on_conflict_do_nothing()

    def close(self) -> None:
        self._engine.dispose()


def _elsewhere(url: URL) -> dict[str, Any]:
    """A server may have been restarted since a connection was last used, or be away: then that is told soon."""
    given = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    return {"pool_pre_ping": True, "pool_timeout": _FREE_S, "connect_args": given}


def _tame_postgresql(engine: Engine) -> None:
    from loopai_runtime.central.db.patience import PatientConnection

    @event.listens_for(engine, "do_connect")
    def connecting(_dialect: Any, _record: Any, arguments: Any, named: Any) -> PatientConnection:
        return PatientConnection.connect(*arguments, **named)


def _tame_sqlite(engine: Engine) -> None:
    """Transactions are begun by us, and what was committed is on the disk."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL", f"busy_timeout={_BUSY_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

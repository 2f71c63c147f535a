"""The tables: made at once where there are none, by migrations where there are older ones, the same in the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Inspector, create_engine, inspect, select, text, update

from loopai_runtime.central.db import schema
from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.migrations import HEAD
from loopai_runtime.central.db.tables import metadata, schema_version
from loopai_runtime.errors import StorageError


@pytest.fixture
def empty(db: Database) -> Database:
    with db.write() as connection:
        metadata.drop_all(connection)
    return db


def shape(connection: Connection) -> dict[str, Any]:
    """All that the database itself says of its tables."""

    def of(inspector: Inspector, table: str) -> dict[str, Any]:
        return {
            "columns": [{k: str(v) for k, v in each.items()} for each in inspector.get_columns(table)],
            "primary": inspector.get_pk_constraint(table),
            "foreign": sorted(inspector.get_foreign_keys(table), key=str),
            "unique": sorted(inspector.get_unique_constraints(table), key=str),
            "indexes": sorted(inspector.get_indexes(table), key=str),
        }

    inspector = inspect(connection)
    return {table: of(inspector, table) for table in sorted(inspector.get_table_names())}


def test_migrated_and_made_at_once_are_the_same(db: Database) -> None:
    with db.read() as connection:
        made = shape(connection)
    assert set(made) == set(metadata.tables)
    with db.write() as connection:
        metadata.drop_all(connection)
        schema.migrate(connection)
        assert schema.revision(connection) == HEAD
        assert shape(connection) == made


def test_the_last_revision_is_what_the_tables_are() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
    with create_engine("sqlite://").begin() as connection:
        schema.migrate(connection)
        context = MigrationContext.configure(connection, opts={"version_table": schema_version.name})
        missing = produce_migrations(context, metadata).upgrade_ops
        assert missing is not None
        assert missing.is_empty(), f"no revision has this yet:\n{render_python_code(missing)}"


def test_who_comes_at_the_same_time_finds_it_done(empty: Database) -> None:
    url = empty.url.render_as_string(hide_password=False)

    def start(_: int) -> None:
        mine = Database(url)
        mine.upgrade()
        mine.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(start, range(4)))
    with empty.read() as connection:
        assert list(connection.scalars(select(schema_version.c.version_num))) == [HEAD]


def test_a_database_of_another_kind_or_of_a_later_release_is_left_alone(empty: Database) -> None:
    with empty.write() as connection:
        connection.execute(text("CREATE TABLE audit (id INTEGER)"))
    with pytest.raises(StorageError, match="'audit' that no release made"):
        empty.upgrade()
    with empty.write() as connection:
        connection.execute(text("DROP TABLE audit"))
    empty.upgrade()
    with empty.write() as connection:
        connection.execute(update(schema_version).values(version_num="9999"))
    with pytest.raises(StorageError, match="a release that this one does not know"):
        empty.upgrade()
    with empty.read() as connection:
        assert schema.revision(connection) == "9999"

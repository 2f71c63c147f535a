"""The platform's database, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert
from tests import postgres

from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.tables import metadata, tenants
from loopai_runtime.models import utc_now


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with two tenants."""
    is_sqlite = request.param == "sqlite"
    made = Database(f"sqlite:///{tmp_path / 'central.db'}" if is_sqlite else request.getfixturevalue("postgresql"))
    made.upgrade()
    with made.write() as connection:
        rows = [{"id": name, "name": name, "created_at": utc_now()} for name in ("one", "two")]
        connection.execute(insert(tenants), rows)
    yield made
    with made.write() as connection:
        metadata.drop_all(connection)
    made.close()

"""The tables as this release has them, in a database that is empty, of an earlier release, or ready."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, inspect, select

from loopai_runtime.central.db.migrations import HEAD
from loopai_runtime.central.db.tables import metadata, schema_version
from loopai_runtime.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCK = 0x6C6F6F706169  # any number that nobody else locks: "loopai"


def upgrade(connection: Connection) -> None:
    """Make an empty database ready at once; take one of an earlier release through the revisions.

    Raises StorageError for one that this release does not know.
    """
    if connection.dialect.name == "postgresql":  # processes may start at the same time
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    found = revision(connection)
    if found == HEAD:
        return
    if found is None:
        if strangers := set(inspect(connection).get_table_names()) & set(metadata.tables):
            raise StorageError(
                f"the database has a table {min(strangers)!r} that no release made",
                hint="central.database_url names a database, or a schema of one, for this platform alone",
            )
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version_num=HEAD))
        return
    migrate(connection)


def revision(connection: Connection) -> str | None:
    """Which revision a database has; None for one that has none of our tables."""
    if not inspect(connection).has_table(schema_version.name):
        return None
    found: str | None = connection.scalar(select(schema_version.c.version_num))
    return found


def migrate(connection: Connection) -> None:
    """Through all revisions that are not applied yet, in the transaction that is open. Raises StorageError."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StorageError(
            f"the database is of a release that this one does not know: {error}",
            hint="use the release that last ran on it, or a later one",
        ) from None

"""Alembic's entry: the connection, and the transaction that is open on it, are `schema.migrate`'s."""

from alembic import context

from loopai_runtime.central.db.tables import metadata, schema_version

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=schema_version.name,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
context.run_migrations()

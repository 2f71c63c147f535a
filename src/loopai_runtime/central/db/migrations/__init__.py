"""How a database of an earlier release becomes one of this: Alembic's revisions, one after the other."""

HEAD = "0001"
"""The revision of `tables.metadata`."""

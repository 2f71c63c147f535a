"""Tables as JSON lines and back, the same for every database: a dump of one is loaded into another."""

from __future__ import annotations

import base64
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, func, insert, select

from loopai_runtime import jsonl
from loopai_runtime.central.db.tables import metadata, schema_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Table

_ROWS = 1000  # at a time


def tables() -> list[Table]:
    """All that hold anything of a platform, those first that others refer to."""
    return [table for table in metadata.sorted_tables if table is not schema_version]


def lines(connection: Connection, table: Table) -> Iterator[bytes]:
    """A line for each row; bytes are base64."""
    binary = _binary(table)
    for row in connection.execute(select(table), execution_options={"yield_per": _ROWS}).mappings():
        shown = {k: base64.b64encode(v).decode() if k in binary else v for k, v in row.items()}
        yield json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def load(connection: Connection, table: Table, found: Iterable[bytes]) -> int:
    """Insert what `lines` made into an empty table; how many rows.

    Raises SQLAlchemyError, InputError, and TypeError or ValueError for what it did not make.
    """
    binary, count, rest = _binary(table), 0, iter(found)
    names = set(table.columns.keys())
    while rows := [jsonl.loads(line) for line in islice(rest, _ROWS)]:
        for row in rows:
            if not isinstance(row, dict) or set(row) != names:
                raise ValueError(f"a row of {table.name} has other members than the table")
            row |= {name: base64.b64decode(row[name], validate=True) for name in binary}
        connection.execute(insert(table), rows)
        count += len(rows)
    if count:
        _go_on_counting(connection, table)
    return count


def _binary(table: Table) -> list[str]:
    return [column.name for column in table.columns if isinstance(column.type, LargeBinary)]


def _go_on_counting(connection: Connection, table: Table) -> None:
    """PostgreSQL numbers from a counter of its own, which inserted numbers do not move."""
    column: Any = table.autoincrement_column
    if column is None or connection.dialect.name != "postgresql":
        return
    counter = func.pg_get_serial_sequence(table.name, column.name)
    connection.execute(select(func.setval(counter, select(func.max(column)).scalar_subquery())))

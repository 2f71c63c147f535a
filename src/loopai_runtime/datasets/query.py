"""SQL over the raw logs, by DuckDB in this process: files are read where they lie, gzipped or not."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest
from loopai_runtime.datasets import raw, stats, tally
from loopai_runtime.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.layout import Layout

MEMORY_MB = 160
"""For DuckDB's own buffers; with Python and its library the process stays under 300 MB."""
_LONGEST_RECORD = 16 * 2**20

_EXECUTIONS = {
    "execution_id": "VARCHAR",
    "task_id": "VARCHAR",
    "version": "INTEGER",
    "input": "JSON",
    "output": "JSON",
    "confidence": "DOUBLE",
    "abstained": "BOOLEAN",
    "source": "VARCHAR",
    "status": "VARCHAR",
    "error": "JSON",
    "latency_ms": "DOUBLE",
    "timestamp": "TIMESTAMP",
    "sampled": "BOOLEAN",
    "pi": "DOUBLE",
    "rollout_id": "VARCHAR",
    "arm": "VARCHAR",
    "deployment_id": "VARCHAR",
}
_VALIDATIONS = {
    "validation_id": "VARCHAR",
    "execution_id": "VARCHAR",
    "task_id": "VARCHAR",
    "version": "INTEGER",
    "output": "JSON",
    "oracle_output": "JSON",
    "oracle_cost": "DOUBLE",
    "oracle_latency_ms": "DOUBLE",
    "match": "BOOLEAN",
    "similarity_score": "DOUBLE",
    "comparison_method": "VARCHAR",
    "pi": "DOUBLE",
    "timestamp": "TIMESTAMP",
}


def query(layout: Layout, task_id: str | None, days: int, sql: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and rows of a statement over the tables `executions` and `validations` of the last `days` days.

    The statement can read those files and nothing else, and nothing from a network. Raises MissingExtra, NotFound,
    UsageError with DuckDB's words for a statement that fails.
    """
    if find_spec("duckdb") is None:
        raise MissingExtra("analyze --sql", "analytics")
    import duckdb

    tasks = layout.logged_tasks()
    if task_id is not None:
        tasks = [task_id if task_id in tasks else layout.require_task(task_id)]
    executions, validations = _files(layout, tasks, stats.last_days(days))
    if any(path.suffix == at_rest.ENCRYPTED for path in [*executions, *validations]):
        hint = "loopai logs decrypt TASK > plain.jsonl; duckdb reads that"
        raise UsageError("--sql does not read encrypted logs", hint=hint)
    with duckdb.connect(":memory:") as database:
        _confine(database, [*executions, *validations])
        _view(database, "executions", executions, _EXECUTIONS)
        _view(database, "validations", validations, _VALIDATIONS)
        database.execute("SET lock_configuration = true")
        try:
            result = database.execute(sql)
            columns = [column[0] for column in result.description or []]
            reads = [_json if str(column[1]) == "JSON" else _plain for column in result.description or []]
            return columns, [
                {name: read(value) for name, read, value in zip(columns, reads, row, strict=True)}
                for row in result.fetchall()
            ]
        except duckdb.Error as error:
            raise UsageError(str(error).strip(), where="--sql") from None


def _files(layout: Layout, tasks: list[str], days: list[str]) -> tuple[list[Path], list[Path]]:
    executions: list[Path] = []
    validations: list[Path] = []
    for task in tasks:
        found = raw.days(layout, task)
        executions += [part.path for day in days for part in found.get(day, [])]
        of_days = (layout.validations(task, day) for day in days)
        validations += [path for day in of_days for path in (day, at_rest.encrypted(day)) if path.exists()]
    return executions, validations


def _confine(database: Any, files: list[Path]) -> None:
    """No file but these, no extension, no network; little memory."""
    database.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
    database.execute(
        f"SET memory_limit = '{MEMORY_MB}MB'; SET temp_directory = ''; SET preserve_insertion_order = false"
    )
    database.execute("SET allowed_paths = ?", [[str(path) for path in files]])
    database.execute("SET enable_external_access = false")


def _view(database: Any, name: str, files: list[Path], columns: dict[str, str]) -> None:
    if not files:
        fields = ", ".join(f'NULL::{kind} AS "{column}"' for column, kind in columns.items())
        database.execute(f"CREATE VIEW {name} AS SELECT {fields} WHERE false")
        return
    listed = ", ".join(_quoted(str(path)) for path in files)
    typed = ", ".join(f"{_quoted(column)}: {_quoted(kind)}" for column, kind in columns.items())
    database.execute(
        f"CREATE VIEW {name} AS SELECT * FROM read_json([{listed}], format = 'newline_delimited', "  # noqa: S608
        f"columns = {{{typed}}}, ignore_errors = true, maximum_object_size = {_LONGEST_RECORD})"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _json(text: str | None) -> Any:
    return None if text is None else tally.read(text.encode())


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    with suppress(AttributeError):
        return value.isoformat()
    return str(value)

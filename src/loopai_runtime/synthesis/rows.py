"""Rows of CSV, JSONL and JSON files as inputs and outputs, streamed, each checked against the schemas."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import Fault, InputError, NotFound, SpecError, StorageError
from loopai_runtime.schemas import MAX_FAULTS, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_CELL = 64 * 1024 * 1024
_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


class _Unreadable(Exception):
    """A file that cannot be read further; its fault ends the reading."""


@dataclass(frozen=True, slots=True)
class Row:
    """An accepted row; `output` is None where none was asked for."""

    input: Any
    output: Any
    where: str


class RowReader:
    """Reads files by one mapping: `input` (property -> column, or one column) and `output` (a column).

    Without them a JSON row is `{"input": …, "output": …}`, and in a CSV the column `output` is the output and
    the others are the input. A column that alone is the input of a task with one property becomes that
    property. `output_schema=None` reads inputs alone, and a JSON row without `input` is then the bare input.
    """

    def __init__(
        self,
        input_schema: Schema,
        output_schema: Schema | None,
        input: dict[str, str] | str | None = None,
        output: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self._input_schema = input_schema
        self._output_schema = output_schema
        self._input = input
        self._output = output or "output"
        self._encoding = encoding
        self._properties: dict[str, Any] = input_schema.schema.get("properties", {})
        self._faults: list[Fault] = []
        self._more = 0

    def faults(self) -> list[Fault]:
        """What was wrong with the rows read so far: at most 20 faults, and how many more there were."""
        more = [Fault(f"… and {self._more:,} more faults", self._faults[0].file)] if self._more else []
        return self._faults + more

    def read(self, path: Path, name: str) -> Iterator[Row]:
        """The sound rows of a file; faults are collected. Raises NotFound, StorageError, SpecError."""
        suffix = path.suffix.lower()
        if suffix not in (".csv", ".jsonl", ".ndjson", ".json"):
            raise SpecError([Fault("is not CSV, JSONL or JSON (.csv, .jsonl, .json)", name)])
        try:
            with path.open("rb") as file:
                rows = self._csv(file, name) if suffix == ".csv" else self._json(file, name, suffix == ".json")
                yield from rows
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound("no such file", where=str(path)) from None
        except OSError as exc:
            raise StorageError(exc.strerror or "cannot be read", where=str(path)) from None
        except _Unreadable:
            return

    def _fault(self, message: str, name: str, line: int | None, path: str | None = None) -> None:
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(message, name, line, path))
        else:
            self._more += 1

    def _checked(self, value: Any, output: Any, name: str, line: int) -> Iterator[Row]:
        sound = True
        for part, what, schema in (("input", value, self._input_schema), ("output", output, self._output_schema)):
            if schema is not None and not schema.accepts(what):
                sound = False
                for fault in schema.faults(what):
                    self._fault(fault.message, name, line, "$." + part + (fault.path or "$")[1:])
        if sound:
            yield Row(value, output, f"{name}:{line}")

    # --- JSON -----------------------------------------------------------------------------------------------

    def _json(self, file: IO[bytes], name: str, whole: bool) -> Iterator[Row]:
        for line, value in self._array(file, name) if whole else self._values(file, name):
            try:
                pair = self._from_json(value)
            except KeyError as exc:
                self._fault(str(exc.args[0]), name, line)
                continue
            yield from self._checked(*pair, name, line)

    def _values(self, file: IO[bytes], name: str) -> Iterator[tuple[int, Any]]:
        for line in jsonl.lines(file):
            try:
                yield line.number, jsonl.loads(line.raw)
            except InputError as exc:
                self._fault(exc.message, name, line.number)

    def _array(self, file: IO[bytes], name: str) -> Iterator[tuple[int, Any]]:
        try:
            values = jsonl.loads(file.read())
        except InputError as exc:
            raise SpecError([Fault(exc.message, name)]) from None
        if not isinstance(values, list):
            raise SpecError([Fault("a JSON file of examples is an array of rows", name)])
        # An array has no line for each row; its place in the array stands in.
        yield from enumerate(values, 1)

    def _from_json(self, row: Any) -> tuple[Any, Any]:
        """Raises KeyError with a sentence."""
        if self._input is None and self._output_schema is None:
            return (row["input"] if isinstance(row, dict) and "input" in row else row), None
        if not isinstance(row, dict):
            raise KeyError('a row is an object such as {"input": …, "output": …}')
        output = self._pick(row, self._output) if self._output_schema else None
        if self._input is None:
            return self._pick(row, "input"), output
        if isinstance(self._input, str):
            return self._alone(self._pick(row, self._input)), output
        return {prop: self._pick(row, key) for prop, key in self._input.items() if key in row}, output

    @staticmethod
    def _pick(row: dict[str, Any], key: str) -> Any:
        if key not in row:
            raise KeyError(f"no key {key!r} in the row; it has {', '.join(map(repr, list(row)[:10]))}")
        return row[key]

    def _alone(self, value: Any) -> Any:
        if self._input_schema.schema.get("type") == "object" and len(self._properties) == 1:
            return value if isinstance(value, dict) else {next(iter(self._properties)): value}
        return value

    # --- CSV ------------------------------------------------------------------------------------------------

    def _csv(self, file: IO[bytes], name: str) -> Iterator[Row]:
        csv.field_size_limit(MAX_CELL)
        reader = csv.reader(self._decoded(file, name), strict=True)
        try:
            header = next(reader, None)
            if not header:
                raise SpecError([Fault("the file is empty; its first line names the columns", name)])
            columns = self._columns(header, name)
            while True:
                line = reader.line_num + 1
                cells = next(reader, None)
                if cells is None:
                    return
                if not cells:
                    continue
                if len(cells) != len(header):
                    self._fault(f"{len(cells)} cells, where the first line names {len(header)}", name, line)
                    continue
                yield from self._from_cells(columns, cells, name, line)
        except csv.Error as exc:
            self._fault(f"not valid CSV: {exc}", name, reader.line_num)

    def _decoded(self, file: IO[bytes], name: str) -> Iterator[str]:
        """Lines of text. Decoding each line by itself is what lets a fault name its line."""
        try:
            encoding = codecs.lookup(self._encoding).name
        except LookupError:
            raise SpecError([Fault(f"unknown encoding {self._encoding!r}", name)]) from None
        if encoding.startswith(("utf-16", "utf-32")):
            raise SpecError([Fault(f"{self._encoding} is not supported; save the file as UTF-8", name)])
        for number, raw in enumerate(file, 1):
            if number == 1 and encoding == "utf-8":
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                yield raw.decode(encoding)
            except UnicodeDecodeError as exc:
                self._fault(
                    f"not {self._encoding.upper()} (byte {raw[exc.start]:#04x}); "
                    "if it is Latin-1, say `encoding: latin-1`",
                    name,
                    number,
                )
                raise _Unreadable from None

    def _columns(self, header: list[str], name: str) -> tuple[dict[str, int] | int, int | None]:
        """Where input and output stand: property -> index, or the index of the one input column."""
        repeated = {column for column in header if header.count(column) > 1}
        if repeated:
            raise SpecError([Fault(f"the column {sorted(repeated)[0]!r} is named twice", name, 1)])
        index = {column: i for i, column in enumerate(header)}
        wanted = [self._output] if self._output_schema else []
        if self._input is not None:
            wanted += [self._input] if isinstance(self._input, str) else list(self._input.values())
        if missing := [column for column in wanted if column not in index]:
            there = ", ".join(map(repr, header[:20]))
            raise SpecError([Fault(f"no column {column!r}; there are {there}", name, 1) for column in missing])
        output = index[self._output] if self._output_schema else None
        if isinstance(self._input, dict):
            return {prop: index[column] for prop, column in self._input.items()}, output
        if isinstance(self._input, str):
            return self._one(index[self._input]), output
        others = {column: i for column, i in index.items() if column != self._output}
        if self._input_schema.schema.get("type") not in ("object", None) and len(others) == 1:
            return next(iter(others.values())), output
        return others, output

    def _one(self, column: int) -> dict[str, int] | int:
        if self._input_schema.schema.get("type") == "object" and len(self._properties) == 1:
            return {next(iter(self._properties)): column}
        return column

    def _from_cells(
        self, columns: tuple[dict[str, int] | int, int | None], cells: list[str], name: str, line: int
    ) -> Iterator[Row]:
        where, out = columns
        try:
            if isinstance(where, int):
                value = coerce(cells[where], self._input_schema.schema, "input")
            else:
                value = {}
                required = self._input_schema.schema.get("required", [])
                for prop, i in where.items():
                    schema = self._properties.get(prop, {})
                    # An empty cell says nothing; it is an empty text only where text is what belongs there.
                    if cells[i] == "" and prop not in required and "string" not in _kinds(schema):
                        continue
                    value[prop] = coerce(cells[i], schema, prop)
            output = None
            if out is not None and self._output_schema is not None:
                output = coerce(cells[out], self._output_schema.schema, self._output)
        except ValueError as exc:
            self._fault(str(exc), name, line)
            return
        yield from self._checked(value, output, name, line)


def _kinds(schema: Any) -> list[str]:
    """The JSON types that a schema allows, as far as it says so itself."""
    if not isinstance(schema, dict):
        return ["string"]
    kind = schema.get("type")
    if kind is None:
        values = (
            schema["enum"]
            if isinstance(schema.get("enum"), list)
            else [schema["const"]]
            if "const" in schema
            else []
        )
        names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
        return [names.get(type(value), "object") for value in values] or ["string"]
    return list(kind) if isinstance(kind, list) else [str(kind)]


def coerce(cell: str, schema: Any, what: str) -> Any:
    """A CSV cell as the JSON value that its schema asks for. Raises ValueError with a sentence."""
    kinds = _kinds(schema)
    text = cell.strip()
    if "null" in kinds and text in ("", "null"):
        return None
    if "integer" in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in kinds and _NUMBER.fullmatch(text):
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "object" in kinds or "array" in kinds:
        try:
            return jsonl.loads(text)
        except InputError as exc:
            if "string" not in kinds:
                raise ValueError(f"{what}: {exc.message}") from None
    if "string" in kinds:
        return cell
    shown = cell if len(cell) <= 40 else cell[:40] + "…"
    raise ValueError(f"{what}: {shown!r} is not {' or '.join(kinds)}")

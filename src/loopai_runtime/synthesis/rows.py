"""Rows of CSV, JSONL and JSON files as inputs and outputs, streamed, each checked against the schemas."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import crypto
from loopai_runtime.errors import Fault, InputError, NotFound, SpecError, StorageError
from loopai_runtime.schemas import MAX_FAULTS, Schema
from loopai_runtime.synthesis.cells import converter, types
from loopai_runtime.synthesis.rowfiles import SUFFIXES, Raw, Unreadable, csv_rows, json_rows, jsonl_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopai_runtime.crypto import Vault


@dataclass(frozen=True, slots=True)
class Row:
    """An accepted row; `output` is None where none was asked for."""

    input: Any
    output: Any
    where: str


class _Misfit(ValueError):
    """Why a row cannot be mapped, in a sentence."""


class _Columns(NamedTuple):
    """How the cells of a CSV make an input (whole, or property by property) and an output."""

    whole: tuple[int, Callable[[str], Any]] | None
    properties: list[tuple[str, int, Callable[[str], Any], bool]]
    output: tuple[int, Callable[[str], Any]] | None


class RowReader:
    """Reads files by one mapping: `input` (property -> column, or one column) and `output` (a column).

    Without them a JSON row is `{"input": …, "output": …}`, and in a CSV the column `output` is the output and
    the others are the input. One column that is the whole input of a task with a single property becomes that
    property, unless its value is an object already. An empty cell leaves out an optional property that is no
    text. `output_schema=None` reads inputs alone, and a JSON row without `input` is then the bare input.
    """

    def __init__(
        self,
        input_schema: Schema,
        output_schema: Schema | None,
        input: dict[str, str] | str | None = None,
        output: str | None = None,
        encoding: str = "utf-8",
        vault: Vault | None = None,
    ) -> None:
        """`vault` opens files that were encrypted here."""
        self._input_schema = input_schema
        self._output_schema = output_schema
        self._input = input
        self._output = output or "output"
        self._encoding = encoding
        self._vault = vault
        properties = input_schema.schema.get("properties")
        self._properties: dict[str, Any] = properties if isinstance(properties, dict) else {}
        self._required = frozenset(input_schema.schema.get("required", []))
        self._faults: list[Fault] = []
        self._more = 0
        self._warnings: list[Fault] = []

    def faults(self) -> list[Fault]:
        """What was wrong with the rows read so far: at most 20 faults, and how many more there were."""
        more = [Fault(f"… and {self._more:,} more faults", self._faults[0].file)] if self._more else []
        return self._faults + more

    def warnings(self) -> list[Fault]:
        """What is odd about the files read so far."""
        return self._warnings

    def read(self, path: Path, name: str) -> Iterator[Row]:
        """The sound rows of a file, which faults call `name`; faults are collected.

        Raises NotFound, StorageError, or SpecError for a file that is no table of examples at all.
        """
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise SpecError([Fault(f"is not CSV, JSONL or JSON ({', '.join(SUFFIXES)})", name)])
        if suffix != ".csv" and self._encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig"):
            raise SpecError([Fault("`encoding` is for CSV files; JSON is UTF-8", name)])
        try:
            with path.open("rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise SpecError([Fault("is not a regular file", name)])
                text: IO[bytes] = file
                if crypto.is_encrypted(file.peek(crypto.MAGIC_BYTES)):
                    text = io.BufferedReader(crypto.plain_of(self._vault, file, name))
                yield from self._rows(text, name, suffix)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound("no such file", where=name) from None
        except IsADirectoryError:
            raise SpecError([Fault("is a directory", name)]) from None
        except OSError as exc:
            raise StorageError(exc.strerror or "cannot be read", where=name) from None
        except Unreadable as exc:
            self._fault(str(exc), name, exc.line)

    def _rows(self, file: IO[bytes], name: str, suffix: str) -> Iterator[Row]:
        if suffix == ".csv":
            yield from self._csv(csv_rows(file, self._encoding), name)
            return
        for raw in json_rows(file) if suffix == ".json" else jsonl_rows(file):
            try:
                if isinstance(raw.value, InputError):
                    raise _Misfit(raw.value.message)
                yield from self._checked(self._input_of(raw.value), self._output_of(raw.value), name, raw)
            except _Misfit as exc:
                self._fault(str(exc), name, raw.line, None if raw.path == "$" else raw.path)

    def _fault(self, message: str, name: str, line: int | None, path: str | None = None) -> None:
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(message, name, line, path))
        else:
            self._more += 1

    def _checked(self, value: Any, output: Any, name: str, raw: Raw) -> Iterator[Row]:
        sound = True
        for part, what, schema in (("input", value, self._input_schema), ("output", output, self._output_schema)):
            if schema is not None and not schema.accepts(what):
                sound = False
                for fault in schema.faults(what):
                    self._fault(fault.message, name, raw.line, f"{raw.path}.{part}{(fault.path or '$')[1:]}")
        if sound:
            place = f"{name}:{raw.line}"
            yield Row(value, output, place if raw.path == "$" else f"{place}: {raw.path}")

    # --- JSON -----------------------------------------------------------------------------------------------

    def _input_of(self, row: Any) -> Any:
        if self._input is None and self._output_schema is None:
            enveloped = isinstance(row, dict) and "input" in row and "input" not in self._properties
            return row["input"] if enveloped else row
        if self._input is None:
            return _pick(row, "input")
        if isinstance(self._input, str):
            return self._alone(_pick(row, self._input))
        return {
            name: _pick(row, key)
            for name, key in self._input.items()
            if name in self._required or not isinstance(row, dict) or key in row
        }

    def _output_of(self, row: Any) -> Any:
        return _pick(row, self._output) if self._output_schema is not None else None

    def _alone(self, value: Any) -> Any:
        return value if isinstance(value, dict) or self._only is None else {self._only: value}

    @property
    def _only(self) -> str | None:
        """The input's property, where it is an object with a single one."""
        if self._input_schema.schema.get("type") == "object" and len(self._properties) == 1:
            return next(iter(self._properties))
        return None

    # --- CSV ------------------------------------------------------------------------------------------------

    def _csv(self, rows: Iterator[Raw], name: str) -> Iterator[Row]:
        first = next(rows, None)
        if first is None:
            raise Unreadable("the file is empty; its first line names the columns")
        header = first.value
        columns = self._columns(header, name)
        for raw in rows:
            try:
                if len(raw.value) != len(header):
                    raise _Misfit(f"{len(raw.value)} cells, where the first line names {len(header)}")
                value, output = self._from_cells(columns, raw.value)
            except ValueError as exc:
                self._fault(str(exc), name, raw.line)
                continue
            yield from self._checked(value, output, name, raw)

    def _columns(self, header: list[str], name: str) -> _Columns:
        output = [self._output] if self._output_schema is not None else []
        if isinstance(self._input, dict):
            mapping = self._input
        elif isinstance(self._input, str):
            mapping = {self._input: self._input}
        else:
            beside = self._output if self._output_schema is not None or "output" not in self._properties else None
            mapping = {column: column for column in header if column != beside}
        index = _places(header, [*mapping.values(), *output], name)
        out = None
        if self._output_schema is not None:
            out = index[self._output], converter(self._output_schema.schema, self._output)
        root = self._input_schema.schema
        stated = types(root)
        if isinstance(self._input, str) and self._only is not None:
            mapping = {self._only: self._input}
        elif isinstance(self._input, str) or (stated and "object" not in stated):
            if len(mapping) != 1:
                raise SpecError(
                    [Fault("input_schema takes no object: name the one column under `input`", name, 1)]
                )
            column = next(iter(mapping.values()))
            return _Columns((index[column], converter(root, column)), [], out)
        elif self._input is None:
            self._warn_of_strangers(mapping, name)
        return _Columns(None, [self._property(prop, index[c], root) for prop, c in mapping.items()], out)

    def _property(self, prop: str, place: int, root: Any) -> tuple[str, int, Callable[[str], Any], bool]:
        schema = self._properties.get(prop, {})
        # An empty cell says nothing; it is an empty text only where text is what belongs there.
        kinds = types(schema, root) or {"string"}
        optional = prop not in self._required and kinds.isdisjoint(("string", "null"))
        return prop, place, converter(schema, prop, root), optional

    def _warn_of_strangers(self, mapping: dict[str, str], name: str) -> None:
        strangers = [column for column in mapping if column not in self._properties]
        if strangers and self._properties:
            shown = ", ".join(map(repr, strangers[:10]))
            self._warnings.append(Fault(f"columns that input_schema does not name are taken in: {shown}", name, 1))

    @staticmethod
    def _from_cells(columns: _Columns, cells: list[str]) -> tuple[Any, Any]:
        """Raises ValueError with a sentence."""
        output = columns.output[1](cells[columns.output[0]]) if columns.output else None
        if columns.whole:
            return columns.whole[1](cells[columns.whole[0]]), output
        value = {
            prop: convert(cells[place])
            for prop, place, convert, optional in columns.properties
            if not (optional and cells[place] == "")
        }
        return value, output


def _pick(row: Any, key: str) -> Any:
    if not isinstance(row, dict):
        raise _Misfit('a row is an object such as {"input": …, "output": …}')
    if key not in row:
        raise _Misfit(f"no key {key!r} in the row; it has {', '.join(map(repr, list(row)[:10])) or 'none'}")
    return row[key]


def _places(header: list[str], wanted: list[str], name: str) -> dict[str, int]:
    """Where each column stands. Raises SpecError for columns that are wanted and not there, or there twice."""
    index = {column: place for place, column in reversed(list(enumerate(header)))}
    faults = []
    for column in dict.fromkeys(wanted):
        if column not in index:
            there = ", ".join(map(repr, header[:20]))
            faults.append(Fault(f"no column {column!r}; there are {there}{_separator_hint(header)}", name, 1))
        elif header.count(column) > 1:
            faults.append(Fault(f"the column {column!r} is named twice", name, 1))
    if faults:
        raise SpecError(faults)
    return index


def _separator_hint(header: list[str]) -> str:
    for mark, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and mark in header[0]:
            return f"; the columns seem to be separated by {word}: save the file with commas"
    return ""

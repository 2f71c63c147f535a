"""The rows of CSV, JSONL and JSON files as they stand, one at a time, each with its line."""

from __future__ import annotations

import codecs
import csv
import mmap
import re
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CELL = 64 * 1024 * 1024
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".json")

# What structures JSON text: a whole string, a bracket, a comma. Possessive, so that nothing is tried twice.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*+")


class Unreadable(Exception):
    """What keeps a file from being read further, and on which line."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Raw(NamedTuple):
    """A row before it is mapped: cells of a CSV, a JSON value, or the error that stands in its place."""

    line: int
    value: Any
    path: str = "$"  # of the value in its file; a JSON array has many on a line


def csv_rows(file: IO[bytes], encoding: str) -> Iterator[Raw]:
    """Rows of cells, the names of the columns first. Raises Unreadable."""
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(_decoded(file, encoding), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            problem = "a quote is opened and never closed" if "end of data" in str(exc) else str(exc)
            raise Unreadable(f"not valid CSV: {problem}", line) from None
        if cells is None:
            return
        if cells:
            yield Raw(line, cells)


def _decoded(file: IO[bytes], encoding: str) -> Iterator[str]:
    """Lines of text. Decoding each line by itself is what lets a fault name its line."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except (LookupError, ValueError):
        raise Unreadable(f"unknown encoding {encoding!r}; utf-8, latin-1 and cp1252 are common") from None
    if name.startswith(("utf-16", "utf-32")):
        raise Unreadable(f"the encoding {encoding} is not supported; save the file as UTF-8")
    for number, raw in enumerate(file, 1):
        if number == 1 and name == "utf-8":
            raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            text = raw.decode(name)
            if name != "utf-8":
                text.encode("utf-8")
        except UnicodeDecodeError as exc:
            raise Unreadable(_not_decoded(raw, exc, number, encoding), number) from None
        except UnicodeError as exc:
            raise Unreadable(f"not {encoding}: {exc}", number) from None
        yield text


def _not_decoded(raw: bytes, exc: UnicodeDecodeError, number: int, encoding: str) -> str:
    if number == 1 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16, which is not supported; save the file as UTF-8"
    advice = "; if the file is Latin-1, set `encoding: latin-1`" if exc.encoding.startswith("utf-8") else ""
    return f"not {encoding.upper()} (byte {raw[exc.start]:#04x}){advice}"


def jsonl_rows(file: IO[bytes]) -> Iterator[Raw]:
    """A value a line; an InputError in place of a line that is not JSON. Raises Unreadable."""
    try:
        for line in jsonl.lines(file):
            yield Raw(line.number, _value(line.raw))
    except InputError as exc:
        raise Unreadable(exc.message) from None


def json_rows(file: IO[bytes]) -> Iterator[Raw]:
    """The members of a JSON array, of which only one is held at a time. Raises Unreadable."""
    try:
        text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:  # an empty file cannot be mapped
        raise Unreadable("the file is empty; it should be a JSON array of rows") from None
    with text:
        start = 3 if text[:3] == codecs.BOM_UTF8 else 0
        line, at = 1, start
        for index, (begin, end) in enumerate(_members(text, start)):
            # Spaces before the value are left out, so that the line is the one on which the value stands.
            begin = _end_of_space(text, begin)
            line += text[at:begin].count(b"\n")
            at = begin
            yield Raw(line, _value(text[begin:end]), f"$[{index}]")


def _members(text: mmap.mmap, start: int) -> Iterator[tuple[int, int]]:
    """Where the members of the outermost array begin and end. Raises Unreadable."""
    begin = _end_of_space(text, start)
    if text[begin : begin + 1] != b"[":
        raise Unreadable("a JSON file of examples is an array of rows; one row a line is a .jsonl file")
    depth, begin = 0, begin + 1
    for token in _TOKEN.finditer(text, begin - 1):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        if (depth == 1 and mark == b",") or depth == 0:
            if depth == 1 or _end_of_space(text, begin) < token.start() or text[begin - 1 : begin] == b",":
                yield begin, token.start()
            begin = token.end()
        if depth == 0:
            break
    if depth != 0:
        raise Unreadable("not JSON: the array is never closed")
    if (rest := _end_of_space(text, begin)) < len(text):
        raise Unreadable("not JSON: there is more after the array", text[:rest].count(b"\n") + 1)


def _end_of_space(text: mmap.mmap, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _value(raw: bytes) -> Any:
    try:
        return jsonl.loads(raw)
    except InputError as exc:
        return exc

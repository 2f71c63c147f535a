"""The files of rows: whatever was written comes back, with the line on which it stands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError
from loopai_runtime.synthesis.rowfiles import Raw, Unreadable, csv_rows, json_rows, jsonl_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ROWS = st.lists(st.dictionaries(TEXT, TEXT | st.integers() | st.none() | st.lists(TEXT), max_size=3), max_size=6)
SAME_DIRECTORY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def array(path: Path, text: str | bytes) -> list[Raw]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with path.open("rb") as file:
        return list(json_rows(file))


@given(ROWS, st.sampled_from([None, 0, 2]), st.booleans())
@SAME_DIRECTORY
def test_a_json_array_is_read_member_by_member(
    tmp_path: Path, rows: list[Any], indent: int | None, plain: bool
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=plain)
    found = array(tmp_path / "a.json", text)
    assert [raw.value for raw in found] == rows
    assert [raw.path for raw in found] == [f"$[{n}]" for n in range(len(rows))]
    for raw in found:
        assert text.split("\n")[raw.line - 1].lstrip(" [")[:1] in ("{", "")


@given(ROWS)
def test_json_lines_are_read_one_by_one(rows: list[Any]) -> None:
    file = io.BytesIO(b"".join(jsonl.compact(row) + b"\n" for row in rows))
    assert [(raw.line, raw.value) for raw in jsonl_rows(file)] == list(enumerate(rows, 1))


# A bare carriage return is a line's end to some and none to others; a byte order mark at the start is dropped.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufeff"))


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=8), st.booleans())
def test_a_csv_gives_back_its_cells(rows: list[list[str]], marked: bool) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    content = text.getvalue().encode("utf-8-sig" if marked else "utf-8")
    assert [raw.value for raw in csv_rows(io.BytesIO(content), "utf-8")] == rows


def test_a_csv_row_has_the_line_on_which_it_begins() -> None:
    file = io.BytesIO(b'a,b\r\n"x\ny\n\nz",1\r\n\r\n2,3')
    assert [(raw.line, raw.value) for raw in csv_rows(file, "utf-8")] == [
        (1, ["a", "b"]),
        (2, ["x\ny\n\nz", "1"]),
        (7, ["2", "3"]),
    ]


def test_large_cells_are_read() -> None:
    (raw,) = csv_rows(io.BytesIO(b'"' + b"x" * 5_000_000 + b'",1\n'), "utf-8")
    assert len(raw.value[0]) == 5_000_000


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "UTF8", "iso-8859-15"])
def test_named_encodings_are_read(encoding: str) -> None:
    file = io.BytesIO("grüße,1\n".encode(encoding))
    assert [raw.value for raw in csv_rows(file, encoding)] == [["grüße", "1"]]


@pytest.mark.parametrize(
    ("content", "encoding", "said", "line"),
    [
        (b"a\nb\xfc\n", "utf-8", "not UTF-8 (byte 0xfc); if the file is Latin-1, set `encoding: latin-1`", 2),
        (b"a\nb\xfc\n", "ascii", "not ASCII (byte 0xfc)", 2),
        (b"a", "klingon", "unknown encoding 'klingon'", None),
        (b"a", "rot13", "unknown encoding 'rot13'", None),
        (b"a", "hex", "unknown encoding 'hex'", None),
        (b"a", "a\0b", "unknown encoding", None),
        (b"a", "utf-16", "the encoding utf-16 is not supported", None),
        ("a".encode("utf-16"), "utf-8", "UTF-16, which is not supported", 1),
        (b"x\n\\ud800\n", "unicode_escape", "not unicode_escape", 2),
        (b'a\n"b" c\n', "utf-8", "not valid CSV: ',' expected after '\"'", 2),
        (b'a\nb\n"c\n\n', "utf-8", "not valid CSV: a quote is opened and never closed", 3),
        (b"a\rb\n", "utf-8", "not valid CSV: new-line character seen in unquoted field", 1),
    ],
)
def test_a_csv_that_cannot_be_read_says_why_and_where(
    content: bytes, encoding: str, said: str, line: int | None
) -> None:
    with pytest.raises(Unreadable) as caught:
        list(csv_rows(io.BytesIO(content), encoding))
    assert str(caught.value).startswith(said)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[{"a": 1},\n {"a": tru},\n 3]', [2]),
        ('[1, , 2]', [1]),
        ("[1,]", [1]),
        ("[,1]", [1]),
        ('["]", 2, "[", "\\\\", "a\\"b", {"]": "["}]', []),
        ('[1 2, 3]', [1]),
        ('[{"a": 1, "a": 2}, "\\ud800", NaN]', [1, 1, 1]),
        ("[" + "[" * 50 + "]" * 50 + "]", []),
        ("\ufeff [ ] ", []),
    ],
)  # fmt: skip
def test_a_bad_member_of_an_array_spoils_no_other(tmp_path: Path, text: str, wrong: list[int]) -> None:
    found = array(tmp_path / "a.json", text)
    assert [raw.line for raw in found if isinstance(raw.value, InputError)] == wrong


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        (" \n", "is an array of rows"),
        ('{"a": []}', "is an array of rows"),
        ("[1, 2", "the array is never closed"),
        ('["a', "the array is never closed"),
        ("[1]\n\n[2]", "there is more after the array"),
    ],
)
def test_what_is_no_array_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        array(tmp_path / "a.json", text)


def test_an_unclosed_quote_in_a_large_file_is_found_quickly(tmp_path: Path) -> None:
    import time

    started = time.process_time()
    with pytest.raises(Unreadable, match="never closed"):
        array(tmp_path / "a.json", "[1," + '"' + "\\a" * 1_000_000)
    assert time.process_time() - started < 5

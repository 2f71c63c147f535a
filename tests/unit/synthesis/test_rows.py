"""Reading rows: every format and mapping, and what is said of rows that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.errors import NotFound, SpecError
from loopai_runtime.schemas import Schema
from loopai_runtime.synthesis.cells import converter
from loopai_runtime.synthesis.rows import RowReader

TEXT = Schema({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]})
LABEL = Schema({"type": "string", "enum": ["spam", "ham"]})
ORDER = Schema(
    {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "price": {"type": "number"},
            "count": {"type": "integer"},
            "gift": {"type": "boolean"},
            "tags": {"type": "array"},
        },
        "required": ["title"],
    }
)


def read(
    path: Path, content: str | bytes, reader: RowReader | None = None
) -> tuple[list[tuple[Any, Any]], list[str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reader = reader or RowReader(TEXT, LABEL)
    rows = [(row.input, row.output) for row in reader.read(path, path.name)]
    return rows, [str(fault) for fault in reader.faults()]


def test_jsonl_rows_are_input_and_output(tmp_path: Path) -> None:
    rows, faults = read(
        tmp_path / "a.jsonl",
        '{"input": {"text": "a"}, "output": "spam"}\n\n{"input": {"text": "b"}, "output": "ham"}',
    )
    assert rows == [({"text": "a"}, "spam"), ({"text": "b"}, "ham")]
    assert faults == []


def test_a_json_array_of_rows(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.json", '[{"input": {"text": "a"}, "output": "spam"}]')
    assert rows == [({"text": "a"}, "spam")]


def test_a_csv_has_its_output_in_the_column_of_that_name(tmp_path: Path) -> None:
    reader = RowReader(ORDER, LABEL)
    rows, faults = read(
        tmp_path / "a.csv",
        'title,price,count,gift,tags,output\nLamp,9.5,2,TRUE,"[1, ""x""]",spam\nCup,,,,,ham\n',
        reader,
    )
    assert faults == []
    assert rows == [
        ({"title": "Lamp", "price": 9.5, "count": 2, "gift": True, "tags": [1, "x"]}, "spam"),
        ({"title": "Cup"}, "ham"),
    ]


def test_columns_are_mapped(tmp_path: Path) -> None:
    for mapping in ({"text": "body"}, "body"):
        rows, _ = read(tmp_path / "a.csv", "body,label\nhello,ham\n", RowReader(TEXT, LABEL, mapping, "label"))
        assert rows == [({"text": "hello"}, "ham")]
    rows, _ = read(
        tmp_path / "a.jsonl", '{"body": "hi", "label": "ham"}', RowReader(TEXT, LABEL, {"text": "body"}, "label")
    )
    assert rows == [({"text": "hi"}, "ham")]
    bare = Schema({"type": "string"})
    rows, _ = read(tmp_path / "a.csv", "body,output\nhello,ham\n", RowReader(bare, LABEL))
    assert rows == [("hello", "ham")]


def test_one_column_is_the_whole_input(tmp_path: Path) -> None:
    number = Schema({"type": "integer"})
    assert read(tmp_path / "a.csv", "n,output\n5,ham\n", RowReader(number, LABEL))[0] == [(5, "ham")]
    assert read(tmp_path / "a.csv", "n,x,output\n5,y,ham\n", RowReader(number, LABEL, "n"))[0] == [(5, "ham")]
    packed = 'order,output\n"{""title"": ""Cup""}",ham\n'
    assert read(tmp_path / "a.csv", packed, RowReader(ORDER, LABEL, "order"))[0] == [({"title": "Cup"}, "ham")]
    rows = '{"body": "hi", "output": "ham"}\n{"body": {"text": "ho"}, "output": "ham"}'
    assert read(tmp_path / "a.jsonl", rows, RowReader(TEXT, LABEL, "body"))[0] == [
        ({"text": "hi"}, "ham"),
        ({"text": "ho"}, "ham"),
    ]
    with pytest.raises(SpecError, match="name the one column under `input`"):
        read(tmp_path / "a.csv", "n,x,output\n5,y,ham\n", RowReader(number, LABEL))


def test_an_optional_property_may_be_absent_from_a_row(tmp_path: Path) -> None:
    mapping = {"title": "t", "price": "p"}
    rows, faults = read(
        tmp_path / "a.jsonl",
        '{"t": "Cup", "output": "ham"}\n{"p": 3, "output": "ham"}',
        RowReader(ORDER, LABEL, mapping),
    )
    assert rows == [({"title": "Cup"}, "ham")]
    assert faults == ["a.jsonl:2: no key 't' in the row; it has 'p', 'output'"]


def test_cells_are_coerced_through_references(tmp_path: Path) -> None:
    schema = Schema(
        {
            "type": "object",
            "properties": {"n": {"$ref": "#/$defs/n"}},
            "$defs": {"n": {"type": ["integer", "null"]}},
        }
    )
    rows, _ = read(tmp_path / "a.csv", "n,output\n7,ham\n,ham\n", RowReader(schema, LABEL))
    assert rows == [({"n": 7}, "ham"), ({"n": None}, "ham")]


def test_columns_that_the_schema_does_not_name_are_taken_in_with_a_warning(tmp_path: Path) -> None:
    reader = RowReader(TEXT, LABEL)
    rows, _ = read(tmp_path / "a.csv", "id,text,output\n1,x,ham\n", reader)
    assert rows == [({"id": "1", "text": "x"}, "ham")]
    assert [str(w) for w in reader.warnings()] == [
        "a.csv:1: columns that input_schema does not name are taken in: 'id'"
    ]


def test_a_column_twice_matters_only_where_it_is_used(tmp_path: Path) -> None:
    reader = RowReader(TEXT, LABEL, {"text": "text"})
    assert read(tmp_path / "a.csv", "text,x,x,output\na,1,2,ham\n", reader)[0] == [({"text": "a"}, "ham")]


@pytest.mark.parametrize(("mark", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_separator_is_named(tmp_path: Path, mark: str, word: str) -> None:
    with pytest.raises(SpecError, match=f"separated by {word}"):
        read(tmp_path / "a.csv", f"text{mark}output\na{mark}ham\n")


def test_rows_of_an_array_are_named_by_line_and_path(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"input": {"text": "a"}, "output": "spam"},\n {"input": {"text": 1}, "output": "ham"}, 5]')
    reader = RowReader(TEXT, LABEL)
    assert [row.where for row in reader.read(path, "a.json")] == ["a.json:1: $[0]"]
    assert [str(fault) for fault in reader.faults()] == [
        'a.json:2: $[1].input.text: 1 is not of type "string"; quote it: "1"',
        'a.json:2: $[2]: a row is an object such as {"input": …, "output": …}',
    ]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    import os

    (tmp_path / "d.csv").mkdir()
    with pytest.raises(SpecError, match="is a directory"):
        list(RowReader(TEXT, LABEL).read(tmp_path / "d.csv", "d.csv"))
    with pytest.raises(SpecError, match="`encoding` is for CSV files"):
        read(tmp_path / "a.jsonl", "", RowReader(TEXT, LABEL, encoding="latin-1"))
    (tmp_path / "zero.csv").symlink_to(os.devnull)
    with pytest.raises(SpecError, match="is not a regular file"):
        list(RowReader(TEXT, LABEL).read(tmp_path / "zero.csv", "zero.csv"))


def test_an_input_called_input_is_no_envelope(tmp_path: Path) -> None:
    schema = Schema({"type": "object", "properties": {"input": {"type": "string"}}})
    assert read(tmp_path / "a.jsonl", '{"input": "x"}', RowReader(schema, None))[0] == [({"input": "x"}, None)]


def test_unlabelled_csv_rows_leave_an_output_column_out(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "text,output\na,ham\n", RowReader(TEXT, None))[0] == [({"text": "a"}, None)]


def test_unlabelled_rows_are_bare_inputs_or_envelopes(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.jsonl", '{"text": "a"}\n{"input": {"text": "b"}}', RowReader(TEXT, None))
    assert rows == [({"text": "a"}, None), ({"text": "b"}, None)]


@pytest.mark.parametrize(
    "text", ["emoji 😀", "nul \x00", "a\u2028b\u0085c", "x" * 50_000, 'quote " comma , \n line']
)
def test_odd_texts_come_through_every_format(tmp_path: Path, text: str) -> None:
    import csv

    row = {"input": {"text": text}, "output": "spam"}
    assert read(tmp_path / "a.jsonl", json.dumps(row, ensure_ascii=False))[0] == [({"text": text}, "spam")]
    with (tmp_path / "b.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "output"], [text, "spam"]])
    assert read(tmp_path / "c.csv", (tmp_path / "b.csv").read_bytes())[0] == [({"text": text}, "spam")]


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", b"\xef\xbb\xbftext,output\na,spam\n")[0] == [({"text": "a"}, "spam")]


def test_latin_1_is_named_and_accepted_when_said(tmp_path: Path) -> None:
    content = "text,output\nfine,ham\ngrüße,ham\n".encode("latin-1")
    _, faults = read(tmp_path / "a.csv", content)
    assert faults == ["a.csv:3: not UTF-8 (byte 0xfc); if the file is Latin-1, set `encoding: latin-1`"]
    rows, faults = read(tmp_path / "a.csv", content, RowReader(TEXT, LABEL, encoding="latin-1"))
    assert (rows[1], faults) == (({"text": "grüße"}, "ham"), [])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "body,label\nx,ham\n", "no column 'output'; there are 'body', 'label'"),
        ("a.csv", "text,text,output\n", "named twice"),
        ("a.txt", "", "is not CSV, JSONL or JSON"),
    ],
)
def test_a_file_that_cannot_be_examples_is_refused(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read(tmp_path / name, content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text,output\na,nope\n", 'a.csv:2: $.output: "nope" is not one of "spam" or "ham"'),
        ("a.csv", "text,output\na\n", "a.csv:2: 1 cells, where the first line names 2"),
        ("a.jsonl", "\n{", "a.jsonl:2: not JSON"),
        ("a.jsonl", '{"input": {"text": 3}, "output": "ham"}', "a.jsonl:1: $.input.text: 3 is not of type"),
        ("a.jsonl", '{"in": 1, "output": "ham"}', "a.jsonl:1: no key 'input' in the row; it has 'in', 'output'"),
        ("a.jsonl", '{"input": {"text": "\\ud800"}, "output": "ham"}', "surrogate"),
        ("a.jsonl", '{"input": {"text": NaN}, "output": "ham"}', "NaN"),
        ("a.jsonl", "3", "a row is an object"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    _, faults = read(tmp_path / name, content)
    assert len(faults) == 1
    assert said in faults[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "a.csv: the file is empty; its first line names the columns"),
        ("a.csv", b'text,output\nx,ham\n"y,ham\n', "a.csv:3: not valid CSV: a quote is opened and never closed"),
        ("a.csv", "text,output\nx,ham\n".encode("utf-16"), "a.csv:1: UTF-16, which is not supported"),
        ("a.json", b"", "a.json: the file is empty"),
        ("a.json", b'{"input": 1}', "a.json: a JSON file of examples is an array of rows"),
        ("a.json", b"[", "a.json: not JSON: the array is never closed"),
        ("a.json", b'[1,\n"a]', "a.json:2: $[1]: not JSON: Unterminated string"),
        ("a.json", b"[1, ]", "a.json:1: $[1]: not JSON"),
        ("a.json", b"[]\n[]", "a.json:2: not JSON: there is more after the array"),
    ],
)
def test_what_ends_the_reading_is_a_fault_like_others(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    _, faults = read(tmp_path / name, content)
    assert faults[-1].startswith(said)


def test_many_faults_are_counted_not_listed(tmp_path: Path) -> None:
    _, faults = read(tmp_path / "a.csv", "text,output\n" + "a,nope\n" * 1230)
    assert len(faults) == 21
    assert faults[-1] == "a.csv: … and 1,210 more faults"


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(RowReader(TEXT, LABEL).read(tmp_path / "no.csv", "no.csv"))


@pytest.mark.parametrize(
    ("cell", "schema", "value"),
    [
        ("7", {"type": "integer"}, 7),
        ("007", {"type": "string"}, "007"),
        ("1e3", {"type": "number"}, 1000.0),
        ("", {"type": ["string", "null"]}, None),
        ("false", {"type": "boolean"}, False),
        ("3", {"enum": [1, 3]}, 3),
        ("x", {"type": ["integer", "string"]}, "x"),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
    ],
)
def test_cells_become_what_the_schema_asks_for(cell: str, schema: dict[str, Any], value: object) -> None:
    assert converter(schema, "c")(cell) == value


@pytest.mark.parametrize("cell", ["x", "1.5", "", "9" * 5000])
def test_a_cell_that_is_no_integer_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match="is not integer"):
        converter({"type": "integer"}, "c")(cell)

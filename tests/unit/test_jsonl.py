"""JSON and JSON Lines: strict in, readable out, lines whole on disk."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, StorageError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    for text in (jsonl.dumps(value), jsonl.compact(value), jsonl.canonical(value), json.dumps(value)):
        assert jsonl.equal(jsonl.loads(text), value)
        assert "\n" not in (text if isinstance(text, str) else text.decode())


@given(st.lists(VALUES, max_size=6))
def test_records_are_lines_whatever_they_hold(values: list[Any]) -> None:
    file = io.BytesIO(b"".join(jsonl.compact(value) + b"\n" for value in values))
    found = list(jsonl.lines(file))
    assert [jsonl.loads(line.raw) for line in found] == values
    assert [line.number for line in found] == list(range(1, len(values) + 1))


@given(VALUES, VALUES)
def test_equality_is_that_of_json(a: Any, b: Any) -> None:
    assert jsonl.equal(a, a)
    assert jsonl.equal(a, b) == jsonl.equal(b, a)
    assert jsonl.equal(a, b) == (jsonl.canonical(a) == jsonl.canonical(b))


def _respelt(value: Any) -> Any:
    """The same JSON value, its numbers as the other type where that is exact, its keys in another order."""
    if isinstance(value, dict):
        return {key: _respelt(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [_respelt(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and abs(value) < 2**1000
        and int(float(value)) == value
    ):
        return float(value)
    return value


@given(VALUES | st.lists(st.sampled_from([0, 1, 2**53, 10**16, 10**22]) | st.floats(-1e300, 1e300).map(round)))
def test_equal_values_have_the_same_canonical_bytes(value: Any) -> None:
    other = _respelt(value)
    assert jsonl.equal(value, other)
    assert jsonl.canonical(value) == jsonl.canonical(other)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (-3.0, "-3"),
        (1e16, "10000000000000000"),
        (1.5e300, str(int(1.5e300))),
        (2**53 + 1, "9007199254740993"),
        (10**400, str(10**400)),
        (0.1, "0.1"),
        (-2.5e-7, "-2.5e-07"),
        (True, "true"),
        ({"1.0": "2.0, 1e+16 \\"}, '{"1.0":"2.0, 1e+16 \\\\"}'),
        ([1.0, '"1.0', 1.0], '[1,"\\"1.0",1]'),
    ],
)
def test_whole_numbers_are_digits_alone_in_canonical_json(value: Any, text: str) -> None:
    assert jsonl.canonical(value).decode() == text


def test_numbers_are_equal_by_value_and_are_no_truth_values() -> None:
    assert jsonl.equal({"a": [1]}, {"a": [1.0]})
    assert not jsonl.equal(1, True)
    assert not jsonl.equal([0], [False])
    assert not jsonl.equal({"a": 1}, {"a": 1, "b": 2})
    assert not jsonl.equal("1", 1)


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert jsonl.canonical({"b": 1, "a": {"d": 2, "c": 3}}) == b'{"a":{"c":3,"d":2},"b":1}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"a": 1,}', "not JSON"),
        ("1 2", "not JSON: Extra data at character 3"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("1e999", "the number 1e999 is too large"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('"\\ud800"', "lone surrogate"),
        ('{"\\udfff": 1}', "lone surrogate"),
        ("9" * 5000, "an integer of more than 4300 digits"),
        ("[" * 100_000, "nested too deeply"),
        (b'"\xff"', "not UTF-8 at byte 2"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
    ],
)
def test_what_is_not_json_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        jsonl.loads(text, "line 3")
    assert said in str(caught.value)
    assert caught.value.where == "line 3"


def test_pairs_of_surrogates_are_characters() -> None:
    assert jsonl.loads('"\\ud83d\\ude00 \\u0000"') == "😀 \0"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_hold_is_not_written(value: object) -> None:
    with pytest.raises(ValueError):
        jsonl.compact(value)


def test_lines_end_at_newlines_alone_and_blank_ones_are_passed_over() -> None:
    text = '\ufeff"a\u2028b\x85c"\r\n\n  \n"\\u000b\x0b"\n3'
    file = io.BytesIO(text.encode())
    assert [(line.number, line.raw.decode()) for line in jsonl.lines(file)] == [
        (1, '"a\u2028b\x85c"'),
        (4, '"\\u000b\x0b"'),
        (5, "3"),
    ]


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1024 * 1024)
    file = io.BytesIO(b"1\n" + b"x" * 2_000_000)
    with pytest.raises(InputError, match="line 2: a line of more than 1 MiB"):
        list(jsonl.lines(file))


def test_records_are_appended_privately(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    jsonl.append(path, [b"1", b"2"])
    jsonl.append(path, [])
    jsonl.append(path, [b"3"])
    assert path.read_bytes() == b"1\n2\n3\n"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [b'{"a": ', b'{"a": "' + b"x" * 200_000])
def test_what_a_crash_tore_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"1\n" + torn)
    jsonl.append(path, [b"2"])
    assert path.read_bytes() == b"1\n2\n"


def test_a_whole_last_line_without_its_newline_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'1\n{"a": 1}')
    jsonl.append(path, [b"2"])
    assert path.read_bytes() == b'1\n{"a": 1}\n2\n'


def test_a_partial_write_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    jsonl.append(path, [b"1"])
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, block: real(descriptor, block[:3]))
    with pytest.raises(StorageError, match="disk is full"):
        jsonl.append(path, [b"22222222"])
    assert path.read_bytes() == b"1\n"


def test_a_full_device_is_a_storage_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(StorageError, match="disk is full"):
        jsonl.append(Path("/dev/full"), [b"1"])


def _append_many(path: Path, name: str) -> None:
    for n in range(200):
        jsonl.append(path, [jsonl.compact({"name": name, "n": n, "fill": name * 500})] * 2)


def test_processes_that_append_at_once_keep_each_others_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with path.open("rb") as file:
        records = [jsonl.loads(line.raw) for line in jsonl.lines(file)]
    assert len(records) == 800
    for name in "ab":
        assert [record["n"] for record in records if record["name"] == name] == sorted([*range(200)] * 2)

"""YAML as people write it: core types, lines, limits, and what is said of faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bars import within

from loopai_runtime import yamldoc
from loopai_runtime.errors import ConfigError, DocumentError
from loopai_runtime.yamldoc import child, parse

# Texts that YAML may hold as they are; others have to be escaped.
PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    # A key is at most 1,024 characters long as it is written: that is YAML's own limit.
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE.map(lambda t: t[:80]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def fault(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        parse(text, "f.yaml")
    return str(caught.value.faults[0])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("010", "010"),
        ("1e3x", "1e3x"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("42", 42),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ('"42"', "42"),
        ("<<", "<<"),
    ],
)
def test_plain_scalars_have_the_core_types_of_yaml_1_2(written: str, value: object) -> None:
    found = parse(f"a: {written}", "f").data["a"]
    assert found == value
    assert type(found) is type(value)


@given(VALUES)
def test_every_json_document_is_read_as_json_reads_it(value: Any) -> None:
    assert parse(json.dumps({"value": value}), "f").data == {"value": value}


@given(st.lists(PRINTABLE.filter(lambda t: not any(c in t for c in "'\n\r\t")), max_size=5))
def test_texts_that_are_written_as_they_are_come_out_as_they_are(texts: list[str]) -> None:
    written = "\n".join("- '" + text + "'" for text in texts)
    assert (parse(written, "f").data or []) == texts


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "\u2029", "😀\u2028\x85", "x\u2028" * 500])
def test_a_line_ends_only_where_yaml_1_2_ends_it(text: str) -> None:
    document = parse(f'a: "{text}"\nb: {text}\nc: |\n  {text}\nd: 1', "f")
    assert document.data == {"a": text, "b": text, "c": text + "\n", "d": 1}
    assert document.line("$.d") == 5


def test_a_text_that_has_the_stand_in_for_a_line_break_keeps_it() -> None:
    assert parse('a: "\ue000\\ue001\u2028"', "f").data == {"a": "\ue000\ue001\u2028"}


def test_escaped_pairs_are_one_character_and_plain_text_stays_plain() -> None:
    assert parse('a: "\\ud83d\\ude00"', "f").data == {"a": "😀"}
    assert parse("a: '\\ud83d\\ude00'", "f").data == {"a": "\\ud83d\\ude00"}
    assert parse(json.dumps(["\\ud83d\\ude00 😀"]), "f").data == ["\\ud83d\\ude00 😀"]


def test_escapes_bring_in_what_yaml_cannot_hold() -> None:
    assert parse('a: "\\0 \\x07 \\u2028"', "f").data == {"a": "\0 \x07 \u2028"}


def test_every_value_has_its_line() -> None:
    document = parse("a: 1\nb:\n  - x\n  - c: 2\n    'odd key': 3\n", "f")
    assert [document.line(p) for p in ("$", "$.a", "$.b[0]", "$.b[1].c", "$.b[1]['odd key']")] == [1, 1, 3, 4, 5]


def test_what_is_not_in_the_file_has_the_line_of_its_nearest_parent() -> None:
    document = parse("a: 1\nb:\n  - x: 1\n", "f")
    assert document.line("$.b[0].missing[3].deep") == 3
    assert document.line("$.c") == 1
    assert parse("", "f").line("$.a") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n\t- b", "f.yaml:2: not valid YAML: a tab in the indentation; YAML indents with spaces"),
        ("a: 1\n\tb: 2", "f.yaml:2: not valid YAML: a tab"),
        ("a: b: c", "f.yaml:1: not valid YAML: mapping values are not allowed"),
        ("a: [1", "not valid YAML"),
        ("a: *x", "f.yaml:1: not valid YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "f.yaml:2: not valid YAML: but found another document"),
        ("a: 1\na: 2", "f.yaml:2: $.a: this key is given twice"),
        (
            "a: !!python/object:os.system x",
            "f.yaml:1: $.a: the tag !python/object:os.system is not supported here",
        ),
        ("a: !custom x", "the tag !custom is not supported"),
        ("? [a]\n: b", "a key must be a plain text"),
        ("a: .nan", "f.yaml:1: $.a: .nan is not a JSON number"),
        ("a: -.INF", "f.yaml:1: $.a: -.INF is not a JSON number"),
        ("a: 1e999", "is not a JSON number"),
        ("a: " + "9" * 5000, "not a number this program can hold"),
        ("x: 1\na: \0", "f.yaml:2: character U+0000 is not allowed in YAML"),
        ('a: "\\ud800"', "f.yaml:1: not valid YAML: an escape that is no character (a lone surrogate"),
        ("a: &a [*a]", "nested deeper than 64"),
        ("[" * 65 + "]" * 65, "f.yaml:1: not valid YAML: nested deeper than 64"),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, said: str) -> None:
    assert said in fault(text)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[{? "])
def test_nesting_without_end_does_not_end_the_process(opening: str) -> None:
    assert "nested deeper than 64" in fault(opening * 100_000)


def test_nesting_within_reason_is_read() -> None:
    assert parse("[" * 60 + "]" * 60, "f").data


def test_an_alias_bomb_is_an_error_and_not_an_outage() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for name, before in zip("bcdefghijk", "abcdefghij", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    with within(10):
        assert "aliases expand to too much" in fault("\n".join(lines))


def test_aliases_within_reason_are_expanded() -> None:
    assert parse("a: &a {x: 1}\nb: *a", "f").data == {"a": {"x": 1}, "b": {"x": 1}}


def test_files_are_utf_8_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: gr\xc3\xbc\xc3\x9fe")
    assert yamldoc.read(path).data == {"a": "grüße"}
    path.write_bytes(b"x: 1\na: gr\xfc\xdfe")
    with pytest.raises(ConfigError, match=r"f\.yaml:2: not UTF-8 \(byte 0xfc\)"):
        yamldoc.read(path, ConfigError)


def test_a_file_too_large_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamldoc, "MAX_BYTES", 1024 * 1024)
    path = tmp_path / "f.yaml"
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(DocumentError, match="larger than 1 MiB"):
        yamldoc.read(path)


@pytest.mark.parametrize(
    ("key", "path"),
    [("a", "$.a"), ("a-b_1", "$.a-b_1"), (3, "$[3]"), ("a b", "$['a b']"), ("it's", "$['it\\'s']"), ("", "$['']")],
)
def test_paths_name_members(key: str | int, path: str) -> None:
    assert child("$", key) == path

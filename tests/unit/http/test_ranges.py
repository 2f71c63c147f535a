"""Which part of a body a request asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopai_runtime.http import ranges

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-", (0, 100)), ("bytes=0-0", (0, 1)), ("bytes=99-", (99, 100)), ("bytes=50-1000", (50, 100)),
        ("bytes=-1", (99, 100)), ("bytes=-1000", (0, 100)), ("bytes= 1-2 ", (1, 3)),
        ("", None), ("bytes=", None), ("bytes=-", None), ("bytes=9-1", None), ("bytes=1-2,3-4", None),
        ("lines=1-2", None), ("bytes=1", None), ("bytes=٣-٤", None), ("bytes=" + "9" * 16 + "-", None),
    ],
)  # fmt: skip
def test_one_range_is_a_part_and_all_else_the_whole(header: str, part: tuple[int, int] | None) -> None:
    assert ranges.asked({"range": header}, 100, ETAG) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_without_a_byte_is_unsatisfiable(header: str) -> None:
    with pytest.raises(ranges.Unsatisfiable):
        ranges.asked({"range": header}, 100, ETAG)


def test_a_part_of_another_body_is_not_given() -> None:
    for other in ('"other"', 'W/"abc"', "Sat, 29 Oct 1994 19:43:31 GMT"):
        assert ranges.asked({"range": "bytes=1-2", "if-range": other}, 100, ETAG) is None
    assert ranges.asked({"range": "bytes=1-2", "if-range": ETAG}, 100, ETAG) == (1, 3)


@given(st.text(), st.integers(0, 50))
def test_no_header_breaks_it_and_a_part_lies_inside(header: str, size: int) -> None:
    try:
        part = ranges.asked({"range": header}, size, ETAG)
    except ranges.Unsatisfiable:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


def test_a_list_of_etags_matches_weakly() -> None:
    assert ranges.matches('"x", W/"abc"', ETAG)
    assert ranges.matches("*", ETAG)
    assert not ranges.matches('"x"', ETAG)
    assert not ranges.matches(None, ETAG)

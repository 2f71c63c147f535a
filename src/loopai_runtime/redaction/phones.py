"""Telephone numbers: E.164, and the ways in which countries group their own.

No check digit tells a telephone number. Three things do: its signs (a plus, an area code in brackets, an
extension), how its digits are grouped, and, where that leaves a doubt, the words around it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopai_runtime.redaction.context import Surroundings

FEWEST, MOST = 7, 15
_FEWEST_ABROAD, _TWO_YEARS = 8, 8

_EXTENDS = frozenset("xXeE#D ")
_JOINTS_BEFORE, _JOINTS_AFTER = frozenset("-/\\.:,"), frozenset("-_/:")
_EXTENSION = re.compile(
    r" {0,2}(?:[xX]|ext\.?|Ext\.?|EXT\.?|extension|#|Durchwahl) {0,2}[0-9]{1,6}(?![A-Za-z0-9])"
)
_SHAPE, _DIGITS = str.maketrans("123456789", "999999999"), str.maketrans("012345678", "999999999")
_GROUPS = re.compile("[09]+")
_BRACKETED = re.compile(r"[0-9 ]{0,4}\([0-9]{1,5}\)")
_YEARS = re.compile(r"(?:1[0-9]|20)[0-9]{2}[- ](?:1[0-9]|20)[0-9]{2}")
_DECIMAL = re.compile(r"(?:^|[^0-9\-])[0-9]{1,5},$")


def extension(text: str, end: int) -> int:
    """Where the extension of a number that ends at `end` ends; the same where it has none."""
    first = text[end : end + 1]
    if first == " ":
        first = text[end + 1 : end + 2]
    match = _EXTENSION.match(text, end) if first in _EXTENDS else None
    return match.end() if match else end


def is_phone(text: str, start: int, end: int, written: str, digits: str, around: Surroundings) -> bool:
    """Whether `text[start:end]`, which has no extension, is a telephone number.

    `written` and `digits` are it in ASCII, and its digits alone.
    """
    n = len(digits)
    if written[0] == "+" or written[:2] == "(+":
        return n >= _FEWEST_ABROAD and written.count("(") == written.count(")")
    if "(" in written or ")" in written:
        return _BRACKETED.match(written) is not None and written.count("(") == written.count(")")
    alone = n == len(written)
    if _is_part(text, start, end, alone):
        return False
    least = _bare(digits) if alone else _grouped(written[:2].translate(_SHAPE) + written[2:].translate(_DIGITS))
    if least is None or (n == _TWO_YEARS and _YEARS.fullmatch(written)):
        return False
    said = around.leaning(start, end)
    return said >= 0 and least + said >= 1


def _is_part(text: str, start: int, end: int, alone: bool) -> bool:
    """Whether a number is a part of something longer: an identifier, a path, a time, a decimal."""
    joint = text[start - 1 : start]
    if joint in _JOINTS_BEFORE and start > 1 and text[start - 2].isalnum():
        if joint in "-/\\" or (joint in ".:" and text[start - 2].isdigit()):
            return True
        if joint == "," and alone and _DECIMAL.search(text, max(0, start - 7), start):
            return True
    joint, after = text[end : end + 1], text[end + 1 : end + 2]
    return (joint in _JOINTS_AFTER and after.isalnum()) or (joint == "." and after.islower())


def _bare(digits: str) -> int | None:
    """1: looks like a telephone number by itself; 0: needs a word for it; None: is none. Digits alone."""
    n, first = len(digits), digits[0]
    if first == "0":
        return int(10 <= n <= 14 if digits[1] == "0" else 8 <= n <= 12)
    if n > 13:
        return None
    # Ten digits that start with 1 are seconds since 1970.
    return int(n == 11 or (8 <= n <= 10 and first != "1"))


@lru_cache(4096)
def _grouped(shape: str) -> int | None:
    """The same of groups of digits, of which only zeros at the start are still told from the rest."""
    sizes = [len(group) for group in _GROUPS.findall(shape)]
    separators = set(shape) - {"0", "9"}
    n, trunk = sum(sizes), shape.lstrip("(")[0] == "0"
    if (
        "+" in separators
        or sizes[-1] == 1
        or n < 2 * len(sizes)
        or max(sizes) > (9 if trunk else 8)
        or len(sizes) > 7
    ):
        return None  # an ISBN, a row of a table
    if separators == {"."} and (len(sizes) == 2 or (not trunk and _thousands(sizes))):
        return None  # a decimal, a sum
    if sizes in ([3, 2, 4], [5, 4], [1, 3, 3]) or (separators == {"/"} and (len(sizes) > 2 or not trunk)):
        return 0 if sizes != [3, 2, 4] else None  # a social security number that is none, a ZIP code, a ratio
    if separators <= {" ", "."} and _thousands(sizes) and not trunk:
        return int(sizes == [3, 3, 3] and separators == {" "})
    if n > 12:
        return int(trunk and (n == 13 or shape[1] == "0"))
    if n == 7:
        return int(sizes[0] in (2, 3) and not trunk and separators <= {"-", " "})
    return int(sizes != [2, 7] or trunk)


def _thousands(sizes: list[int]) -> bool:
    return sizes[0] <= 3 and all(size == 3 for size in sizes[1:])

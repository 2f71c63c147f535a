"""Numbers that stand for people: a run of digits and what may part them is one of these, or several, or none.

A card has a check digit, a social security number a form and ranges, a telephone number neither (see `phones`), so
they are tried in this order; a date or time of day is stepped over.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from loopai_runtime.redaction import phones
from loopai_runtime.redaction.banking import is_card
from loopai_runtime.redaction.context import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SPACES = " \u00a0\u2009\u202f"
_HYPHENS = "\u2010\u2011\u2012\u2013"
_RUN = re.compile(rf"[+(\d](?<![A-Za-z0-9_].)(?:[{_SPACES}{_HYPHENS}.\-/()+]{{0,3}}\d){{6,}}")
# What stands for itself in a run that is not one number: grouped cards, numbers with a plus or an area code in
# brackets, and whatever has no space in it.
_PIECE = re.compile(
    r"(?<![0-9])(?:[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?![ -]?[0-9]{4})"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}(?![0-9])"
    r"|[0-9]{3} [0-9]{2} [0-9]{4}(?![0-9])"
    r"|\+[0-9]{1,3}(?:[ .\-]?\(?[0-9]{1,5}\)?){2,5}|\([0-9]{2,5}\)[ \-]?[0-9]{3,4}[\-. ]?[0-9]{3,4}"
    r"|[+(]?[0-9](?:[.\-/()]{0,2}[0-9]){6,})"
)
_NO_DIGITS = str.maketrans("", "", " .-/()+")
_DATE = re.compile(
    r"(?:(?:19|20)[0-9]{2}(\. |[-/. ])(?:1[0-2]|0?[1-9])\1(?:3[01]|[12][0-9]|0?[1-9])"
    r"|(?:3[01]|[12][0-9]|0?[1-9])(\. |[-/. ])(?:3[01]|[12][0-9]|0?[1-9])\2(?:19|20)[0-9]{2}"
    r"|(?:19|20)[0-9]{2}(?:1[0-2]|0[1-9])(?:3[01]|[12][0-9]|0[1-9])(?:[0-9]{4}|[0-9]{6})?)(?![0-9])"
)
_SSN = re.compile(r"(?!000|666|9)[0-9]{3}([- ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}")
_PLAIN_SSN = re.compile(r"(?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)[0-9]{4}")
_SSN_DIGITS, _SHORTEST_CARD, _LONGEST_CARD = 9, 12, 19
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_is_word = _WORD.__contains__
_SSN_NAME = re.compile(r"(?:ssn|social security|social)(?: number| no\.?)?(?: is)?[\s:#=\"']{0,4}$", re.IGNORECASE)


def search(text: str, is_free: Callable[[int, int], bool]) -> Iterator[tuple[str, int, int]]:
    """The cards, social security and telephone numbers of a text, where it is free of other findings."""
    around = Surroundings(text)
    for match in _RUN.finditer(text):
        run = match[0]
        start, end = match.span()
        if not run.isascii():
            run = run.translate(_PLAIN)
        free = is_free(start, end)
        found = _one(text, start, end, run, around) if free else None
        if found:
            yield found
        elif not free or " " in run or "+" in run[1:]:
            for piece in _PIECE.finditer(run):
                first, last = start + piece.start(), start + piece.end()
                if last - first < end - start and is_free(first, last):
                    found = _one(text, first, last, piece[0], around)
                    if found:
                        yield found


class _Plain(dict[int, str]):
    """Any digit and separator as that of ASCII, learned when it is first met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        plain = "-" if character in _HYPHENS else str(unicodedata.decimal(character, character))
        self[code] = " " if character in _SPACES else plain
        return self[code]


_PLAIN = _Plain()


def _one(text: str, start: int, end: int, run: str, around: Surroundings) -> tuple[str, int, int] | None:
    """The number that a run is, or that follows the date it starts with."""
    if run[0] == "(" and run.count("(") > run.count(")"):
        run = run[1:].lstrip(" -/.")  # the bracket is the sentence's
        start = end - len(run)
    date = _DATE.match(run) if run[0] in "0123" else None
    if date:
        rest = run[date.end() :].lstrip(" -/.")
        start, run = end - len(rest), rest
    digits = run.translate(_NO_DIGITS)
    n = len(digits)
    if not phones.FEWEST <= n <= _LONGEST_CARD:
        return None
    after = text[end : end + 1]
    if (
        n >= _SHORTEST_CARD
        and is_card(run, digits)
        and not _is_word(after)
        and text[max(0, start - 2) : start] != "_-"
    ):
        return "CARD", start, end
    if n == _SSN_DIGITS and _is_ssn(text, start, end, run):
        return "SSN", start, end
    if n > phones.MOST:
        return None
    whole = phones.extension(text, end)
    if whole > end or (not _is_word(after) and phones.is_phone(text, start, end, run, digits, around)):
        return "PHONE", start, whole
    return None


def _is_ssn(text: str, start: int, end: int, run: str) -> bool:
    after = text[end : end + 2]
    if _is_word(after[:1]) or (len(after) == 2 and after[0] == "-" and after[1].isalnum()):
        return False
    if _SSN.fullmatch(run):
        return text[max(0, start - 1) : start] != "-"
    named = _PLAIN_SSN.fullmatch(run) and _SSN_NAME.search(text, max(0, start - 32), start)
    return bool(named)

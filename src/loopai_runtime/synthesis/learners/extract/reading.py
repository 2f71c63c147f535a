"""What extraction programs are made of: these functions run in training, and their source is put into programs.

They must therefore run on Python 3.9, use the standard library alone, and pass the sandbox policy.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_NUMBER_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty
"""
NUMBER_WORDS = _NUMBER_WORDS.split()


def text_at(value: Any, path: tuple[str, ...]) -> str:
    """One text of the input; numbers as they are written, nothing as an empty text.

    Of space that is longer than any text needs only the beginning is kept: patterns would try all of it from each
    of its characters.
    """
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, (list, tuple)):
        value = "\n".join([item for item in value if isinstance(item, str)])
    text = (
        value if isinstance(value, str) else "" if value is None or isinstance(value, (bool, dict)) else str(value)
    )
    return text if len(text) < 2000 else re.sub(r"(\s{50})\s+", r"\1", text)


def made(change: Any, found: Any, *arguments: Any) -> Any:
    """What a change makes of what was found, if anything was."""
    return None if found is None else change(found, *arguments)


def unchanged(text: str) -> Any:
    """The text as it stands."""
    return text


def lower(text: str) -> Any:
    """In small letters."""
    return text.lower()


def upper(text: str) -> Any:
    """In capitals."""
    return text.upper()


def capitalised(text: str) -> Any:
    """Each word with a capital."""
    return " ".join([word[:1].upper() + word[1:].lower() for word in text.split(" ")])


def one_spaced(text: str) -> Any:
    """With single spaces."""
    return " ".join(text.split())


def digits(text: str) -> Any:
    """The digits alone, and a plus sign at the start."""
    return ("+" if text.startswith("+") else "") + re.sub(r"\D", "", text)


def plain_number(text: str) -> Any:
    """A number with a decimal point and no thousands separators: 1,234.50 and 1.234,50 are 1234.50."""
    found = re.search(r"[-−]?\d[\d.,'  ]*", text)
    if found is None:
        return None
    number = re.sub(r"['  ]", "", found[0]).replace("−", "-").rstrip(".,")
    comma, point = number.rfind(","), number.rfind(".")
    if comma >= 0 and point >= 0:
        number = number.replace("," if point > comma else ".", "")
    elif number.count(",") > 1 or number.count(".") > 1 or re.search(r",\d{3}$", number):
        number = re.sub(r"[.,](?=\d{3})", "", number)
    number = number.replace(",", ".")
    return number if len(number) < 300 and re.fullmatch(r"-?\d+(\.\d+)?", number) else None


def whole_number(text: str) -> Any:
    """An integer, in digits or in words up to twenty."""
    if text.lower() in NUMBER_WORDS:
        return NUMBER_WORDS.index(text.lower())
    number = plain_number(text)
    return None if number is None else int(number.partition(".")[0])


def decimal_number(text: str) -> Any:
    """A number."""
    number = plain_number(text)
    return float(number) if number is not None else None


def truth(text: str) -> Any:
    """True or false."""
    return text.lower() in ("true", "yes", "y", "on", "1")


def date_as(text: str, written: str, day_first: bool) -> Any:
    """A date, written another way; None where it is no date."""
    numbers = [int(part) for part in re.findall(r"\d+", text)][:3]
    name = re.search(
        r"[A-Za-z]{3,}", re.sub(r"(?i)\b(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?\b", "", text)
    )
    named = [at for at, month in enumerate(MONTHS, 1) if name and name[0].lower().startswith(month)]
    if named and len(numbers) >= 2:
        day, year = numbers[:2] if numbers[0] < 32 else (numbers[1], numbers[0])
        month = named[0]
    elif len(numbers) < 3:
        return None
    elif numbers[0] > 31:
        year, month, day = numbers
    else:
        day, month, year = numbers if day_first else (numbers[1], numbers[0], numbers[2])
    year += 2000 if year < 70 else 1900 if year < 100 else 0
    try:
        parsed = datetime.date(year, month, day)
    except ValueError:
        return None
    pieces = {"%-d": str(parsed.day), "%-m": str(parsed.month)}
    for short, piece in pieces.items():
        written = written.replace(short, piece)
    return parsed.strftime(written)


def nth(pattern: Any, text: str, place: int) -> Any:
    """What a pattern's group found for the nth time (from the end if negative), or None."""
    if place == 0:
        found = pattern.search(text)
        return found.group(1) if found else None
    every = pattern.findall(text)
    return every[place] if -len(every) <= place < len(every) else None


def every(pattern: Any, text: str) -> list[str]:
    """All that a pattern's group found."""
    return list(pattern.findall(text))


def parts_of(pattern: Any, text: str, place: int, cut: str) -> list[str]:
    """The nth find, cut into pieces."""
    found = pattern.findall(text)
    return [part for part in re.split(cut, found[place]) if part] if -len(found) <= place < len(found) else []


def read_format(formats: Any, text: str) -> Any:
    """The groups of the first format that the text has, its certainty, its number; None where it has none."""
    for number, (pattern, certainty) in enumerate(formats, 1):
        found = pattern.fullmatch(text)
        if found:
            return found.groupdict(), certainty, f"place in format {number}"
    return None, 0.0, ""

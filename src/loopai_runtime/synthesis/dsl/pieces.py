"""Pieces of names, phone numbers and addresses, where people write them in more than one way.

Where all values have one form, a word or a field says the same with less; so these are offered only where the
forms differ, or a form has what words do not tell apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.views import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PERSON = re.compile(r"[^\W\d_][\w.'’-]*(?:,? [^\W\d_][\w.'’-]*){1,5}\.?")
_TITLED = re.compile(rf"(?:{library.TITLES})\b|.*,|.*\b(?:{library.SUFFIXES})$", re.IGNORECASE)
_NAMES = {
    "title": "the title of {}",
    "first": "the first name of {}",
    "middle": "the middle names of {}",
    "last": "the family name of {}",
    "suffix": "what follows the name of {}",
}
_PHONES = {
    "country": "the country code of {}",
    "national": "the digits of {} without the country code",
    "area": "the area code of {}",
    "exchange": "the exchange of {}",
    "line": "the line number of {}",
}
_ADDRESSES = {
    "number": "the house number of {}",
    "street": "the street of {}",
    "city": "the city of {}",
    "state": "the state of {}",
    "zip": "the zip code of {}",
}


def pieces(source: str, values: Sequence[str], says: str) -> Iterator[View]:
    """The pieces of a text that is a name, a phone number or an address in every example."""
    if not all(values):
        return
    if all(map(_PERSON.fullmatch, values)) and any(map(_TITLED.match, values)):
        yield from _parts("person", library.person_pieces, _NAMES, source, values, says)
    if len({_form(value) for value in values}) > 1 or any(value.startswith("+") for value in values):
        yield from _parts("phone", library.phone_pieces, _PHONES, source, values, says)
    yield from _parts("address", library.address_pieces, _ADDRESSES, source, values, says)


def _form(value: str) -> str:
    """What of a number is no digit, and how long its runs are."""
    return re.sub(r"\d", "9", value)


def _parts(
    name: str,
    read: Callable[[str], dict[str, str]],
    keys: dict[str, str],
    source: str,
    values: Sequence[str],
    says: str,
) -> Iterator[View]:
    try:
        found = [read(value) for value in values]
    except ValueError:
        return
    for key, named in keys.items():
        column = tuple([one.get(key, "") for one in found])
        if all(column):
            yield View(f'{name}_pieces({source})["{key}"]', column, (name,), named.format(says))

"""Finding personal data in a text: each kind by a sign that is cheap to look for, then by a validator.

Where findings overlap, the kind that is sought first keeps its place: what is a key or an address is no phone
number. No search looks at a character more than a bounded number of times, so a hostile text takes no longer than
others.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.redaction import addresses, banking, context, numbers, secrets

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIGIT, _MAYBE = re.compile(r"\d"), re.compile(r"[\d@:=]|www\.|bearer|basic", re.IGNORECASE)
_START = itemgetter(1)
_SHORT = 80
_PARTS_OF_NAMES = re.compile(r"(?<=[a-z])(?=[A-Z])|[_\-.]+")


class Finding(NamedTuple):
    """What was found, and where: `kind` is e.g. EMAIL; `start` and `end` as in a slice."""

    kind: str
    start: int
    end: int


def find(text: str, name: str = "") -> list[Finding]:
    """All personal data in a text, in order, without overlaps; `name` is that of the field, if it has one."""
    if name and len(text) <= _SHORT:
        head = f"{_PARTS_OF_NAMES.sub(' ', name[:_SHORT])}: "
        return [Finding(kind, max(0, start - len(head)), end - len(head))
                for kind, start, end in find(head + text) if end > len(head)]  # fmt: skip
    found: list[tuple[str, int, int]] = []
    taken = bytearray(len(text))

    def is_free(start: int, end: int) -> bool:
        return not found or taken.find(1, start, end) < 0

    def take(spans: Iterable[tuple[str, int, int]]) -> None:
        for span in spans:
            _, start, end = span
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\1" * (end - start)
                found.append(span)

    take(secrets.search(text))
    take(addresses.urls(text))
    take(addresses.emails(text))
    if _DIGIT.search(text):
        take(banking.ibans(text))
        take(addresses.ips(text))
        take(numbers.search(text, is_free))
    found.sort(key=_START)
    return list(map(Finding._make, found))


def find_in_number(number: float, name: str = "") -> list[Finding]:
    """Personal data in a number outside a text; a telephone number only where the name of its field says so."""
    if isinstance(number, float):
        if not number.is_integer():
            return []
        number = int(number)
    if not 10**6 < number < 10**19:
        return []
    found = find(str(number), name)
    return (
        found
        if context.leaning_of(_PARTS_OF_NAMES.sub(" ", name)) > 0
        else [f for f in found if f.kind != "PHONE"]
    )


def flags(text: str | int) -> bool:
    """Whether there is personal data in a text or a number; cheap for the words that nearly all are."""
    if not isinstance(text, str):
        return bool(find_in_number(text))
    return (len(text) > 16 or _MAYBE.search(text) is not None) and bool(find(text))

"""Finding personal data in a text: each kind by a sign that is cheap to look for, then by a validator.

Where findings overlap, the kind that is sought first keeps its place: what is a key or an address is no phone
number. No search looks at a character more than a bounded number of times, so a hostile text takes no longer than
others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.redaction import numbers, secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+/=?^_`{|}~-")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_][\w-]{0,60}[^\W_]")
_DIGIT, _MAYBE = re.compile(r"\d"), re.compile(r"[\d@:=]|www\.", re.IGNORECASE)
_URL_START = re.compile(
    r"\b(?:https?|ftps?|wss?|sftp|ssh|git|file|s3)://|\bwww\.(?=[^\W_])|\bmailto:", re.IGNORECASE
)
_URL_END = re.compile(r"[\s<>\"'`{}|\\^\x00-\x1f]|$")
_TRAILING = ".,;:!?)]}'\"»”’。，、"


class Finding(NamedTuple):
    """What was found, and where: `kind` is e.g. EMAIL; `start` and `end` as in a slice."""

    kind: str
    start: int
    end: int


def find(text: str) -> list[Finding]:
    """All personal data in a text, in order, without overlaps."""
    taken: list[Finding] = []
    for search in (secrets.search, _urls, _emails, *(numbers.SEARCHES if _DIGIT.search(text) else ())):
        found = [Finding(*one) for one in search(text)]
        if found:
            taken = sorted([*taken, *_apart(found, taken)], key=_start) if taken else found
    return taken


def flags(text: str) -> bool:
    """Whether there is personal data in a text; cheap for the words that nearly all are."""
    return _MAYBE.search(text) is not None and bool(find(text))


def _start(finding: Finding) -> int:
    return finding.start


def _apart(found: list[Finding], taken: list[Finding]) -> Iterator[Finding]:
    """Those of `found` that share no character with one of `taken`; both are in order."""
    at = 0
    for finding in sorted(found, key=_start):
        while at < len(taken) and taken[at].end <= finding.start:
            at += 1
        if at == len(taken) or taken[at].start >= finding.end:
            yield finding


def _urls(text: str) -> Iterator[tuple[str, int, int]]:
    if "://" not in text and "www." not in text.lower() and "mailto:" not in text.lower():
        return
    after = 0
    for start in _URL_START.finditer(text):
        if start.start() < after:
            continue
        end = _URL_END.search(text, start.end())
        after = end.start() if end else len(text)
        after = _without_trailing(text, start.end(), after)
        if after > start.end():
            yield "URL", start.start(), after


def _without_trailing(text: str, start: int, end: int) -> int:
    """Where a URL ends that a sentence goes on after; a bracket that it opened itself belongs to it."""
    while end > start and text[end - 1] in _TRAILING:
        if text[end - 1] == ")" and "(" in text[start : end - 1]:
            break
        end -= 1
    return end


def _emails(text: str) -> Iterator[tuple[str, int, int]]:
    at, after = text.find("@"), 0
    while at >= 0:
        start = at
        if text.find(".", at + 1, at + 66) > 0 and text[at + 1].isalnum():
            while start > after and at - start < 64 and _is_local(text[start - 1]):
                start -= 1
            while start < at and text[start] in ".'`*#/=&?|{}^~$!%":
                start += 1  # an address starts with a letter or digit; the rest is the sentence's
        if start < at and text[at - 1] != "." and (domain := _DOMAIN.match(text, at + 1, at + 255)):
            after = domain.end()
            yield "EMAIL", start, after
        at = text.find("@", at + 1)


def _is_local(character: str) -> bool:
    return character in _LOCAL or (character > "\x7f" and character.isalnum())

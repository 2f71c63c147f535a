"""Addresses on the network: e-mail, URL, IP.

Everything starts from a literal (`@`, `://`, `www.`) that the string search of C finds, and looks a bounded way to
the left and right of it, so time is linear in the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# --- e-mail, RFC 5321 and 6531 without quoted local parts ----------------------------------------------------

MAX_LOCAL, MAX_DOMAIN = 64, 255
_AT = re.compile(r"@(?<=[^\s.@]@)(?=\w[\w-]{0,62}\.\w)")
# Scripts written without spaces, whose words would join an address beside them.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_DOMAIN = re.compile(
    r"(?:\w(?:[\w-]{0,61}\w)?\.)+"
    r"(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24}(?!-?[A-Za-z0-9])"
    rf"|(?:(?![{_SPACELESS}])[^\W\d_A-Za-z]){{2,24}}(?!-?[A-Za-z0-9])|[{_SPACELESS}]{{2,24}})"
)
# Read from right to left.
_LOCAL = re.compile(rf"(?:(?![{_SPACELESS}])[\w.%+\-!#$&'*~])+|\w+")
_NO_START = ".'*!#$&~%+-"
# Names such as logo@2x.png: no top-level domain is called so.
_FILES = frozenset("png jpg jpeg gif svg webp bmp css js ts json txt html htm pdf xml yaml yml csv".split())


def emails(text: str) -> Iterator[tuple[str, int, int]]:
    """Where the e-mail addresses of a text are."""
    if "@" not in text:
        return
    for at in _AT.finditer(text):
        middle = at.start()
        domain = _DOMAIN.match(text, middle + 1, middle + 1 + MAX_DOMAIN)
        if domain is None or domain[0].rpartition(".")[2].lower() in _FILES:
            continue
        before = _LOCAL.match(text[max(0, middle - MAX_LOCAL) : middle][::-1])
        local = before[0][::-1].lstrip(_NO_START) if before else ""
        if local:
            yield "EMAIL", middle - len(local), domain.end()


# --- URL, RFC 3986 and 3987, as they stand in running text -----------------------------------------------------

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,15}$")
_BODY = re.compile(r"[^\s<>\"`{}|\\^\u3000-\u303f\uff01-\uff60]+")
_WWW = re.compile(r"(?<![\w.@/\-])www\.(?=\w[\w-]{0,62}\.\w)", re.IGNORECASE)
_AUTHORITY = frozenset("[/@")
_TRAILING = ".,;:!?'*…»"
_PAIRS = {")": "(", "]": "["}


def urls(text: str) -> Iterator[tuple[str, int, int]]:
    """Where the URLs of a text are: those with a scheme, and those that start with `www.`."""
    end, colon = 0, text.find("://")
    while colon >= 0:
        first = text[colon + 3 : colon + 4]
        scheme = (
            _SCHEME.search(text, max(end, colon - 16), colon) if first.isalnum() or first in _AUTHORITY else None
        )
        if scheme and (last := _end(text, scheme.start(), colon + 3)) > colon + 3:
            yield "URL", scheme.start(), last
            end = last
        colon = text.find("://", max(end, colon + 3))
    if "www." in text or "WWW." in text:
        end = 0
        for www in _WWW.finditer(text):
            if www.start() >= end:
                end = _end(text, www.start(), www.end())
                yield "URL", www.start(), end


def _end(text: str, start: int, rest: int) -> int:
    """Where a URL ends whose scheme or `www.` ends at `rest`; a comma is its own unless one precedes it."""
    comma = text.find(",", rest) if text[start - 1 : start] == "," else -1
    body = _BODY.match(text, rest, comma if comma >= 0 else len(text))
    return _trimmed(text, rest, body.end()) if body else rest


def _trimmed(text: str, start: int, end: int) -> int:
    """The end without punctuation that belongs to the sentence, or to a bracket opened before the URL."""
    spare = {
        close: text.count(close, start, end) - text.count(open_, start, end) for close, open_ in _PAIRS.items()
    }
    while end > start:
        last = text[end - 1]
        if spare.get(last, 0) > 0:
            spare[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return end


# --- IP ------------------------------------------------------------------------------------------------------

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_QUAD = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_IPV4 = re.compile(r"[0-9](?<![A-Za-z0-9_.].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?!\.?[A-Za-z0-9_])")
_IPV6 = re.compile(
    r"(?<![A-Za-z0-9:._])[0-9A-Fa-f]{0,4}:(?:[0-9A-Fa-f]{0,4}:){1,7}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4})"
    r"(?![A-Za-z0-9_])"
)
_GROUP, _MORE = "[0-9A-Fa-f]{1,4}", "(?::[0-9A-Fa-f]{1,4})"
_WHOLE = re.compile(rf"(?=[^0-9]*[0-9])(?:{_GROUP}{_MORE}{{7}}|(?:{_GROUP}{_MORE}*)?::(?:{_GROUP}{_MORE}*)?)")
_DOTTED = re.compile(rf"(.*:){_OCTET}(?:\.{_OCTET}){{3}}")
_VERSIONS = (
    "version",
    "versions",
    "ver",
    "v",
    "release",
    "build",
    "firmware",
    "driver",
    "section",
    "chapter",
    "§",
    "oid",
)


def ips(text: str) -> Iterator[tuple[str, int, int]]:
    """Where the IPv4 and IPv6 addresses of a text are; four numbers that are called a version are none."""
    if "::" in text or text.count(":") >= 6:
        for match in _IPV6.finditer(text):
            found = match[0]
            start, end = match.span()
            if found[-1] == ":" != found[-2]:
                found, end = found[:-1], end - 1
            if is_ipv6(found):
                yield "IP", start, end
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            if _QUAD.fullmatch(match[0]) and not _is_version(text, match.start()):
                yield "IP", *match.span()


def _is_version(text: str, start: int) -> bool:
    return text[max(0, start - 12) : start].lower().rstrip(" :=#.\"'").endswith(_VERSIONS)


def is_ipv6(text: str) -> bool:
    """RFC 4291, section 2.2; `::` alone and words that only happen to be hexadecimal (`add::bed`) do not count."""
    if "." in text:
        dotted = _DOTTED.fullmatch(text)
        text = dotted[1] + "0:0" if dotted else ""
    if _WHOLE.fullmatch(text) is None:
        return False
    colons = text.count(":")
    return colons <= 7 or (colons == 8 and text.strip(":").count(":") < 7)

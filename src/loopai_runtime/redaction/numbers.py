"""Numbers that stand for people: cards, accounts, addresses of machines, social security numbers, telephones.

Check digits: Luhn (ISO/IEC 7812), mod 97 (ISO 13616, ISO 7064). A telephone number has no check digit: it is told
by its shape (E.164 and the ways it is written around the world) and by what the text around it says it is not.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Found = tuple[str, int, int]

# --- cards ---------------------------------------------------------------------------------------------------

_CARD = re.compile(
    r"(?<![\w.+-])(?:\d{12,19}|\d{4}([ -])(?:\d{4}\1\d{4}(?:\1\d{1,4}+){0,2}+|\d{6}\1\d{4,5}))(?![\w]|[ -]\d)"
)
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12})"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12}(?:\d{3})?|62\d{14,17}"  # Discover, UnionPay
    r"|3(?:0[0-5]|095|[689]\d)\d{11}"  # Diners Club
    r"|35\d{14}|(?:2131|1800)\d{11}"  # JCB
    r"|(?:50[0-9]{2}|5[6-8]\d\d|0604|6304|6390|6759|676[1-3])\d{8,15}"  # Maestro
)


def is_card(digits: str) -> bool:
    """Whether digits are a card's: an issuer's range and length, and the Luhn check digit."""
    return _ISSUERS.fullmatch(digits) is not None and luhn(digits)


def luhn(digits: str) -> bool:
    total = 0
    for at, character in enumerate(reversed(digits)):
        digit = ord(character) - 48
        if at % 2:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0


def _cards(text: str) -> Iterator[Found]:
    for match in _CARD.finditer(text):
        if is_card(re.sub(r"[ -]", "", match[0])):
            yield "CARD", match.start(), match.end()


# --- accounts -------------------------------------------------------------------------------------------------

_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?=[ -]?[A-Za-z0-9])")
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def is_iban(text: str) -> bool:
    """Whether letters and digits without spaces are an IBAN: its country's length, and mod 97."""
    if _IBAN_LENGTHS.get(text[:2]) != len(text) or not (text.isascii() and text.isalnum()):
        return False
    turned = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


_IBANS = {
    length: re.compile(rf"[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){{{length - 1}}}(?![A-Za-z0-9])")
    for length in set(_IBAN_LENGTHS.values())
}


def _ibans(text: str) -> Iterator[Found]:
    for start in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(start[0][:2].upper(), 0)
        match = _IBANS[length].match(text, start.start()) if length else None
        if match is not None and is_iban(re.sub("[ -]", "", match[0]).upper()):
            yield "IBAN", match.start(), match.end()


# --- addresses of machines ------------------------------------------------------------------------------------

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.-])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?:\.\d{1,3}){3})?(?![\w:])")
_VERSION = re.compile(
    r"(?i)(?:\bv|version|ver\.?|release|build|firmware|revision|rev\.?|upgrade[ds]? to|§|section|chapter)[\s:=]*$"
)


def _addresses(text: str) -> Iterator[Found]:
    for match in _IPV4.finditer(text) if text.count(".") > 2 else ():
        if not _VERSION.search(text, max(0, match.start() - 16), match.start()):
            yield "IP", match.start(), match.end()
    if text.count(":") > 1:
        for match in _IPV6.finditer(text):
            if match[0].strip(":.") and _is_ipv6(match[0]):
                yield "IP", match.start(), match.end()


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


# --- social security numbers ----------------------------------------------------------------------------------

_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])")
_SSN_NAMED = re.compile(
    r"(?i)\b(?:ssn|social security(?: number| no\.?)?)[\s:#=]{0,3}(?:is )?((?!000|666|9)\d{9})(?!\w)"
)


def _social_security(text: str) -> Iterator[Found]:
    for match in _SSN.finditer(text):
        yield "SSN", match.start(), match.end()
    lower = text.lower()
    if "ssn" in lower or "social" in lower:
        for match in _SSN_NAMED.finditer(text):
            yield "SSN", match.start(1), match.end(1)


# --- telephones -----------------------------------------------------------------------------------------------

_RUN = re.compile(r"(?<![\w.,$€£¥%:])[+(]{0,2}\d[\d ().\-/\u00a0\u2010-\u2013]{5,}")
_EXTENSION = re.compile(r"(?i)\s{0,2}(?:x|ext\.?|extension|#|durchwahl)\s{0,2}\d{1,6}(?!\w)")
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[ T-].*)?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})(?: .*)?"
    r"|(?:19|20)\d\d[- ](?:19|20)\d\d"
)
_NOT_A_PHONE = re.compile(
    r"(?i)(?:\b(?:order|id|no\.?|nr\.?|number|ref(?:erence)?|invoice|ticket|tracking|isbn(?:-1[03])?|serial|sku|build"
    r"|version|epoch|timestamp|ts|case|batch|parcel|shipment|part|model|pid|hash|commit|lat|lon|coordinates?|size|bytes"
    r"|upc|ean|asin|vin|checksum)|[#$€£@=_/\\])[\s:#.=]{0,3}$"
)
_PHONE_WORD = re.compile(
    r"(?i)(?:phone|\btel|mobile|\bcell|\bcall|\bfax|\bdial|whatsapp|\bsms|handy|fon\b|\bring|\breach|contact"
    r"|телефон|电话|電話|전화|هاتف|फ़ोन|teléfono|telefone|telefono)[^\n]{0,16}$"
)
_LONGEST_RUN = 40


def _phones(text: str) -> Iterator[Found]:
    for match in _RUN.finditer(text):
        start, end = match.span()
        if text[end : end + 1].isalpha() and not _EXTENSION.match(text, end):
            end = max(start, text.rfind(" ", start, end))  # what touches a letter is part of a word
        if end - start >= 7:
            yield from _in_run(text, start, end)


def _in_run(text: str, start: int, end: int) -> Iterator[Found]:
    """The telephone numbers in a run of digits and what may stand between them."""
    end = start + len(text[start:end].rstrip(" ().-/\u00a0\u2010\u2011\u2012\u2013"))
    shown = text[start:end]
    if shown[:1] == "(" and shown.count("(") > shown.count(")"):
        start += 1  # the bracket is the sentence's
    if _is_phone(text, start, end):
        extension = _EXTENSION.match(text, end)
        yield "PHONE", start, extension.end() if extension else end
        return
    for first, last in _pieces(text, start, end):
        if last - first >= 7:
            yield from _in_run(text, first, last)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A run cut where it is most likely two: at double spaces, else at spaces if it is longer than any number."""
    mark = "  " if text.find("  ", start, end) >= 0 else " "
    if mark == " " and (end - start <= 20 or text.find(" ", start, end) < 0):
        return
    at = start
    for part in text[start:end].split(mark):
        if part:
            yield at, at + len(part)
        at += len(part) + len(mark)


def _is_phone(text: str, start: int, end: int) -> bool:
    shown = text[start:end]
    if not 7 <= end - start <= _LONGEST_RUN or shown.count("(") != shown.count(")"):
        return False
    digits = re.sub(r"\D", "", shown)
    if shown[0] == "+" or shown[:2] == "(+":
        return 8 <= len(digits) <= 15
    if not 7 <= len(digits) <= 15 or _DATE.fullmatch(shown):
        return False
    before = text[max(0, start - 24) : start]
    if before[-1:] == "-" and before[-2:-1].isalnum():
        return False  # a part of something longer
    if _NOT_A_PHONE.search(before) or _is_isbn(shown, digits):
        return False
    named = _PHONE_WORD.search(before) is not None
    if len(digits) == len(shown):
        return _is_plain_phone(digits, named)
    return _has_phone_shape(shown, digits, named)


def _is_plain_phone(digits: str, named: bool) -> bool:
    """Digits alone: a trunk prefix, or what a national number without one looks like."""
    if digits[:2] == "00":
        return 10 <= len(digits) <= 15
    if digits[0] == "0":
        return 8 <= len(digits) <= 12
    if named:
        return 7 <= len(digits) <= 13
    if len(digits) == 11:
        return digits[0] in "78" or (digits[0] == "1" and digits[1] in "3456789") or digits[:2] in ("35", "39")
    return (len(digits) == 10 and digits[0] in "23456789") or (len(digits) == 9 and digits[0] in "23456789")


def _has_phone_shape(shown: str, digits: str, named: bool) -> bool:
    """Groups of digits as people part them; not a decimal, a thousand, a range."""
    groups = re.split(r"\D+", shown.strip("("))
    groups = [group for group in groups if group]
    longest = max(map(len, groups))
    if "(" in shown:
        return len(digits) >= 7 and longest <= 10
    separators = set(re.sub(r"\d", "", shown))
    if len(groups) == 2 and separators <= {"."}:
        return False  # a decimal
    if (
        separators == {"."}
        and all(len(group) == 3 for group in groups[1:])
        and len(groups[0]) <= 3
        and digits[0] != "0"
    ):
        return named
    if separators == {" "} and len(groups[0]) < 3 and all(len(group) == 3 for group in groups[1:]) and not named:
        return digits[0] == "0"  # thousands
    if longest > 8 or (len(groups) > 6 and not named):
        return False
    if len(digits) < 8 and not named:
        return len(groups) >= 2 and all(2 <= len(group) <= 4 for group in groups) and digits[0] != "0"
    if all(len(group) == 1 for group in groups):
        return False
    if len(digits) > 12 and digits[0] != "0":
        return named
    return all(len(group) <= 4 for group in groups) or digits[0] == "0" or longest <= 8


def _is_isbn(shown: str, digits: str) -> bool:
    """The check digit of an ISBN-13, or of an ISBN-10 that is parted as one."""
    if len(digits) == 13 and digits[:3] in ("978", "979"):
        return sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(digits)) % 10 == 0
    parted = len(digits) == 10 and shown[-2:-1] in ("-", " ") and len(re.split(r"[- ]", shown)) == 4
    return parted and sum(int(digit) * (10 - at) for at, digit in enumerate(digits)) % 11 == 0


SEARCHES = (_ibans, _cards, _addresses, _social_security, _phones)
"""In the order in which they take what they find."""

"""Payment cards (ISO/IEC 7812: Luhn's digit, the issuers' ranges) and IBANs (ISO 13616: length, mod 97)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# --- cards ---------------------------------------------------------------------------------------------------

_RANGES = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12,15}"  # Discover, RuPay
    r"|62\d{14,17}|81\d{14,17}"  # UnionPay
    r"|(?:30[0-5]|309|36\d|3[89]\d)\d{11}(?:\d\d)?"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12}|35\d{14}|(?:2131|1800)\d{11}"  # JCB
    r"|(?:50|5[6-9]|6[0137])\d{14}"  # Maestro, RuPay, Elo and debit schemes, as most have it
    r"|(?:5018|5020|5038|5[6-8]\d\d|6304|6390|67\d\d|0604)(?:\d{8,11}|\d{13,15})"  # Maestro, shorter and longer
    r"|220[0-4]\d{12,15}|9[0-9]{15}"  # Mir, Prostir and Troy
)
# Written as one number, or in groups as they are embossed, with one and the same separator.
_WRITTEN = re.compile(r"\d{12,19}|\d{4}([ -])(?:\d{4}\1){1,3}\d{1,4}|\d{4}([ -])\d{6}\2\d{4,5}")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B. Digits of ASCII alone."""
    data = digits.encode()[::-1]
    plain, doubled = data[::2], data[1::2].translate(_DOUBLED)
    return (sum(plain) + sum(doubled) - 48 * len(data)) % 10 == 0


def is_card(written: str, digits: str) -> bool:
    """Whether a number, as it is written and as digits alone, is a card's."""
    return bool(_RANGES.fullmatch(digits)) and luhn(digits) and bool(_WRITTEN.fullmatch(written))


# --- IBAN ----------------------------------------------------------------------------------------------------

# The registry of SWIFT, and countries outside it whose banks write IBANs.
_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE BI",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH CR HR LI LV",
        22: "BG BH DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "AO CV LY MZ PT ST GW",
        26: "DZ IR IS TR",
        27: "CF CG CM DJ FR GA GQ GR IT KM MC MG MR SM TD",
        28: "AL AZ BF BJ BY CI CY DO GT HN HU LB MA ML NE NI PL SN SV TG",
        29: "BR EG PS QA UA YE",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_IBAN = re.compile(r"[A-Za-z](?<![A-Za-z0-9].)[A-Za-z][0-9]{2}(?=[ \-\u00a0]?[A-Za-z0-9]{2})")
_SEPARATORS = re.compile(r"[ \-\u00a0]")
_WHOLE = {
    length: re.compile(rf"[A-Za-z0-9](?:[ \-\u00a0]?[A-Za-z0-9]){{{length - 1}}}(?![A-Za-z0-9])")
    for length in set(_LENGTHS.values())
}
_NUMBERS = {ord(letter): str(10 + i) for i, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")}


def ibans(text: str) -> Iterator[tuple[str, int, int]]:
    """Where the valid IBANs of a text are, in one piece or in groups."""
    for start in _IBAN.finditer(text):
        length = _LENGTHS.get(start[0][:2].upper())
        match = _WHOLE[length].match(text, start.start()) if length else None
        if match and is_iban(_SEPARATORS.sub("", match[0])):
            yield "IBAN", *match.span()


def is_iban(compact: str) -> bool:
    """Length by country and the remainder of ISO 7064, MOD 97-10."""
    compact = compact.upper()
    if _LENGTHS.get(compact[:2]) != len(compact):
        return False
    return int((compact[4:] + compact[:4]).translate(_NUMBERS)) % 97 == 1

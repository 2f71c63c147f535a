"""Helpers that emitted programs may call: those that a program needs are written into it, as they stand here."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, timedelta
from decimal import Decimal
from typing import Any


def nth_match(pattern: str, text: str, at: int) -> Any:
    """The match number `at` of a pattern in a text; -1 is the last one."""
    return list(re.finditer(pattern, text))[at]


def plain_digits(text: str) -> str:
    """A text with the digits of every script as 0 to 9."""
    return "".join([str(int(one)) if one.isdecimal() else one for one in text])


def without_accents(text: str) -> str:
    """A text with the accents of its letters taken off."""
    return "".join([one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one)])


def number(text: str) -> Decimal:
    """The first number in a text; commas group its digits."""
    found = re.search(r"-?(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", text)
    if found is None:
        raise ValueError("no number in " + text)
    return Decimal(found.group().replace(",", ""))


def rounded(x: Decimal, step: str, mode: str) -> Decimal:
    """A multiple of `step`: the nearest to x, or the next in the direction of `mode`."""
    unit = Decimal(step)
    return (x / unit).to_integral_value(mode) * unit


def bucket(x: Decimal, size: str, start: str) -> Decimal:
    """Where the bucket of x begins; buckets have one size, and one of them begins at `start`."""
    width, first = Decimal(size), Decimal(start)
    return ((x - first) / width).to_integral_value("ROUND_FLOOR") * width + first


def plain(x: Decimal) -> str:
    """A number with no more decimals than it needs."""
    return f"{x.normalize():f}" if x else "0"


def fixed(x: Decimal, decimals: int) -> str:
    """A number with exactly so many decimals, halves rounded up."""
    return f"{x.quantize(Decimal(1).scaleb(-decimals), 'ROUND_HALF_UP'):f}"


def at_least(x: Decimal, decimals: int) -> str:
    """A number with so many decimals, or more if it has more."""
    text = plain(x)
    return text if len(text.partition(".")[2]) >= decimals else fixed(x, decimals)


def significant(x: Decimal, digits: int) -> str:
    """A number rounded to so many significant digits."""
    if not x:
        return "0"
    return plain(x.quantize(Decimal(1).scaleb(x.adjusted() - digits + 1), "ROUND_HALF_UP"))


def grouped(text: str) -> str:
    """A number's text with commas between thousands."""
    whole, point, rest = text.partition(".")
    return f"{int(whole):,}" + point + rest


def comma_decimals(text: str) -> str:
    """A number's text with point and comma exchanged."""
    return text.translate({44: ".", 46: ","})


def padded(text: str, digits: int) -> str:
    """A number's text with zeros before it, up to so many digits before the point."""
    whole, point, rest = text.partition(".")
    return whole.zfill(digits) + point + rest


def scientific(x: Decimal, decimals: int) -> str:
    """A number as digits and a power of ten, such as 1.23E4."""
    power = x.adjusted() if x else 0
    return fixed(x.scaleb(-power), decimals) + "E" + str(power)


TITLES = "mr|mrs|ms|miss|dr|prof|professor|sir|dame|rev|hon|herr|frau|mme|mlle|monsieur|madame"
SUFFIXES = "jr|sr|ii|iii|iv|phd|ph\\.d|md|m\\.d|esq"


def person_pieces(text: str) -> dict[str, str]:
    """The pieces of a name such as "Dr. Ada M. Lovelace", "Lovelace, Ada" or "Alan Turing Jr."."""
    text = " ".join(text.split())
    found = re.search(r"(?i),? (" + SUFFIXES + r")\.?$", text)
    suffix, text = (found[1], text[: found.start()]) if found else ("", text)
    found = re.match(r"(?i)(?:(?:" + TITLES + r")\b\.? )+", text)
    title, text = (found[0].strip(), text[found.end() :]) if found else ("", text)
    last, comma, rest = text.partition(",")
    words = [*rest.split(), last] if comma else text.split()
    if len(words) < 2:
        raise ValueError("no first and last name in " + text)
    middle = " ".join(words[1:-1])
    return {"title": title, "first": words[0], "middle": middle, "last": words[-1], "suffix": suffix}


def phone_pieces(text: str) -> dict[str, str]:
    """The pieces of a phone number: country code, national digits, and of ten digits area, exchange and line."""
    if re.search(r"[^\d\s().+/-]", text):
        raise ValueError("no phone number: " + text)
    digits = re.sub(r"\D", "", text.replace("(0)", ""))
    size = 1 if len(digits) == 11 and digits[0] == "1" else 0
    if text.strip().startswith("+"):
        short = re.match(r"[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]", digits)
        size = len(short[0]) if short else 3
    country, rest = digits[:size], digits[size:]
    if not 6 <= len(rest) <= 12:
        raise ValueError("no phone number: " + text)
    found = {"country": country, "national": rest}
    if len(rest) == 10:
        found.update({"area": rest[:3], "exchange": rest[3:6], "line": rest[6:]})
    return found


def address_pieces(text: str) -> dict[str, str]:
    """The pieces of an address such as "12 Main St, Apt 4, Springfield, IL 62704"."""
    home = r"(?P<number>\d+[A-Za-z]?)\s+(?P<street>[^,\n]+?)(?:[,\n]\s*(?P<unit>(?:Apt|Suite|Unit|#)[^,\n]*))?"
    town = r"(?P<city>[^,\d\n]+?),?\s+(?P<state>[A-Z]{2}),?\s+(?P<zip>\d{5}(?:-\d{4})?)"
    found = re.fullmatch(r"\s*" + home + r"[,\n]\s*" + town + r"(?:,.*)?\s*", text)
    if found is None:
        raise ValueError("no address in " + text)
    return found.groupdict("")


MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def read_date(text: str, order: str) -> date:
    """The first date in a text; `order` ("dmy" or "mdy") says what two bare numbers mean. No year: 1904."""
    text = re.sub(r"\d{1,2}:\d\d(:\d\d)?", " ", text)
    week = re.search(r"(?i)\b(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? w(?:ee)?k (\d{1,2}) (?:in|of) (\d{4})", text)
    if week:
        return date.fromisocalendar(int(week[3]), int(week[2]), DAYS.index(week[1].lower()) + 1)
    nth = re.search(r"(?i)\b([a-z]{3})[a-z]*,? (\d{4}),? (mon|tue|wed|thu|fri|sat|sun)[a-z]* ([1-5])\b", text)
    if nth and nth[1].lower() in MONTHS:  # March 2026, Tuesday 3: the third Tuesday of it
        first = date(int(nth[2]), MONTHS.index(nth[1].lower()) + 1, 1)
        days = (DAYS.index(nth[3].lower()) - first.weekday()) % 7 + 7 * (int(nth[4]) - 1)
        return first + timedelta(days=days)
    found = re.fullmatch(r"\s*(\d{4})[ -](\d{1,3})\s*", text)
    if found:
        return date(int(found[1]), 1, 1) + timedelta(days=int(found[2]) - 1)
    name = re.search(r"(?i)(?<![a-z])(" + "|".join(MONTHS) + r")[a-z]*", text)
    if name:
        near = re.search(r"(\d{1,4})\W*(?:(?:st|nd|rd|th|of)\W*)*$", text[: name.start()])
        rest = re.findall(r"\d+", text[name.end() :])
        numbers = ([near[1]] if near else []) + rest
        years = [number for number in numbers[:3] if len(number) == 4]
        small = [number for number in numbers[:2] if len(number) < 3]
        year = years[0] if years else small[1] if len(small) > 1 else "1904"
        return date(full_year(year), MONTHS.index(name[1].lower()) + 1, int(small[0]) if small else 1)
    found = re.search(r"(?<!\d)(\d{4})\D{1,3}(\d{1,2})\D{1,3}(\d{1,2})(?!\d)", text)
    if found:
        return date(int(found[1]), int(found[2]), int(found[3]))
    found = re.search(r"(?<!\d)(\d{1,2})[^\d:]{1,3}(\d{1,2})[^\d:]{1,3}(\d{4}|\d\d)(?!\d)", text)
    if not found:
        found = re.search(r"(?<!\d)(?:(?=(?:1[5-9]|20)\d\d[01]\d)(\d{4})(\d\d)(\d\d))(?!\d)", text)
        if found:
            return date(int(found[1]), int(found[2]), int(found[3]))
        found = re.search(r"(?<!\d)(\d\d)(\d\d)(\d{4})(?!\d)", text)
    if not found:
        raise ValueError("no date in " + text)
    day, month = (found[1], found[2]) if order == "dmy" else (found[2], found[1])
    return date(full_year(found[3]), int(month), int(day))


def full_year(text: str) -> int:
    """A year of two digits is taken to lie between 1969 and 2068."""
    year = int(text)
    return year if len(text) > 2 else year + (1900 if year > 68 else 2000)


def ordinal(day: int) -> str:
    """1st, 2nd, 3rd, 4th, ..."""
    ending = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return str(day) + ending


def read_time(text: str) -> int:
    """The first time of day in a text, as seconds since midnight."""
    found = re.search(r"(?<!\d)(\d{1,2}):(\d\d)(?::(\d\d))?(?!\d)\s*([AaPp])?", text)
    if not found:
        found = re.search(r"(?<!\d)(\d{1,2})()()\s*([AaPp])\.?[Mm]\b", text)
    if not found:
        found = re.fullmatch(r"\s*(\d{1,2})[.h]?(\d\d)()()\s*", text)
    if not found:
        raise ValueError("no time in " + text)
    hour, minute, second = [int(part or 0) for part in found.groups()[:3]]
    if hour > 24 or minute > 59 or second > 59:
        raise ValueError("no time in " + text)
    if found[4]:
        hour = hour % 12 + (12 if found[4] in "Pp" else 0)
    return hour * 3600 + minute * 60 + second


def clock(seconds: int, pattern: str) -> str:
    """A time of day: H and h are the hour of 24 and of 12, HH and hh with two digits."""
    hour, minute, second = seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    half = "AM" if hour < 12 else "PM"
    twelve = (hour - 1) % 12 + 1
    values = {"H": f"{hour}", "HH": f"{hour:02}", "h": f"{twelve}", "hh": f"{twelve:02}", "am": half.lower()}
    values.update({"mm": f"{minute:02}", "ss": f"{second:02}", "m": f"{minute}", "AM": half})
    return re.sub("HH|H|hh|h|mm|m|ss|AM|am", lambda found: values[found.group()], pattern)

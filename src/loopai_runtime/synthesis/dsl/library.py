"""Helpers that emitted programs may call. Only those that a program needs are written into it, as they stand here."""

from __future__ import annotations

import re
from decimal import Decimal


def nth_match(pattern, text, at):  # type: ignore[no-untyped-def]
    """The match number `at` of a pattern in a text; -1 is the last one."""
    return list(re.finditer(pattern, text))[at]


def number(text):  # type: ignore[no-untyped-def]
    """The first number in a text; commas group its digits."""
    found = re.search(r"-?(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", text)
    if found is None:
        raise ValueError("no number in " + text)
    return Decimal(found.group().replace(",", ""))


def rounded(x, step, mode):  # type: ignore[no-untyped-def]
    """A multiple of `step`: the nearest to x, or the next in the direction of `mode`."""
    step = Decimal(step)
    return (x / step).to_integral_value(mode) * step


def bucket(x, size, start):  # type: ignore[no-untyped-def]
    """Where the bucket of x begins; buckets have one size, and one of them begins at `start`."""
    size, start = Decimal(size), Decimal(start)
    return ((x - start) / size).to_integral_value("ROUND_FLOOR") * size + start


def plain(x):  # type: ignore[no-untyped-def]
    """A number with no more decimals than it needs."""
    return f"{x.normalize():f}" if x else "0"


def fixed(x, decimals):  # type: ignore[no-untyped-def]
    """A number with exactly so many decimals, halves rounded up."""
    return f"{x.quantize(Decimal(1).scaleb(-decimals), 'ROUND_HALF_UP'):f}"


def at_least(x, decimals):  # type: ignore[no-untyped-def]
    """A number with so many decimals, or more if it has more."""
    text = plain(x)
    return text if len(text.partition(".")[2]) >= decimals else fixed(x, decimals)


def significant(x, digits):  # type: ignore[no-untyped-def]
    """A number rounded to so many significant digits."""
    if not x:
        return "0"
    return plain(x.quantize(Decimal(1).scaleb(x.adjusted() - digits + 1), "ROUND_HALF_UP"))


def grouped(text):  # type: ignore[no-untyped-def]
    """A number's text with commas between thousands."""
    whole, point, rest = text.partition(".")
    return f"{int(whole):,}" + point + rest


def comma_decimals(text):  # type: ignore[no-untyped-def]
    """A number's text with point and comma exchanged."""
    return text.translate({44: ".", 46: ","})


def padded(text, digits):  # type: ignore[no-untyped-def]
    """A number's text with zeros before it, up to so many digits before the point."""
    whole, point, rest = text.partition(".")
    return whole.zfill(digits) + point + rest


def scientific(x, decimals):  # type: ignore[no-untyped-def]
    """A number as digits and a power of ten, such as 1.23E4."""
    power = x.adjusted() if x else 0
    return fixed(x.scaleb(-power), decimals) + "E" + str(power)

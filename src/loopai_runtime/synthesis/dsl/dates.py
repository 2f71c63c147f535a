"""Dates and times of day: read under explicit hypotheses of the order of day and month, written part by part.

Where both orders explain the examples both stay, and their programs disagree: the input on which they do is what
to ask about.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.views import View, quote

if TYPE_CHECKING:
    from loopai_runtime.synthesis.dsl.atoms import Pool

T = TypeVar("T")
_TWO_ORDERS = re.compile(r"(?<!\d)\d{1,2}[^\w:]+\d{1,2}[^\w:]+\d{2,4}(?!\d)")
_UNKNOWN_YEAR = 1904
_DAY_SOURCES, _TIME_SOURCES = 6, 4

_Part = tuple[str, str, Callable[[date], str], str]
_PARTS: list[_Part] = [
    ("date_part", "str({}.day)", lambda d: str(d.day), "the day"),
    ("date_part", 'f"{{{}.day:02}}"', lambda d: f"{d.day:02}", "the day, with two digits"),
    ("date_rare", "ordinal({}.day)", lambda d: library.ordinal(d.day), "the day as an ordinal"),
    ("date_part", "str({}.month)", lambda d: str(d.month), "the month"),
    ("date_part", 'f"{{{}.month:02}}"', lambda d: f"{d.month:02}", "the month, with two digits"),
    ("date_part", 'f"{{{}:%b}}"', lambda d: f"{d:%b}", "the short name of the month"),
    ("date_part", 'f"{{{}:%B}}"', lambda d: f"{d:%B}", "the name of the month"),
    ("date_rare", 'f"{{{}:%b}}".upper()', lambda d: f"{d:%b}".upper(), "the short name of the month, in capitals"),
    (
        "date_rare",
        'f"{{{}:%b}}".lower()',
        lambda d: f"{d:%b}".lower(),
        "the short name of the month, in small letters",
    ),
    ("date_rare", 'f"{{{}:%B}}".upper()', lambda d: f"{d:%B}".upper(), "the name of the month, in capitals"),
]
_YEARLY: list[_Part] = [
    ("date_part", "str({}.year)", lambda d: str(d.year), "the year"),
    ("date_part", 'f"{{{}.year % 100:02}}"', lambda d: f"{d.year % 100:02}", "the year's last two digits"),
    ("date_part", 'f"{{{}:%a}}"', lambda d: f"{d:%a}", "the short name of the weekday"),
    ("date_part", 'f"{{{}:%A}}"', lambda d: f"{d:%A}", "the name of the weekday"),
    ("date_rare", "str({}.isocalendar()[1])", lambda d: str(d.isocalendar()[1]), "the week of the year"),
    (
        "date_rare",
        'f"{{{}.isocalendar()[1]:02}}"',
        lambda d: f"{d.isocalendar()[1]:02}",
        "the week of the year, with two digits",
    ),
    (
        "date_rare",
        "str(({}.day + 6) // 7)",
        lambda d: str((d.day + 6) // 7),
        "which of its weekdays in the month it is",
    ),
    ("date_rare", "str(({}.month + 2) // 3)", lambda d: str((d.month + 2) // 3), "the quarter"),
    ("date_rare", 'f"{{{}:%j}}"', lambda d: f"{d:%j}", "the day of the year"),
]


def dates(pool: Pool, views: Sequence[View]) -> None:
    """Offer the parts of every date that is found in all examples."""
    seen: set[tuple[str, tuple[date, ...]]] = set()
    for view in views:
        either = any(map(_TWO_ORDERS.search, view.values))
        if len(seen) >= _DAY_SOURCES:
            break
        for order in ("mdy", "dmy"):
            found = _read(view.values, partial(library.read_date, order=order))
            key = order if either else ""
            if found is None or (key, found) in seen:
                continue
            seen.add((key, found))
            _offer(pool, view, order, found)
    _months(pool, views)


def _read(values: Sequence[str], reader: Callable[[str], T]) -> tuple[T, ...] | None:
    """What the reader finds in every value, or None."""
    if not all(3 <= len(value) <= 300 and any(c.isdigit() for c in value) for value in values):
        return None
    try:
        return tuple([reader(value) for value in values])
    except (ValueError, OverflowError):
        return None


def _offer(pool: Pool, view: View, order: str, found: tuple[date, ...]) -> None:
    source = f'read_date({view.source}, "{order}")'
    base = (*view.traits, "date")
    name = f"day_{len(pool.names)}"
    pool.names.append(name)
    known = all(d.year != _UNKNOWN_YEAR for d in found)
    for trait, code, function, says in (*_PARTS, *(_YEARLY if known else ())):
        texts = [function(d) for d in found]
        if pool.fits(texts):
            pool.add(
                texts, (*base, trait), code.format(name), f"{says} of the date in {view.says}", ((name, source),)
            )
    _whole(pool, view, found, name, source, base)
    if known:
        _worded(pool, view, found, name, source, base)
    for days in (1, -1):
        shifted = tuple([d + timedelta(days) for d in found])
        later = f"{name}_{'next' if days > 0 else 'before'}"
        move = f"{source} {'+' if days > 0 else '-'} timedelta(days=1)"
        _whole(pool, view, shifted, later, move, (*base, "time_shift"))


def _whole(pool: Pool, view: View, found: Sequence[date], name: str, source: str, base: tuple[str, ...]) -> None:
    """Dates of three numbers, as one piece."""
    for mark in dict.fromkeys(re.findall(r"\d([^\w\s\"\\{}]| )\d", pool.outputs[0])):
        for parts in ("dmy", "mdy", "ymd"):
            for pad in (True, False):
                codes = {
                    "d": f"{name}.day" + (":02" if pad else ""),
                    "m": f"{name}.month" + (":02" if pad else ""),
                    "y": f"{name}.year",
                }
                texts = []
                for d in found:
                    numbers = {"d": d.day, "m": d.month, "y": d.year}
                    texts.append(mark.join(f"{numbers[p]:02}" if pad else str(numbers[p]) for p in parts))
                if pool.fits(texts):
                    code = 'f"' + mark.join("{" + codes[p] + "}" for p in parts) + '"'
                    says = (
                        f"the date in {view.says}"
                        + (", a day later" if "+ timedelta" in source else "")
                        + (", a day earlier" if "- timedelta" in source else "")
                    )
                    pool.add(texts, (*base, "date_whole"), code, says, ((name, source),))


_WORDED = [
    "MONTH DAY, YEAR", "DAY MONTH YEAR", "DAY-MONTH-YEAR", "MONTH DAY YEAR", "MONTH YEAR", "MONTH DAY",
    "DAY MONTH", "WEEKDAY, MONTH DAY, YEAR", "WEEKDAY, DAY MONTH YEAR",
]  # fmt: skip


def _worded(pool: Pool, view: View, found: Sequence[date], name: str, source: str, base: tuple[str, ...]) -> None:
    """Dates with the name of their month, in the usual orders, as one piece."""
    if f"{found[0]:%b}" not in pool.outputs[0]:
        return
    for pattern in _WORDED:
        styles = [("%B", "%A"), ("%b", "%a"), *([("%B", "%a"), ("%b", "%A")] if "WEEKDAY" in pattern else [])]
        for month, weekday in styles:
            for day in ("{}.day", "{}.day:02"):
                fields = {"WEEKDAY": "{}:" + weekday, "MONTH": "{}:" + month, "YEAR": "{}.year", "DAY": day}
                words = re.split("([A-Z]+)", pattern)
                named = {word: "{" + field.format(name) + "}" for word, field in fields.items()}
                code = "".join(named.get(word, word) for word in words)
                texts = [_worded_text(pattern, d, month, weekday, ":02" in day) for d in found]
                if pool.fits(texts):
                    says = f"the date in {view.says}, in words"
                    pool.add(texts, (*base, "date_whole"), f'f"{code}"', says, ((name, source),))


def _worded_text(pattern: str, d: date, month: str, weekday: str, padded: bool) -> str:
    parts = {"WEEKDAY": f"{d:{weekday}}", "MONTH": f"{d:{month}}", "YEAR": str(d.year)}
    parts["DAY"] = f"{d.day:02}" if padded else str(d.day)
    return re.sub("[A-Z]{3,}", lambda part: parts[part.group()], pattern)


def _months(pool: Pool, views: Sequence[View]) -> None:
    for view in views:
        if not all(value.isdecimal() and len(value) < 3 and 1 <= int(value) <= 12 for value in view.values):
            continue
        for form, says in (("%B", "the name of the month"), ("%b", "the short name of the month")):
            texts = [f"{date(2000, int(value), 1):{form}}" for value in view.values]
            if pool.fits(texts):
                code = f'date(2000, int({view.source}), 1).strftime("{form}")'
                pool.add(texts, (*view.traits, "date"), code, f"{says} whose number is {view.says}")


_PATTERNS = [
    f"{hour}{rest}{half}"
    for hour, halves in (
        ("H", ("",)),
        ("HH", ("",)),
        ("h", ("AM", " AM", "am", " am")),
        ("hh", ("AM", " AM", "am", " am")),
    )
    for rest in ("", ":mm", ":mm:ss", ".mm")
    for half in halves
]
_PIECES = ["h", "hh", "mm", "m", "ss", "AM", "am", "HHmm", "HHmmss"]
_STEPS = [minutes * 60 for minutes in (60, 30, 120, 15, 10, 5, 20, 90, 180, 240, 360, 480, 720)]


def times(pool: Pool, views: Sequence[View]) -> None:
    """Offer times of day as they are, rounded to a step, and as the slots between two of them."""
    if not any(c.isdigit() for c in pool.outputs[0]) and "M" not in pool.outputs[0].upper():
        return
    seen: set[tuple[int, ...]] = set()
    patterns = [p for p in _PATTERNS if (":" in p) <= (":" in pool.outputs[0])]
    for view in views:
        for source, reader, trait in _readers(view, pool.outputs):
            found = _read(view.values, reader) if trait == "time" else tuple(map(reader, view.values))
            if found is None or found in seen:
                continue
            seen.add(found)
            traits = (*view.traits, trait)
            name = f"time_{len(pool.names)}"
            pool.names.append(name)
            says = f"the time in {view.says}"
            _written(pool, found, [*patterns, *_PIECES], name, traits, says, ((name, source),))
            _shifted(pool, found, patterns, name, traits, says, source)
            _slots(pool, found, patterns, traits, says, source)
        if len(seen) >= _TIME_SOURCES:
            break


def _readers(view: View, outputs: Sequence[str]) -> Iterator[tuple[str, Callable[[str], int], str]]:
    yield f"read_time({view.source})", library.read_time, "time"
    if ":" in outputs[0] and all(value.isdecimal() and len(value) < 7 for value in view.values):
        yield f"int({view.source}) * 60", lambda text: int(text) * 60, "time_shift"
        yield f"int({view.source})", int, "time_shift"


def _written(
    pool: Pool,
    found: Sequence[int],
    patterns: Sequence[str],
    name: str,
    traits: tuple[str, ...],
    says: str,
    lets: tuple[tuple[str, str], ...],
) -> None:
    for pattern in patterns:
        if library.clock(found[0], pattern) not in pool.outputs[0]:
            continue
        texts = [library.clock(t, pattern) for t in found]
        if pool.fits(texts):
            pool.add(texts, (*traits, "time_part"), f'clock({name}, "{pattern}")', f"{says}, as {pattern}", lets)


def _stepped(found: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...], tuple[str, ...], int, str]]:
    """Times rounded to a step, down or to the nearest; steps count from midnight or half an hour or an hour on."""
    for step in _STEPS:
        for start in sorted({0, 1800, 3600} if step > 3600 else {0, 1800} if step > 1800 else {0}):
            low = tuple([(t - start) // step * step + start for t in found])
            code = f"({{}} - {start}) // {step} * {step} + {start}" if start else f"{{}} // {step} * {step}"
            traits = ("time_step", *(("step",) if start else ()))
            yield code, low, traits, step, f"rounded down to {step // 60} minutes"
        nearest = tuple([(t + step // 2) // step * step for t in found])
        yield (
            f"({{}} + {step // 2}) // {step} * {step}",
            nearest,
            ("time_step", "step"),
            step,
            f"rounded to {step // 60} minutes",
        )


def _shifted(
    pool: Pool,
    found: Sequence[int],
    patterns: Sequence[str],
    name: str,
    traits: tuple[str, ...],
    says: str,
    source: str,
) -> None:
    for code, low, more, step, how in _stepped(found):
        if low != found:
            _written(
                pool,
                low,
                patterns,
                f"{name}_{step}",
                (*traits, *more),
                f"{says}, {how}",
                ((f"{name}_{step}", code.format(source)),),
            )
    for hours in (1, -1, 2, -2):
        moved = [t + hours * 3600 for t in found]
        shift = f"{source} {'+' if hours > 0 else '-'} {abs(hours) * 3600}"
        _written(
            pool,
            moved,
            patterns,
            f"{name}_moved",
            (*traits, "time_shift"),
            f"{says}, {hours:+} h",
            ((f"{name}_moved", shift),),
        )


_TIME = re.compile(r"\d{1,2}(?::\d\d){0,2}\s?(?:[AaPp][Mm])?")


def _slots(
    pool: Pool, found: Sequence[int], patterns: Sequence[str], traits: tuple[str, ...], says: str, source: str
) -> None:
    """Slots of time, such as 10AM-12PM: where one begins, a separator, and where it ends."""
    written = list(_TIME.finditer(pool.outputs[0]))
    for left, right in itertools.pairwise(written):
        between = pool.outputs[0][left.end() : right.start()]
        for pattern in patterns:
            if not re.search(r"[ap]m$", left.group(), re.IGNORECASE) and "am" in pattern.lower():
                continue
            for code, low, more, step, how in _stepped(found):
                if library.clock(low[0], pattern) != left.group().strip():
                    continue
                for width in dict.fromkeys((step, 3600, step - 60, step - 1)):
                    texts = [library.clock(t, pattern) + between + library.clock(t + width, pattern) for t in low]
                    if not pool.fits(texts):
                        continue
                    name = f"slot_{len(pool.names)}"
                    pool.names.append(name)
                    extra = () if width in (step, step - 60, step - 1) else ("time_shift",)
                    pool.add(
                        texts,
                        (*traits, *more, *extra, "time_shift"),
                        f'clock({name}, "{pattern}") + {quote(between)} + clock({name} + {width}, "{pattern}")',
                        f"the slot of {width // 60} minutes that {says} is in ({how})",
                        ((name, code.format(source)),),
                    )

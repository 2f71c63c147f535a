"""Numbers: rounding, buckets, scaling and unit conversion, and the way they are written.

The outputs say what to look for: a numeric expression is worth writing only if its value stands in every output.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.units import NUMBER, Figure, converted
from loopai_runtime.synthesis.dsl.views import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopai_runtime.synthesis.dsl.atoms import Pool
    from loopai_runtime.synthesis.dsl.views import View

_WHOLE = re.compile(r"\W{0,3}(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\D{0,14}")
_MODES = [
    ("ROUND_HALF_UP", (), "rounded"),
    ("ROUND_FLOOR", ("rounding",), "rounded down"),
    ("ROUND_CEILING", ("rounding",), "rounded up"),
    ("ROUND_HALF_EVEN", ("rounding", "rounding"), "rounded, halves to the even neighbour,"),
]
_STEPS = sorted(
    {Decimal(digits).scaleb(power) for digits in (1, 2, 5, 25) for power in range(-6, 7)}
    | {Decimal(3), Decimal(4), Decimal(12), Decimal(15), Decimal(30), Decimal(60)},
    reverse=True,
)
_SOURCES = 14


def numbers(pool: Pool, views: Sequence[View]) -> None:
    """Offer what can be written of the numbers in the views."""
    goals = [_goals(output) for output in pool.outputs]
    if not all(goals):
        return
    values = [set(one) for one in goals]
    for figure in _figures(views):
        for made in (*_rounded(figure, goals), *_scaled(figure), *_buckets(figure, goals)):
            if all(x in one for x, one in zip(made.values, values, strict=True)):
                _write(pool, made)
        if "E" in pool.outputs[0]:
            _scientific(pool, figure)
        for text, traits, source, says in converted(figure, pool.outputs):
            if pool.fits(text):
                pool.add(text, traits, source, says)


def _goals(output: str) -> list[Decimal]:
    """The numbers in an output, read in either convention of point and comma."""
    texts = [token.replace(",", "") for token in NUMBER.findall(output)]
    texts += [token.replace(".", "").replace(",", ".") for token in re.findall(r"-?\d[\d.]*,\d+", output)]
    texts += [token.replace(".", "") for token in re.findall(r"-?\d{1,3}(?:\.\d{3})+", output)]
    found = [Decimal(text) for text in texts if len(text) <= 20]
    found = [x for x in found if -12 <= x.adjusted() <= 18]
    return found + [-x for x in found if x < 0]


def _figures(views: Sequence[View]) -> Iterator[Figure]:
    seen = set()
    for view in views:
        if not all(map(_WHOLE.fullmatch, view.values)) and not (
            view.traits == ("column",) and all(map(NUMBER.search, view.values))
        ):
            continue
        try:
            values = tuple([library.number(value) for value in view.values])
        except (ValueError, InvalidOperation):
            continue
        if values in seen or max(map(abs, values)) > Decimal(10) ** 15:
            continue
        seen.add(values)
        yield Figure(f"number({view.source})", values, (*view.traits, "parse"), f"the number in {view.says}")
        if any(value < 0 for value in values):
            yield Figure(
                f"abs(number({view.source}))",
                tuple(map(abs, values)),
                (*view.traits, "parse", "wrap"),
                f"the number in {view.says}, without its sign",
            )
        if len(seen) >= _SOURCES:
            break
    for view in views[:3]:
        if all(re.search(r"\d:\d\d", value) for value in view.values):
            try:
                times = tuple([Decimal(library.read_time(value)) for value in view.values])
            except ValueError:
                continue
            yield Figure(
                f"Decimal(read_time({view.source}))", times, (*view.traits, "time"), f"the seconds of {view.says}"
            )


def _rounded(figure: Figure, goals: Sequence[Sequence[Decimal]]) -> Iterator[Figure]:
    yield figure
    seen = {figure.values}
    for step in _STEPS:
        if not any(goal % step == 0 for goal in goals[0]):
            continue
        for mode, traits, says in _MODES:
            if library.rounded(figure.values[0], str(step), mode) not in goals[0]:
                continue
            values = tuple([library.rounded(x, str(step), mode) for x in figure.values])
            if values in seen:
                continue
            seen.add(values)
            digits = step.normalize().as_tuple().digits
            rare = () if digits == (1,) else ("step5",) if digits == (5,) else ("step",)
            yield Figure(
                f'rounded({figure.source}, "{library.plain(step)}", "{mode}")',
                values,
                (*figure.traits, "rounding", *traits, *rare),
                f"{figure.says}, {says} to a multiple of {library.plain(step)}",
            )


def _scaled(figure: Figure) -> Iterator[Figure]:
    for power in (2, 3, -2, -3, 1, -1, 6, -6):
        values = tuple([x.scaleb(power) for x in figure.values])
        for code, made, extra in (
            ("", values, ()),
            (True, tuple([library.rounded(x, "1", "ROUND_HALF_UP") for x in values]), ("rounding",)),
        ):
            source = f"{figure.source}.scaleb({power})"
            source = f'rounded({source}, "1", "ROUND_HALF_UP")' if code else source
            says = f"{figure.says}, times {library.plain(Decimal(1).scaleb(power))}" + (
                ", rounded" if code else ""
            )
            yield Figure(source, made, (*figure.traits, "scale", *extra), says)


def _buckets(figure: Figure, goals: Sequence[Sequence[Decimal]]) -> Iterator[Figure]:
    """Buckets of one size, told by outputs that name two ends at a constant distance."""
    if len({len(one) for one in goals}) != 1 or len(goals[0]) < 2:
        return
    columns = list(zip(*[list(map(abs, one)) for one in goals], strict=True))[:6]
    for low in columns:
        for high in columns:
            width = high[0] - low[0]
            if width <= 0 or any(b - a != width for a, b in zip(low, high, strict=True)):
                continue
            unit = Decimal(1).scaleb(min(int(low[0].as_tuple().exponent), 0))
            for size in (width, width + unit):
                if len(size.normalize().as_tuple().digits) > 2:
                    continue
                start = low[0] % size
                if any(
                    library.bucket(x, str(size), str(start)) != y for x, y in zip(figure.values, low, strict=True)
                ):
                    continue
                source = f'bucket({figure.source}, "{library.plain(size)}", "{library.plain(start)}")'
                says = f"where the bucket of {figure.says} begins (size {library.plain(size)})"
                extra = () if start == 0 else ("step",)
                yield Figure(source, low, (*figure.traits, "range", *extra), says)
                yield Figure(
                    f"({source} + Decimal({quote(library.plain(width))}))",
                    high,
                    (*figure.traits, "range"),
                    f"where the bucket of {figure.says} ends (size {library.plain(size)})",
                )


_Writing = tuple[str, tuple[str, ...], Callable[[Decimal], str], str]


def _fixed(decimals: int) -> _Writing:
    says = f"{{}} with {decimals} decimals"
    return f"fixed({{}}, {decimals})", ("decimals",), lambda x: library.fixed(x, decimals), says


def _at_least(decimals: int) -> _Writing:
    says = f"{{}} with at least {decimals} decimals"
    return f"at_least({{}}, {decimals})", ("decimals", "wrap"), lambda x: library.at_least(x, decimals), says


def _writings(outputs: Sequence[str]) -> list[_Writing]:
    """How the numbers of the outputs may have been written, by the decimals that the first output has."""
    ends = [{len(token.partition(".")[2]) for token in NUMBER.findall(output)} for output in outputs]
    varied = 0 in set.union(*ends) or len(set.union(*ends)) > 1
    decimals = set(ends[0])
    if "," in outputs[0]:
        decimals |= {len(tail) for tail in re.findall(r"\d,(\d+)", outputs[0])}
    return [
        ("plain({})", () if varied else ("even",), library.plain, "{}"),
        *map(_fixed, sorted(decimals)),
        *map(_at_least, sorted(ends[0] - {0})),
    ]


def _write(pool: Pool, figure: Figure) -> None:
    for source, traits, function, says in _writings(pool.outputs):
        texts = [function(x) for x in figure.values]
        code, words = source.format(figure.source), says.format(figure.says)
        for outer, more, change, how in _dressings(pool.outputs):
            dressed = [change(text) for text in texts]
            if pool.fits(dressed):
                pool.add(dressed, (*figure.traits, *traits, *more), outer.format(code), how.format(words))


def _scientific(pool: Pool, figure: Figure) -> None:
    for d in range(5):
        texts = [library.scientific(x, d) for x in figure.values]
        if pool.fits(texts):
            source, says = f"scientific({figure.source}, {d})", f"{figure.says} in scientific notation"
            pool.add(texts, (*figure.traits, "decimals", "wrap"), source, says)


_BASES: list[tuple[str, Callable[[str], str], str, str]] = [
    ('f"{int(TEXT):X}"', lambda t: f"{int(t):X}", r"\d{1,15}", "{} in hexadecimal"),
    ('f"{int(TEXT):x}"', lambda t: f"{int(t):x}", r"\d{1,15}", "{} in hexadecimal"),
    ('f"{int(TEXT):b}"', lambda t: f"{int(t):b}", r"\d{1,15}", "{} in binary"),
    ('f"{int(TEXT):o}"', lambda t: f"{int(t):o}", r"\d{1,15}", "{} in octal"),
    ("str(int(TEXT, 2))", lambda t: str(int(t, 2)), r"[01]{1,60}", "the number that {} is in binary"),
    (
        "str(int(TEXT, 16))",
        lambda t: str(int(t, 16)),
        r"[0-9A-Fa-f]{1,15}",
        "the number that {} is in hexadecimal",
    ),
    ("str(int(TEXT, 8))", lambda t: str(int(t, 8)), r"[0-7]{1,15}", "the number that {} is in octal"),
    ("chr(int(TEXT))", lambda t: chr(int(t)), r"\d{1,5}", "the character with the number {}"),
    ("str(ord(TEXT))", lambda t: str(ord(t)), r"(?s).", "the number of the character {}"),
]


def bases(pool: Pool, views: Sequence[View]) -> None:
    """Offer whole numbers in other bases, and characters by their numbers."""
    for view in views:
        for code, function, pattern, says in _BASES:
            if ('f"' in code and '"' in view.source) or not all(
                re.fullmatch(pattern, value) for value in view.values
            ):
                continue
            texts = [function(value) for value in view.values]
            if pool.fits(texts) and tuple(texts) != view.values:
                source = code.replace("TEXT", view.source)
                pool.add(texts, (*view.traits, "base"), source, says.format(view.says))


_Dressing = tuple[str, tuple[str, ...], Callable[[str], str], str]


def _dressings(outputs: Sequence[str]) -> list[_Dressing]:
    """Separators and leading zeros that the outputs may show."""
    found: list[_Dressing] = [("{}", (), lambda text: text, "{}")]
    if any("," in output for output in outputs):
        found.append(("grouped({})", ("grouping",), library.grouped, "{}, with commas between thousands"))
        found.append(("comma_decimals({})", ("grouping",), library.comma_decimals, "{}, with a decimal comma"))
        found.append(
            (
                "comma_decimals(grouped({}))",
                ("grouping", "grouping"),
                lambda text: library.comma_decimals(library.grouped(text)),
                "{}, with points between thousands and a decimal comma",
            )
        )
    found += map(_padded, sorted({len(run) for run in re.findall(r"\d+", outputs[0])} - {1}))
    return found


def _padded(width: int) -> _Dressing:
    says = f"{{}}, with zeros to {width} digits"
    return f"padded({{}}, {width})", ("zeros",), lambda text: library.padded(text, width), says

"""Numbers: rounding, buckets, scaling and unit conversion, and the way they are written.

The outputs say what to look for: a numeric expression is worth writing only if its value stands in every output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.atoms import Pool
from loopai_runtime.synthesis.dsl.views import View, quote

_TOKEN = re.compile(r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
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
FACTORS: dict[str, str] = {
    "2.54": "centimetres in an inch",
    "25.4": "millimetres in an inch",
    "30.48": "centimetres in a foot",
    "0.3048": "metres in a foot",
    "0.9144": "metres in a yard",
    "91.44": "centimetres in a yard",
    "1.609344": "kilometres in a mile",
    "1609.344": "metres in a mile",
    "1.852": "kilometres in a nautical mile",
    "0.514444444444444444": "metres a second in a knot",
    "0.45359237": "kilograms in a pound",
    "453.59237": "grams in a pound",
    "28.349523125": "grams in an ounce",
    "6.35029318": "kilograms in a stone",
    "3.785411784": "litres in a gallon",
    "3785.411784": "millilitres in a gallon",
    "4.54609": "litres in an imperial gallon",
    "0.473176473": "litres in a pint",
    "0.946352946": "litres in a quart",
    "29.5735295625": "millilitres in a fluid ounce",
    "0.0295735295625": "litres in a fluid ounce",
    "236.5882365": "millilitres in a cup",
    "0.09290304": "square metres in a square foot",
    "0.83612736": "square metres in a square yard",
    "6.4516": "square centimetres in a square inch",
    "0.40468564224": "hectares in an acre",
    "4046.8564224": "square metres in an acre",
    "43560": "square feet in an acre",
    "2.589988110336": "square kilometres in a square mile",
    "0.028316846592": "cubic metres in a cubic foot",
    "16.387064": "cubic centimetres in a cubic inch",
    "4.184": "joules in a calorie",
    "1055.05585262": "joules in a British thermal unit",
    "745.69987158227022": "watts in a horsepower",
    "6.894757293168361": "kilopascals in a pound a square inch",
    "101.325": "kilopascals in an atmosphere",
    "14.6959487755134": "pounds a square inch in an atmosphere",
    "0.01745329251994329577": "radians in a degree",
    "3.14159265358979323846": "pi",
    "12": "a dozen",
    "16": "ounces in a pound",
    "24": "hours in a day",
    "36": "inches in a yard",
    "60": "minutes in an hour",
    "3600": "seconds in an hour",
    "1440": "minutes in a day",
    "86400": "seconds in a day",
    "7": "days in a week",
    "1024": "bytes in a kibibyte",
    "1048576": "bytes in a mebibyte",
    "1073741824": "bytes in a gibibyte",
    "5280": "feet in a mile",
    "1760": "yards in a mile",
}


class Figure(NamedTuple):
    """A numeric expression and its value on each example."""

    source: str
    values: tuple[Decimal, ...]
    traits: tuple[str, ...]
    says: str


def numbers(pool: Pool, views: Sequence[View]) -> None:
    """Offer what can be written of the numbers in the views."""
    goals = [_goals(output) for output in pool.outputs]
    if not all(goals):
        return
    values = [set(one) for one in goals]
    for figure in _figures(views):
        for made in (*_rounded(figure, goals), *_scaled(figure, goals), *_buckets(figure, goals)):
            if all(x in one for x, one in zip(made.values, values, strict=True)):
                _write(pool, made)
        if "E" in pool.outputs[0]:
            _scientific(pool, figure)
        for text, traits, source, says in _converted(figure, pool.outputs):
            if pool.fits(text):
                pool.add(text, traits, source, says)


def _goals(output: str) -> list[Decimal]:
    """The numbers in an output, read in either convention of point and comma."""
    texts = [token.replace(",", "") for token in _TOKEN.findall(output)]
    texts += [token.replace(".", "").replace(",", ".") for token in re.findall(r"-?\d[\d.]*,\d+", output)]
    texts += [token.replace(".", "") for token in re.findall(r"-?\d{1,3}(?:\.\d{3})+", output)]
    found = [Decimal(text) for text in texts if len(text) <= 20]
    found = [x for x in found if -12 <= x.adjusted() <= 18]
    return found + [-x for x in found if x < 0]


def _figures(views: Sequence[View]) -> Iterator[Figure]:
    seen = set()
    for view in views:
        if not all(map(_WHOLE.fullmatch, view.values)) and not (
            view.traits == ("column",) and all(map(_TOKEN.search, view.values))
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
            yield Figure(f"Decimal(read_time({view.source}))", times, (*view.traits, "time"), f"the seconds of {view.says}")


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


def _scaled(figure: Figure, goals: Sequence[Sequence[Decimal]]) -> Iterator[Figure]:
    for power in (2, 3, -2, -3, 1, -1, 6, -6):
        values = tuple([x.scaleb(power) for x in figure.values])
        for code, made, extra in (
            ("", values, ()),
            (True, tuple([library.rounded(x, "1", "ROUND_HALF_UP") for x in values]), ("rounding",)),
        ):
            source = f"{figure.source}.scaleb({power})"
            source = f'rounded({source}, "1", "ROUND_HALF_UP")' if code else source
            says = f"{figure.says}, times {library.plain(Decimal(1).scaleb(power))}" + (", rounded" if code else "")
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
                if any(library.bucket(x, str(size), str(start)) != y for x, y in zip(figure.values, low, strict=True)):
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


def _writings(outputs: Sequence[str]) -> list[_Writing]:
    tokens = _TOKEN.findall(outputs[0])
    ends = [{len(token.partition(".")[2]) for token in _TOKEN.findall(output)} for output in outputs]
    short = any(0 in one for one in ends) or len(set.union(*ends)) > 1
    kinds: dict[str, _Writing] = {"plain({})": ("plain({})", () if short else ("even",), library.plain, "{}")}
    for token in tokens:
        d = len(token.partition(".")[2])
        kinds[f"f{d}"] = (f"fixed({{}}, {d})", ("decimals",), lambda x, d=d: library.fixed(x, d), f"{{}} with {d} decimals")  # type: ignore[misc]
        if d:
            kinds[f"l{d}"] = (f"at_least({{}}, {d})", ("decimals", "wrap"), lambda x, d=d: library.at_least(x, d), f"{{}} with at least {d} decimals")  # type: ignore[misc]
    if "," in outputs[0]:
        for d in {len(tail) for tail in re.findall(r"\d,(\d+)", outputs[0])}:
            kinds.setdefault(f"f{d}", (f"fixed({{}}, {d})", ("decimals",), lambda x, d=d: library.fixed(x, d), f"{{}} with {d} decimals"))  # type: ignore[misc]
    return list(kinds.values())


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
    ("str(int(TEXT, 16))", lambda t: str(int(t, 16)), r"[0-9A-Fa-f]{1,15}", "the number that {} is in hexadecimal"),
    ("str(int(TEXT, 8))", lambda t: str(int(t, 8)), r"[0-7]{1,15}", "the number that {} is in octal"),
    ("chr(int(TEXT))", lambda t: chr(int(t)), r"\d{1,5}", "the character with the number {}"),
    ("str(ord(TEXT))", lambda t: str(ord(t)), r"(?s).", "the number of the character {}"),
]


def bases(pool: Pool, views: Sequence[View]) -> None:
    """Offer whole numbers in other bases, and characters by their numbers."""
    for view in views:
        for code, function, pattern, says in _BASES:
            if "f\"" in code and '"' in view.source or not all(re.fullmatch(pattern, value) for value in view.values):
                continue
            texts = [function(value) for value in view.values]
            if pool.fits(texts) and tuple(texts) != view.values:
                source = code.replace("TEXT", view.source)
                pool.add(texts, (*view.traits, "base"), source, says.format(view.says))


def _dressings(outputs: Sequence[str]) -> list[tuple[str, tuple[str, ...], Callable[[str], str], str]]:
    first = outputs[0]
    found: list[tuple[str, tuple[str, ...], Callable[[str], str], str]] = [("{}", (), lambda text: text, "{}")]
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
    for width in {len(run) for run in re.findall(r"\d+", first)}:
        if width > 1:
            found.append((f"padded({{}}, {width})", ("zeros",), lambda text, w=width: library.padded(text, w), f"{{}}, with zeros to {width} digits"))  # type: ignore[misc]
    return found


def _converted(figure: Figure, outputs: Sequence[str]) -> Iterator[tuple[list[str], tuple[str, ...], str, str]]:
    """A constant factor, or a factor and an offset, that explains one number of each output within its rounding."""
    tokens = [_TOKEN.findall(output) for output in outputs]
    if len({len(one) for one in tokens}) != 1 or len(outputs) < 2 or len(set(figure.values)) < 2:
        return
    for column in list(zip(*tokens, strict=True))[:4]:
        targets = [Decimal(token.replace(",", "")) for token in column]
        if all(x == y for x, y in zip(figure.values, targets, strict=True)):
            continue
        for source, traits, function, says in _formulas(figure.values, targets):
            values = [function(x) for x in figure.values]
            for code, more, write in _precisions(column):
                texts = [write(x) for x in values]
                if texts == [token.replace(",", "") for token in column]:
                    inner = code.format(source.format(figure.source))
                    outer = any("," in token for token in column)
                    yield (
                        list(map(library.grouped, texts)) if outer else texts,
                        (*figure.traits, *traits, *more),
                        f"grouped({inner})" if outer else inner,
                        says.format(figure.says),
                    )


def _precisions(column: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...], Callable[[Decimal], str]]]:
    decimals = {len(token.partition(".")[2]) for token in column}
    if len(decimals) == 1:
        d = decimals.pop()
        yield f"fixed({{}}, {d})", ("decimals",), lambda x: library.fixed(x, d)
    yield "plain({})", (), library.plain
    digits = max(len(re.sub(r"\D", "", token).lstrip("0")) for token in column)
    for k in range(max(digits, 1), digits + 3):
        yield f"significant({{}}, {k})", ("decimals",), lambda x, k=k: library.significant(x, k)  # type: ignore[misc]
    d = max(len(token.partition(".")[2]) for token in column)
    yield f"plain(rounded({{}}, {quote(library.plain(Decimal(1).scaleb(-d)))}, 'ROUND_HALF_UP'))".replace("'", '"'), ("decimals", "rounding"), lambda x: library.plain(library.rounded(x, str(Decimal(1).scaleb(-d)), "ROUND_HALF_UP"))


_Formula = tuple[str, tuple[str, ...], Callable[[Decimal], Decimal], str]
_TEMPERATURES: list[_Formula] = [
    ("({} * 9 / 5 + 32)", ("convert",), lambda x: x * 9 / 5 + 32, "{} from Celsius to Fahrenheit"),
    ("(({} - 32) * 5 / 9)", ("convert",), lambda x: (x - 32) * 5 / 9, "{} from Fahrenheit to Celsius"),
    ('({} + Decimal("273.15"))', ("convert",), lambda x: x + Decimal("273.15"), "{} from Celsius to Kelvin"),
    ('({} - Decimal("273.15"))', ("convert",), lambda x: x - Decimal("273.15"), "{} from Kelvin to Celsius"),
]


def _formulas(values: Sequence[Decimal], targets: Sequence[Decimal]) -> Iterator[_Formula]:
    slack = [Decimal(1).scaleb(int(y.as_tuple().exponent)) * Decimal("0.51") for y in targets]
    for formula in _TEMPERATURES:
        if all(abs(formula[2](x) - y) <= s * 2 for x, y, s in zip(values, targets, slack, strict=True)):
            yield formula
    pairs = [(x, y, s) for x, y, s in zip(values, targets, slack, strict=True) if x]
    if pairs:
        bounds = [sorted(((y - s) / x, (y + s) / x)) for x, y, s in pairs]
        low, high = max(b[0] for b in bounds), min(b[1] for b in bounds)
        if low <= high:
            yield from _factors(low, high)
    differences = [y - x for x, y in zip(values, targets, strict=True)]
    low = max(d - s for d, s in zip(differences, slack, strict=True))
    high = min(d + s for d, s in zip(differences, slack, strict=True))
    if low <= high and not low <= 0 <= high:
        added = _shortest(low, high)
        yield f'({{}} + Decimal("{library.plain(added)}"))', ("linear",), lambda x: x + added, f"{{}} plus {library.plain(added)}"
    if len(values) > 2 and values[0] != values[1]:
        slope = (targets[1] - targets[0]) / (values[1] - values[0])
        offset = targets[0] - slope * values[0]
        a, b = library.plain(slope), library.plain(offset)
        if len(a) < 9 and len(b) < 9 and offset:
            yield f'({{}} * Decimal("{a}") + Decimal("{b}"))', ("linear", "scale"), lambda x: x * slope + offset, f"{{}} times {a} plus {b}"


def _factors(low: Decimal, high: Decimal) -> Iterator[_Formula]:
    if low <= 1 <= high or low <= 0 <= high:
        return
    for text, meaning in FACTORS.items():
        factor = Decimal(text)
        if low <= factor <= high:
            yield f'({{}} * Decimal("{text}"))', ("convert",), lambda x, f=factor: x * f, f"{{}} times {text} ({meaning})"  # type: ignore[misc]
        elif low <= 1 / factor <= high:
            yield f'({{}} / Decimal("{text}"))', ("convert",), lambda x, f=factor: x / f, f"{{}} divided by {text} ({meaning})"  # type: ignore[misc]
    factor = _shortest(low, high)
    text = library.plain(factor)
    if len(text.strip("0.")) <= 12:
        yield f'({{}} * Decimal("{text}"))', ("linear",), lambda x: x * factor, f"{{}} times {text}"


def _shortest(low: Decimal, high: Decimal) -> Decimal:
    """The decimal with the fewest digits between two bounds."""
    if low < 0 < high:
        return Decimal(0)
    if high < 0:
        return -_shortest(-high, -low)
    step = Decimal(1).scaleb(high.adjusted() + 1)
    for _ in range(30):
        candidate = (high / step).to_integral_value("ROUND_FLOOR") * step
        if candidate >= low and candidate:
            return candidate
        step = step.scaleb(-1)
    return (low + high) / 2

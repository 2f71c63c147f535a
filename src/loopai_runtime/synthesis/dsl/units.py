"""Units: a factor, or a factor and an offset, that explains the numbers of the outputs within their rounding."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.views import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NUMBER = re.compile(r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
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


def converted(figure: Figure, outputs: Sequence[str]) -> Iterator[tuple[list[str], tuple[str, ...], str, str]]:
    """A factor, or a factor and an offset, that explains one number of each output within its rounding."""
    tokens = [NUMBER.findall(output) for output in outputs]
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


def _significant(digits: int) -> _Precision:
    return f"significant({{}}, {digits})", ("decimals",), lambda x: library.significant(x, digits)


def _precisions(column: Sequence[str]) -> Iterator[_Precision]:
    """The ways to round and write that the outputs' digits allow."""
    decimals = {len(token.partition(".")[2]) for token in column}
    if len(decimals) == 1:
        d = decimals.pop()
        yield f"fixed({{}}, {d})", ("decimals",), lambda x: library.fixed(x, d)
    yield "plain({})", (), library.plain
    digits = max(len(re.sub(r"\D", "", token).lstrip("0")) for token in column)
    for k in range(max(digits, 1), digits + 3):
        yield _significant(k)
    d = max(len(token.partition(".")[2]) for token in column)
    yield (
        f"plain(rounded({{}}, {quote(library.plain(Decimal(1).scaleb(-d)))}, 'ROUND_HALF_UP'))".replace("'", '"'),
        ("decimals", "rounding"),
        lambda x: library.plain(library.rounded(x, str(Decimal(1).scaleb(-d)), "ROUND_HALF_UP")),
    )


_Precision = tuple[str, tuple[str, ...], Callable[[Decimal], str]]
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
        yield (
            f'({{}} + Decimal("{library.plain(added)}"))',
            ("linear",),
            lambda x: x + added,
            f"{{}} plus {library.plain(added)}",
        )
    if len(values) > 2 and values[0] != values[1]:
        slope = (targets[1] - targets[0]) / (values[1] - values[0])
        offset = targets[0] - slope * values[0]
        a, b = library.plain(slope), library.plain(offset)
        if len(a) < 9 and len(b) < 9 and offset:
            yield (
                f'({{}} * Decimal("{a}") + Decimal("{b}"))',
                ("linear", "scale"),
                lambda x: x * slope + offset,
                f"{{}} times {a} plus {b}",
            )


def _factors(low: Decimal, high: Decimal) -> Iterator[_Formula]:
    if low <= 1 <= high or low <= 0 <= high:
        return
    for text, meaning in FACTORS.items():
        if low <= Decimal(text) <= high:
            yield _times(text, meaning)
        elif low <= 1 / Decimal(text) <= high:
            yield _divided(text, meaning)
    text = library.plain(_shortest(low, high))
    if len(text.strip("0.")) <= 12:
        yield f'({{}} * Decimal("{text}"))', ("linear",), lambda x: x * Decimal(text), f"{{}} times {text}"


def _times(text: str, meaning: str) -> _Formula:
    factor = Decimal(text)
    return f'({{}} * Decimal("{text}"))', ("convert",), lambda x: x * factor, f"{{}} times {text} ({meaning})"


def _divided(text: str, meaning: str) -> _Formula:
    factor = Decimal(text)
    return f'({{}} / Decimal("{text}"))', ("convert",), lambda x: x / factor, f"{{}} divided by {text} ({meaning})"


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

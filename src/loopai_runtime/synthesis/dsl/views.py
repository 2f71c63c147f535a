"""Parts of a text: tokens, fields between delimiters, what stands before, after or between landmarks.

A `View` is a part of the input that was found on every example: an answer, or the input of something else.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.dsl.costs import index_trait

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLASSES: list[tuple[str, str, str]] = [
    ("digits", r"\d+", "token"),
    ("number", r"\d+(?:[.,]\d+)*", "number"),
    ("signed number", r"-?\d+(?:[.,]\d+)*", "number"),
    ("run of letters", r"[^\W\d_]+", "token"),
    ("run of letters and digits", r"[^\W_]+", "token"),
    ("run of capitals", r"[A-Z]+", "capsword"),
    ("word in capitals", r"\b[A-Z]{2,}\b", "capsword"),
    ("capitalised word", r"[A-Z][a-z]+", "capsword"),
    ("run of small letters", r"[a-z]+", "capsword"),
]
COMPILED = {pattern: re.compile(pattern) for _, pattern, _ in CLASSES}
_PUNCTUATION = re.compile(r"\s*[^\w\s]+\s*|\s{2,}|_")
_WORD = re.compile(r"[^\W\d_]{2,}")
_MOST = 7
_LONG = 400


class View(NamedTuple):
    source: str
    values: tuple[str, ...]
    traits: tuple[str, ...]
    says: str


@lru_cache(maxsize=4096)
def quote(text: str) -> str:
    """A Python literal with double quotes where that reads well."""
    plain = repr(text)
    if plain[0] == "'" and '"' not in plain:
        return f'"{plain[1:-1]}"'
    return plain


def raw(pattern: str) -> str:
    """A pattern as a raw literal where it can be one."""
    if not pattern.isprintable() or pattern.endswith("\\"):
        return repr(pattern)
    if '"' not in pattern:
        return f'r"{pattern}"'
    return f"r'{pattern}'" if "'" not in pattern else repr(pattern)


def ordinal(at: int) -> str:
    if at < 0:
        return "last" if at == -1 else f"{ordinal(-at - 1)} from the end"
    return ["1st", "2nd", "3rd"][at] if at < 3 else f"{at + 1}th"


def delimiters(values: Sequence[str]) -> list[str]:
    """Marks and shared words that occur in every value, the commonest first."""
    first = min(values, key=len)[:_LONG]
    found: dict[str, None] = {}
    for match in _PUNCTUATION.finditer(first):
        text = match.group()
        for one in (text, text.strip(), text.lstrip(), text.rstrip()):
            if one:
                found[one] = None
        for letter in text.strip():
            found[letter] = None
    if len(values) > 1:
        for match in _WORD.finditer(first):
            found[match.group()] = None
            if not found.get(first[match.end() : match.end() + 1]):
                found[match.group() + first[match.end() : match.end() + 1]] = None
    if " " in first:
        found[" "] = None
    if "\n" in first:
        found["\n"] = None
    return [one for one in found if all(one in value for value in values)][:28]


def parts(source: str, values: Sequence[str], says: str, base: tuple[str, ...] = ()) -> Iterator[View]:
    """Every simple part of a text."""
    if not all(values):
        return
    yield from _tokens(source, values, says, base)
    marks = delimiters(values)
    yield from _fields(source, values, says, base, marks)
    yield from _between(source, values, says, base, marks)


def _indexed(lists: Sequence[Sequence[str]], source: str, says: str, traits: tuple[str, ...]) -> Iterator[View]:
    shortest = min(map(len, lists))
    equal = all(len(one) == shortest for one in lists)
    for at in range(min(shortest, _MOST)):
        values = tuple([one[at] for one in lists])
        yield View(f"{source}[{at}]", values, (*traits, index_trait(at)), f"the {ordinal(at)} {says}")
    for at in range(-1, -min(shortest, _MOST if not equal else 3) - 1, -1):
        values = tuple([one[at] for one in lists])
        yield View(f"{source}[{at}]", values, (*traits, index_trait(at), "from_end"), f"the {ordinal(at)} {says}")


def _tokens(source: str, values: Sequence[str], says: str, base: tuple[str, ...]) -> Iterator[View]:
    words = [value.split() for value in values]
    if any(len(one) > 1 for one in words):
        yield from _indexed(words, f"{source}.split()", f"word of {says}", (*base, "word"))
    seen = []
    for name, pattern, trait in CLASSES:
        find = COMPILED[pattern].findall
        lists = [find(value[:2000]) for value in values]
        if not all(lists) or lists in seen:
            continue
        seen.append(lists)
        if all(len(one) == 1 and one[0] == value for one, value in zip(lists, values, strict=True)):
            continue
        yield from _indexed(lists, f"re.findall({raw(pattern)}, {source})", f"{name} of {says}", (*base, trait))


def _fields(
    source: str, values: Sequence[str], says: str, base: tuple[str, ...], marks: Sequence[str]
) -> Iterator[View]:
    for mark in marks:
        if mark == " ":
            continue
        lists = [value.split(mark) for value in values]
        trait = "lines" if mark == "\n" else "split"
        named = f"field of {says}, split at {quote(mark)}"
        for view in _indexed(lists, f"{source}.split({quote(mark)})", named, (*base, trait)):
            yield view
            if any(value != value.strip() for value in view.values):
                stripped = tuple([value.strip() for value in view.values])
                yield View(
                    f"{view.source}.strip()",
                    stripped,
                    (*view.traits, "strip"),
                    f"{view.says}, without outer spaces",
                )
    for mark in marks:
        heads = [value.partition(mark)[2] for value in values]
        if any(mark in head for head in heads):
            yield View(
                f"{source}.partition({quote(mark)})[2]",
                tuple(heads),
                (*base, "after"),
                f"what follows the first {quote(mark)} of {says}",
            )
            heads = [value.rpartition(mark)[0] for value in values]
            yield View(
                f"{source}.rpartition({quote(mark)})[0]",
                tuple(heads),
                (*base, "before"),
                f"what comes before the last {quote(mark)} of {says}",
            )


def _between(
    source: str, values: Sequence[str], says: str, base: tuple[str, ...], marks: Sequence[str]
) -> Iterator[View]:
    for mark in marks:
        tails = [value.partition(mark)[2] for value in values]
        for name, place, texts in (
            ("first", f"partition({quote(mark)})[2]", tails),
            ("last", f"rpartition({quote(mark)})[2]", [value.rpartition(mark)[2] for value in values]),
        ):
            if name == "last" and texts == tails:
                continue
            for end in marks:
                if end == mark or not all(end in text for text in texts):
                    continue
                found = tuple([text.partition(end)[0] for text in texts])
                traits = (*base, "between") if name == "first" else (*base, "between", "from_end")
                says_it = f"what stands between the {name} {quote(mark)} of {says} and the next {quote(end)}"
                yield View(f"{source}.{place}.partition({quote(end)})[0]", found, traits, says_it)
                if any(one != one.strip() for one in found):
                    yield View(
                        f"{source}.{place}.partition({quote(end)})[0].strip()",
                        tuple([one.strip() for one in found]),
                        (*traits, "strip"),
                        says_it,
                    )

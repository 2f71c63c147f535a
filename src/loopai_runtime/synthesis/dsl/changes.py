"""Changes to a text: case, padding, trimming, deleting and replacing characters, initials, joins of its words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.views import CLASSES, COMPILED, View, quote, raw

if TYPE_CHECKING:
    from loopai_runtime.synthesis.dsl.atoms import Pool

Change = tuple[str, tuple[str, ...], Callable[[str], str], str]
"""Source with {} for the text, traits, what it does, in words."""

_CASE: list[Change] = [
    ("{}.lower()", ("case",), str.lower, "{} in small letters"),
    ("{}.upper()", ("case",), str.upper, "{} in capitals"),
    ("{}.title()", ("case",), str.title, "{} with every word capitalised"),
    ("{}.capitalize()", ("case",), str.capitalize, "{} with its first letter a capital and the others small"),
]


def _slice(code: str, trait: str, part: slice, says: str) -> Change:
    return f"{{}}[{code}]", (trait,), lambda text: text[part], says


_CUT: list[Change] = [
    _slice(":1", "first", slice(1), "the first letter of {}"),
    *[_slice(f":{k}", "firstk", slice(k), f"the first {k} characters of {{}}") for k in range(2, 7)],
    *[_slice(f"-{k}:", "lastk", slice(-k, None), f"the last {k} characters of {{}}") for k in range(1, 7)],
    *[_slice(f"{k}:", "drop", slice(k, None), f"{{}} without its first {k} characters") for k in range(1, 4)],
    *[_slice(f":-{k}", "drop", slice(-k), f"{{}} without its last {k} characters") for k in range(1, 4)],
]
_TIDY: list[Change] = [
    ("{}.strip()", ("strip",), str.strip, "{} without outer spaces"),
    ('" ".join({}.split())', ("spaces",), lambda text: " ".join(text.split()), "{} with single spaces"),
    ('{}.lstrip("0")', ("zeros",), lambda text: text.lstrip("0"), "{} without leading zeros"),
    ('{}.strip("\\"\'")', ("trim",), lambda text: text.strip("\"'"), "{} without outer quotes"),
    ('{}.strip(".,;:")', ("trim",), lambda text: text.strip(".,;:"), "{} without outer punctuation"),
    (
        '{}.rstrip("0").rstrip(".")',
        ("zeros", "trim"),
        lambda t: t.rstrip("0").rstrip("."),
        "{} without closing zeros",
    ),
    ("{}[::-1]", ("reverse",), lambda text: text[::-1], "{} backwards"),
]
_FOREIGN: list[Change] = [
    ("plain_digits({})", ("wrap",), library.plain_digits, "{} with its digits as 0 to 9"),
    ("without_accents({})", ("wrap",), library.without_accents, "{} without accents"),
]
_DELETED: list[tuple[str, str]] = [
    (r"\D", "all but its digits"),
    (r"\d", "its digits"),
    (r"\s", "its white space"),
    (r"[^\w\s]", "its punctuation"),
    (r"[^\w\s-]", "its punctuation but for hyphens"),
    (r"[\W_]", "all but letters and digits"),
    (r"[\W\d_]", "all but its letters"),
    (r"[^a-z]", "all but small letters"),
    (r"[^A-Z]", "all but capitals"),
    (r"<[^>]*>", "its tags"),
    (r"[^\d.]", "all but digits and points"),
    (r"[^\d.-]", "all but digits, points and minus signs"),
    (r"\([^)]*\)", "what it has in brackets"),
]


def _delete(pattern: str, name: str) -> Change:
    matcher = re.compile(pattern)
    return (
        f're.sub({_escape(raw(pattern))}, "", {{}})',
        ("delete",),
        lambda text: matcher.sub("", text),
        f"{{}} without {name}",
    )


def _replace(mark: str, other: str) -> Change:
    old, new = _escape(quote(mark)), _escape(quote(other))
    says = f"{{}} with {old} replaced by {new}" if other else f"{{}} without {old}"
    return f"{{}}.replace({old}, {new})", ("replace",), lambda text: text.replace(mark, other), says


def _rejoin(sep: str) -> Change:
    mark = _escape(quote(sep))
    return (
        f"{mark}.join({{}}.split())",
        ("replace", "spaces"),
        lambda text: sep.join(text.split()),
        f"{{}} with its words joined by {mark}",
    )


def _zeros(width: int) -> Change:
    return f"{{}}.zfill({width})", ("zeros",), lambda text: text.zfill(width), f"{{}} with zeros to {width} digits"


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


_DELETES = [_delete(pattern, name) for pattern, name in _DELETED]


def replacements(values: Sequence[str], outputs: Sequence[str]) -> Iterator[Change]:
    """Marks of the input that the outputs have not: dropped, or replaced by what only the outputs have."""
    written = {c for c in outputs[0] if not c.isalnum()} | {"", " ", "-"}
    for mark in sorted({c for c in values[0] if not c.isalnum()}):
        for other in sorted(written - {mark}):
            yield _replace(mark, other)
    for sep in sorted(written - {" "}):
        yield _rejoin(sep)


def paddings(outputs: Sequence[str]) -> Iterator[Change]:
    """Leading zeros up to a width that a number in the outputs has, spaces up to a width of the outputs."""
    for width in sorted({len(run) for run in re.findall(r"\d+", outputs[0])} & set(range(2, 20))):
        yield _zeros(width)
    width = len(outputs[0])
    if any(len(output) != width for output in outputs) or not (
        outputs[0].strip() != outputs[0] or "  " in outputs[0]
    ):
        return
    yield (
        f"{{}}.rjust({width})",
        ("pad",),
        lambda text: text.rjust(width),
        f"{{}} with spaces before it to {width} characters",
    )
    yield (
        f"{{}}.ljust({width})",
        ("pad",),
        lambda text: text.ljust(width),
        f"{{}} with spaces after it to {width} characters",
    )


def change(pool: Pool, views: Sequence[View], depth: int) -> list[View]:
    """Offer every change of every view; what is not yet an answer may be changed again."""
    outputs = pool.outputs
    pads = list(paddings(outputs))
    made: dict[tuple[str, ...], View] = {}
    known = {view.values for view in views}
    for view in views:
        foreign = () if all(map(str.isascii, view.values)) else _FOREIGN
        changes = [*foreign, *_CASE, *_CUT, *_TIDY, *_DELETES, *pads, *replacements(view.values, outputs)]
        for source, traits, function, says in changes:
            values = []
            useful = fits = True
            for value, output in zip(view.values, outputs, strict=True):
                got = function(value)
                if not got:
                    useful = fits = False
                    break
                values.append(got)
                if fits and got not in output:
                    fits = False
                    if depth <= 1:
                        useful = False
                        break
            if not useful or (key := tuple(values)) == view.values:
                continue
            if (not fits and key in made) or (key in known and not fits):
                continue
            code = source.format(view.source)
            one = View(code, key, (*view.traits, *traits), says.format(view.says))
            if fits:
                pool.add(key, one.traits, code, one.says)
            if depth > 1:
                made.setdefault(key, one)
    return list(made.values())


_EACH: list[tuple[str, tuple[str, ...], Callable[[str], str], str]] = [
    ("{}", (), lambda word: word, "{}s"),
    ("{}[0]", ("first",), lambda word: word[0], "first letters of the {}s"),
    ("{}[0].upper()", ("first", "case"), lambda word: word[0].upper(), "first letters, as capitals, of the {}s"),
    ("{}[0].lower()", ("first", "case"), lambda word: word[0].lower(), "first letters, made small, of the {}s"),
    ("{}.capitalize()", ("case",), str.capitalize, "{}s, each capitalised"),
    ("{}.lower()", ("case",), str.lower, "{}s, in small letters"),
    ("{}.upper()", ("case",), str.upper, "{}s, in capitals"),
]
_SOME: list[tuple[str, tuple[str, ...], slice, str]] = [
    ("", (), slice(None), "all"),
    ("[1:]", ("some",), slice(1, None), "all but the first"),
    ("[:-1]", ("some",), slice(None, -1), "all but the last"),
    ("[:2]", ("some",), slice(None, 2), "the first two"),
    ("[2:]", ("some", "some"), slice(2, None), "all but the first two"),
    ("[-2:]", ("some",), slice(-2, None), "the last two"),
    ("[:3]", ("some", "some"), slice(None, 3), "the first three"),
    ("[1:-1]", ("some", "some"), slice(1, -1), "all but the first and the last"),
    ("[::-1]", ("reverse",), slice(None, None, -1), "all, in reverse order,"),
]


def joins(pool: Pool, source: str, values: Sequence[str], says: str, marks: Sequence[str]) -> None:
    """Offer the words of a text (or some, or their initials), joined by something else."""
    lists: list[tuple[str, list[list[str]], str, str]] = [
        (f"{source}.split()", [v.split() for v in values], "word", "word")
    ]
    for name, pattern, trait in CLASSES:
        lists.append(
            (f"re.findall({raw(pattern)}, {source})", [COMPILED[pattern].findall(v) for v in values], name, trait)
        )
    for mark in marks:
        if mark == " ":
            continue
        lists.append(
            (
                f"{source}.split({quote(mark)})",
                [v.split(mark) for v in values],
                f"field (split at {quote(mark)})",
                "split",
            )
        )
        if len(mark) == 1 and not mark.isalnum():
            pattern = re.escape(mark) + "+"
            lists.append(
                (
                    f"re.findall({raw(pattern)}, {source})",
                    [re.findall(pattern, v) for v in values],
                    f"run of {quote(mark)}",
                    "token",
                )
            )
    seps = [
        "",
        *sorted(
            set(re.findall(r"[^\w]{1,2}|_", pool.outputs[0])) | {m for m in pool.outputs[0] if not m.isalnum()}
        ),
    ]
    for code, words, name, trait in lists:
        if max(map(len, words)) < 2 or not all(words):
            continue
        for some_code, some_traits, some, some_says in _SOME:
            chosen = [one[some] for one in words]
            if not all(chosen):
                continue
            for each_code, each_traits, each, each_says in _EACH:
                if chosen[0] and not each_works(chosen[0], each, pool.outputs[0]):
                    continue
                changed = [[each(word) for word in one if word] for one in chosen]
                for sep in seps:
                    found = [sep.join(one) for one in changed]
                    if not pool.fits(found):
                        continue
                    inner = f"{code}{some_code}"
                    items = (
                        inner if each_code == "{}" else f"{each_code.format('word')} for word in {inner} if word"
                    )
                    pool.add(
                        found,
                        ("join", trait, *some_traits, *each_traits),
                        f"{quote(sep)}.join({items})",
                        f"{some_says} {each_says.format(name)} of {says}, joined by {quote(sep)}",
                    )


def each_works(words: Sequence[str], each: Callable[[str], str], output: str) -> bool:
    return all(each(word) in output for word in words if word)


def across(pool: Pool, names: Sequence[str], rows: Sequence[dict[str, str]]) -> Iterator[View]:
    """What several columns give together: one without what stands in another, all that are not empty joined."""
    for name in names:
        for other in names:
            if name == other or not all(row[other] and row[other] in row[name] for row in rows):
                continue
            for code, count, how in (
                (f'{name}.replace({other}, "")', -1, "wherever"),
                (f'{name}.replace({other}, "", 1)', 1, "where first"),
            ):
                values = tuple([row[name].replace(row[other], "", count) for row in rows])
                traits = ("column", "columns", *(("index1",) if count > 0 else ()))
                yield View(code, values, traits, f"{name} without {other}, {how} it occurs in it")
            yield View(
                f"{name}.partition({other})[0]",
                tuple([row[name].partition(row[other])[0] for row in rows]),
                ("column", "columns", "index1"),
                f"what stands before {other} in {name}",
            )
            yield View(
                f"{name}.partition({other})[2]",
                tuple([row[name].partition(row[other])[2] for row in rows]),
                ("column", "columns", "index1"),
                f"what follows {other} in {name}",
            )
    if len(names) > 1:
        for sep in sorted(set(re.findall(r"[^\w]{1,2}", pool.outputs[0])) | {"", " "}):
            joined = [sep.join(value for value in row.values() if value) for row in rows]
            if pool.fits(joined):
                code = f"{quote(sep)}.join(part for part in ({', '.join(names)}) if part)"
                pool.add(joined, ("columns", "join"), code, f"all that are not empty, joined by {quote(sep)}")

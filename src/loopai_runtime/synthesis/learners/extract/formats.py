"""Whole-text formats: what a person would write as one regular expression with a group a field.

Each example says which of its fields stand where, hence what stands between them. Examples whose separators
have the same skeleton (spaces, signs, some word, some number) share a format; its literals are the words that
all of them have, and its groups the tightest classes that hold all values. A value that stands in several places
gives several skeletons: the one that explains most examples wins (a greedy cover, Chvatal 1979). The idea of a
page template with slots is that of Crescenzi et al. (RoadRunner, 2001).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from loopai_runtime.synthesis.learners.extract.locate import Span, whole
from loopai_runtime.synthesis.learners.extract.recognise import literal
from loopai_runtime.synthesis.privacy import ANYTHING, Admission

Places: TypeAlias = Mapping[int, Sequence[Span]]
Member: TypeAlias = tuple[str, list[Span]]
Skeleton: TypeAlias = tuple[tuple[int, ...], tuple[tuple[str, ...], ...]]

MOST_READINGS = 48  # of one example
MOST_PIECES = 14  # of a separator; more is text, not a format
SAMPLE = 400
_PIECE = re.compile(r"\s+|\d+|[^\W\d_]+|[\W_]")
_LOOSE = re.compile(r">(?:\.|\[\^)")
LEVELS = ("tight", "wide")


class Example(NamedTuple):
    """A text, and for each of its fields the places where its value stands."""

    text: str
    places: Places


@dataclass(frozen=True)
class Format:
    """A regular expression of named groups; `right` and `wrong` count examples that it read."""

    pattern: str
    fields: tuple[int, ...]
    right: int = 0
    wrong: int = 0
    compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", re.compile(self.pattern, re.DOTALL))

    @property
    def certainty(self) -> float:
        """The log odds of reading an example rightly."""
        return round(math.log((self.right + 0.5) / (self.wrong + 0.5)), 3)

    def read(self, text: str) -> dict[int, str] | None:
        found = self.compiled.fullmatch(text)
        return {at: found[f"f{at}"] for at in self.fields} if found else None


def learn(examples: Sequence[Example], admission: Admission = ANYTHING) -> list[Format]:
    """The formats that the examples have, in the order in which they are to be tried.

    A format whose words and numbers are not admitted has none; nor has one of too few examples.
    """
    examples = examples[:SAMPLE]
    groups = _cover(examples)
    formats: dict[str, Format] = {}
    for level in LEVELS:
        for skeleton, members in groups:
            shown = [(examples[row].text, spans) for row, spans in members]
            made = _admitted(skeleton, shown, level, admission)
            usual = _admitted(skeleton, _typical(shown), level, admission)
            looser = usual and made and len(_LOOSE.findall(usual.pattern)) < len(_LOOSE.findall(made.pattern))
            if usual and level == "tight" and looser:
                formats.setdefault(usual.pattern, usual)
            if made:
                formats.setdefault(made.pattern, made)
    ranked = sorted(formats.values(), key=lambda one: _rank(_judge(one, examples)))
    kept: list[Format] = []
    left = list(examples)
    for one in ranked:
        judged = _judge(one, left)
        if judged.right > judged.wrong or (judged.wrong == 0 and _judge(one, examples).right):
            kept.append(judged if judged.right else _judge(one, examples))
            left = [example for example in left if one.read(example.text) is None]
    return kept


def _typical(members: Sequence[Member]) -> Sequence[Member]:
    """The members whose values all look like most: where a rare value widens a class, theirs holds."""
    looks = [tuple(tightest([text[slice(*span)]]) for span in spans[:-1]) for text, spans in members]
    usual = Counter(looks).most_common(1)[0][0]
    return [member for member, look in zip(members, looks, strict=True) if look == usual]


def _rank(one: Format) -> tuple[float, int]:
    """Those that read little wrongly come first: others see only what these leave."""
    return one.wrong / max(1, one.right + one.wrong), -len(one.fields)


def _judge(one: Format, examples: Sequence[Example]) -> Format:
    right = wrong = 0
    for text, places in examples:
        read = one.read(text)
        if read is not None:
            good = set(read) == set(places) and all(
                any(text[a:b] == value for a, b in places[at]) for at, value in read.items()
            )
            right, wrong = right + good, wrong + (not good)
    return Format(one.pattern, one.fields, right, wrong)


def _cover(examples: Sequence[Example]) -> list[tuple[Skeleton, list[tuple[int, list[Span]]]]]:
    """Skeletons, each with the examples that it explains, the one that explains most first."""
    having: dict[Skeleton, dict[int, list[Span]]] = defaultdict(dict)
    for row, (text, places) in enumerate(examples):
        for order, spans in _readings(text, places):
            skeleton = (order, _skeleton(text, spans))
            if all(len(part) <= MOST_PIECES for part in skeleton[1]):
                having[skeleton].setdefault(row, spans)
    left = {row for rows in having.values() for row in rows}
    groups = []
    while left:
        best = max(having, key=lambda one: (len(left & set(having[one])), -sum(map(len, one[1])), _first(one)))
        members = [(row, spans) for row, spans in having[best].items() if row in left]
        if not members:
            break
        groups.append((best, members))
        left -= {row for row, _ in members}
    return groups


def _first(skeleton: Skeleton) -> tuple[int, ...]:
    """Fields in the order of the output are the likelier reading."""
    return tuple(-at for at in skeleton[0])


def _readings(text: str, places: Places) -> Iterator[tuple[tuple[int, ...], list[Span]]]:
    """Ways to give each field a place of its own, as the fields in the order of the text and their spans."""
    fields = sorted(places, key=lambda at: (-max((b - a for a, b in places[at]), default=0), len(places[at]), at))
    if not all(places[at] for at in fields):
        return
    count = 0
    stack: list[tuple[int, list[tuple[Span, int]]]] = [(0, [])]
    while stack and count < MOST_READINGS:
        depth, chosen = stack.pop()
        if depth == len(fields):
            count += 1
            chosen.sort()
            yield tuple(at for _, at in chosen), [span for span, _ in chosen]
            continue
        free = [
            span
            for span in places[fields[depth]]
            if all(span.end <= other.start or span.start >= other.end for other, _ in chosen)
        ]
        free = [span for span in free if whole(text, span)] or free
        stack.extend((depth + 1, [*chosen, (span, fields[depth])]) for span in reversed(free[:5]))


def _between(text: str, spans: Sequence[Span]) -> list[str]:
    ends = [0, *[span.end for span in spans]]
    starts = [*[span.start for span in spans], len(text)]
    return [text[a:b] for a, b in zip(ends, starts, strict=True)]


def _skeleton(text: str, spans: Sequence[Span]) -> tuple[tuple[str, ...], ...]:
    parts = [tuple(map(_class_of, _PIECE.findall(part))) for part in _between(text, spans)]
    return (*parts[:-1], () if parts[-1] == (" ",) else parts[-1])


def _class_of(piece: str) -> str:
    return " " if piece.isspace() else "0" if piece.isdecimal() else "a" if piece.isalpha() else piece


def _admitted(skeleton: Skeleton, members: Sequence[Member], level: str, admission: Admission) -> Format | None:
    """The members' format, without its words and numbers where they are not admitted; None if signs are not."""
    known = len({text for text, _ in members}) >= admission.least
    for words in (True, False) if known else (False,):
        made = _format(skeleton, members, level, words)
        if admission.admits(made.pattern):
            return made
    return None


def _format(skeleton: Skeleton, members: Sequence[Member], level: str, words: bool) -> Format:
    """What the members have in common; `words`: the words and numbers that all have stand as they are."""
    order, classes = skeleton
    rows = [_between(text, spans) for text, spans in members]
    separators = [_separator([row[at] for row in rows], shown, level, words) for at, shown in enumerate(classes)]
    groups = []
    for at in range(len(order)):
        values = [text[slice(*spans[at])] for text, spans in members]
        groups.append(_group(values, classes[at + 1], level, at == len(order) - 1 and not classes[at + 1]))
    separators[-1] = separators[-1] or r"\s*"
    return Format(_joined(order, groups, separators, classes), tuple(sorted(order)))


def _joined(
    order: Sequence[int], groups: Sequence[str], separators: Sequence[str], classes: Sequence[Sequence[str]]
) -> str:
    """The groups between their separators.

    If several groups could end in many places, trying all of them would take time that grows with a power of the
    text's length: each but the last takes the first place after which what is fixed fits, and no other.
    """
    open_ends = [at for at, group in enumerate(groups) if _could_go_on(group, classes[at + 1])]
    out = [separators[0]]
    for at, group in enumerate(groups):
        named = f"(?P<f{order[at]}>{group})"
        if at in open_ends[:-1]:
            last = open_ends[open_ends.index(at) + 1]
            fixed = "".join(
                a + b for a, b in zip(separators[at + 1 : last + 1], [*groups[at + 1 : last], ""], strict=True)
            )
            named = f"(?={named}{fixed})(?P=f{order[at]})"
        out += [named, separators[at + 1]]
    return "".join(out)


_LAST = re.compile(r"(\[\^?[^\]]*\]|\\.|\.)[*+]\??$")
_LIKE = {" ": " ", "0": "0", "a": "aAé"}


def _could_go_on(group: str, after: Sequence[str]) -> bool:
    """Whether what stands after a group could be part of it as well."""
    repeated = _LAST.search(group)
    if repeated is None:
        return False
    return not after or any(re.match(repeated[1], sign, re.DOTALL) for sign in _LIKE.get(after[0], after[0]))


def _separator(texts: Sequence[str], classes: Sequence[str], level: str, words: bool) -> str:
    """What stands between two fields: signs and common words as they are, spaces and other words by class."""
    if not classes:
        return ""
    columns = zip(*[_PIECE.findall(text) for text in texts], strict=True)
    out = []
    for shape, column in zip(classes, columns, strict=True):
        same = len(set(column)) == 1
        if shape == " ":
            out.append(" " if same and column[0] == " " and level == "tight" else r"\s+")
        elif same and (words or shape not in "0a") and not (shape == "0" and len(column) < 3):
            out.append(literal(column[0]))
        else:
            out.append(r"\d+" if shape == "0" else r"[^\W\d_]+")
    return "".join(out)


CLASSES = (r"\d+", r"[A-Z]+", r"[a-z]+", r"[A-Za-z]+", r"\w+", r"[\w.-]+", r"\S+")


def tightest(values: Sequence[str]) -> str:
    """The narrowest class of characters that holds all values; "" if they contain spaces."""
    for known in CLASSES:
        if all(re.fullmatch(known, value) for value in values):
            return known
    return ""


def _group(values: Sequence[str], after: Sequence[str], level: str, last: bool) -> str:
    if last:
        return r"\S.*?" if not any(value[0].isspace() for value in values) else ".+?"
    if level == "tight" and (narrow := tightest(values) or _spaced(values)):
        return narrow
    spaceless = all(not any(c.isspace() for c in value) for value in values)
    if after and after[0] not in (" ", "0", "a"):
        stop = after[0]
        if all(stop not in value for value in values):
            return f"[^{re.escape(stop)}]+"
    return r"\S+?" if spaceless and level == "wide" else ".+?"


def _spaced(values: Sequence[str]) -> str:
    """Values of several words that all have the same shape, such as dates."""
    shapes = Counter(tuple(map(_class_of, _PIECE.findall(value))) for value in values)
    if len(shapes) > 1 or len(values) < 3:
        return ""
    known = {" ": r"\s+", "0": r"\d+", "a": r"[^\W\d_]+"}
    (shape,) = shapes
    return "".join(known.get(piece) or literal(piece) for piece in shape) if len(shape) <= MOST_PIECES else ""

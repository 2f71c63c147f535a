"""Rules for one field: what it looks like, and what stands before and after it.

A rule is a regular expression with one group and a place among its matches. Left and right contexts are
generalised from the examples (landmarks, as in STALKER: Muslea, Minton and Knoblock 1999); the class between
them is a recogniser's or the tightest that holds the value. A list's items are all matches, or the parts of one.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.learners.extract.formats import tightest
from loopai_runtime.synthesis.learners.extract.locate import Change, Span
from loopai_runtime.synthesis.learners.extract.recognise import RECOGNISERS, literal
from loopai_runtime.synthesis.privacy import ANYTHING, Admission

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LEARNED = 40  # examples that contexts are taken from
FIRST = 40  # that every rule is tried on; the best go on
FINALISTS = 16
JUDGED = 300
KEPT = 120
ROOM = 4  # how many times as long as the longest known a value may be, or LEAST_ROOM characters
LEAST_ROOM = 200
_PIECE = re.compile(r"\s+|\d+|[^\W\d_]+|[\W_]")


class Sample(NamedTuple):
    """A text, the values that are wanted of it, and the places of each."""

    text: str
    values: list[object]
    places: Sequence[Sequence[Span]]


@dataclass(frozen=True)
class Rule:
    """`place` among the matches (None: all of them); a list in one piece is cut at `cut`."""

    pattern: str
    place: int | None
    cut: str = ""
    named: str = ""
    cost: int = 0
    compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", re.compile(self.pattern, re.DOTALL))

    def read(self, text: str) -> list[str]:
        return self.pick(self.compiled.findall(text))

    def pick(self, found: list[str]) -> list[str]:
        """The wanted ones of all matches."""
        if self.place is None:
            return found
        if not -len(found) <= self.place < len(found):
            return []
        one = found[self.place]
        return [part for part in re.split(self.cut, one) if part] if self.cut else [one]


def learn(samples: Sequence[Sample], change: Change, many: bool, admission: Admission = ANYTHING) -> Rule | None:
    """The rule that gives most samples what they want, of those that are admitted; of equals the simplest."""
    candidates = list(_parts(samples, admission)) if many else []
    candidates += _candidates([(s.text, place) for s in samples for place in s.places], many, admission)
    rules = _best(candidates, samples[:FIRST], change)
    rules = _best([[rule] for _, rule in rules[:FINALISTS]], samples[:JUDGED], change)
    return rules[0][1] if rules else None


def _best(
    candidates: Sequence[Sequence[Rule]], samples: Sequence[Sample], change: Change
) -> list[tuple[int, Rule]]:
    """Rules with how many samples they read rightly, the best first."""
    judged = []
    for group in candidates:
        found = [group[0].compiled.findall(sample.text) for sample in samples]
        for rule in group:
            hits = 0
            for texts, sample in zip(found, samples, strict=True):
                hits += [change.of(text) for text in rule.pick(texts)] == sample.values
            judged.append((hits, rule))
    return sorted(judged, key=lambda pair: (-pair[0], pair[1].cost))


def _candidates(spans: Sequence[tuple[str, Sequence[Span]]], many: bool, admission: Admission) -> list[list[Rule]]:
    """Rules of one pattern each, those that the examples suggest most often first."""
    seen: Counter[tuple[str, str, int]] = Counter()
    support: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
    shown = [(text, places[:3]) for text, places in spans if places][:LEARNED]
    most = max([LEAST_ROOM, *[ROOM * (b - a) for _, places in shown for a, b in places]])
    for text, places in shown:
        for suggestion in {one for span in places for one in _suggestions(text, span, most)}:
            seen[suggestion] += 1
            support[suggestion].add(text)
    ranked = sorted(seen.items(), key=lambda item: (-item[1], item[0][2], item[0]))
    admitted = (one for one in ranked if len(support[one[0]]) >= admission.least and admission.admits(one[0][0]))
    kept = list(itertools.islice(admitted, KEPT))
    places_of: tuple[tuple[int | None, int], ...] = ((None, 0),) if many else ((0, 0), (-1, 1), (1, 2))
    return [
        [Rule(_once(pattern), place, named=name, cost=cost + more) for place, more in places_of]
        for (pattern, name, cost), _ in kept
    ]


def _once(pattern: str) -> str:
    """The pattern, looking at each run of spaces, digits or the like once, from its beginning."""
    pattern = re.sub(r"(^|\(\?=)(\\[sd])\+", r"\1(?<!\2)\2+", pattern)
    return re.sub(r"^\((\\\w|\[[^\]]+\])\+\)", r"(?<!\1)(\1+)", pattern)


def _suggestions(text: str, span: Span, most: int) -> Iterator[tuple[str, str, int]]:
    """Patterns that find this span, with what they are called and what they cost.

    Where what comes after may be missing, anything is at most `most` characters: a text that has what comes before
    many times would take time that grows with the square of its length.
    """
    value = text[slice(*span)]
    things = [(known, name) for name, known in RECOGNISERS.items() if re.fullmatch(known, value)][:2]
    classes = [(f"(?:{known})", name, later) for later, (known, name) in enumerate(things)]
    tight = tightest([value])
    classes += [(tight, "", 2)] if tight else []
    classes += [("", "", 5)]
    for left, left_cost in _lefts(text[: span.start]):
        for right, right_cost in _rights(text[span.end :]):
            for inner, name, cost in classes:
                if not inner and not (left and right):
                    continue
                bare = 4 if not left and not name else 0
                found = inner or (".+?" if right in _ALWAYS else f".{{1,{most}}}?")
                yield f"{left}({found}){right}", name, cost + left_cost + right_cost + bare


def _lefts(text: str) -> Iterator[tuple[str, int]]:
    yield "", 0
    pieces = _PIECE.findall(text[-80:])
    for size in range(1, min(5, len(pieces) + 1)):
        yield _general(pieces[-size:]), size
    if not pieces:
        yield "^", 1
    if text.endswith("\n"):
        yield r"(?:^|\n)", 2
    words = text.split()
    if 0 < len(words) <= 8 and text[-1:].isspace():
        yield rf"^\s*(?:\S+\s+){{{len(words)}}}", 2


_TEXT_END, _LINE_END = r"(?=\s*$)", r"(?=[ \t\r]*(?:\n|$))"
_ALWAYS = (_TEXT_END, _LINE_END)
"""What comes after every place of a text."""


def _rights(text: str) -> Iterator[tuple[str, int]]:
    yield "", 0
    pieces = _PIECE.findall(text[:80])
    for size in range(1, min(4, len(pieces) + 1)):
        yield f"(?={_general(pieces[:size])})", size
    if not text.strip():
        yield _TEXT_END, 1
    if text.lstrip(" \t\r")[:1] in ("", "\n"):
        yield _LINE_END, 2


def _general(pieces: Sequence[str]) -> str:
    """Context as a pattern: spaces and numbers by class, words and signs as they are."""
    out = []
    for at, piece in enumerate(pieces):
        if piece.isspace():
            out.append(r"\n\s*" if "\n" in piece else r"\s+")
        elif piece.isdecimal():
            out.append(r"\d+")
        else:
            out.append((r"\b" if at == 0 and piece.isalpha() else "") + literal(piece))
    return "".join(out)


def _parts(samples: Sequence[Sample], admission: Admission) -> Iterator[list[Rule]]:
    """Rules that find a list as one piece and cut it."""
    regions, cuts = [], defaultdict[str, list[str]](list)
    for text, _values, places in samples:
        if not places or not all(places):
            continue
        spans = _in_order(places)
        if spans is None:
            continue
        regions.append((text, [Span(spans[0].start, spans[-1].end)]))
        for a, b in itertools.pairwise(spans):
            cuts[_general(_PIECE.findall(text[a.end : b.start]))].append(text)
    usual = sorted(cuts, key=lambda one: -len(cuts[one]))[:3]
    kept = [one for one in usual if one and len(set(cuts[one])) >= admission.least and admission.admits(one)]
    if not kept:
        return
    cut = "|".join(sorted(kept, key=len, reverse=True))
    for group in _candidates(regions, False, admission):
        yield [Rule(rule.pattern, rule.place, cut, cost=rule.cost + 1) for rule in group]


def _in_order(places: Sequence[Sequence[Span]]) -> list[Span] | None:
    """A place for each item, one after the other."""
    spans: list[Span] = []
    for options in places:
        after = [span for span in options if not spans or span.start >= spans[-1].end]
        if not after:
            return None
        spans.append(min(after))
    return spans

"""Lists of objects: where one record ends and the next begins, and what is read inside of each.

What stands between the values of neighbouring records suggests where to cut (landmarks, as in STALKER: Muslea,
Minton and Knoblock 1999). Each piece that an example's record was found in then is an example of its own, from
which its fields are learned as those of any text; a piece that lacks a field that every record has is none.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.learners.extract import formats, landmarks, locate
from loopai_runtime.synthesis.learners.extract.leaves import shape_of
from loopai_runtime.synthesis.learners.extract.locate import AS_IT_STANDS, Source, Span
from loopai_runtime.synthesis.learners.extract.recognise import literal
from loopai_runtime.synthesis.privacy import ANYTHING, Admission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loopai_runtime.synthesis.learners.extract.extraction import Extraction
    from loopai_runtime.synthesis.learners.extract.landmarks import Rule
    from loopai_runtime.synthesis.learners.extract.leaves import JSON, Leaf, Shape

    Fit = Callable[[Sequence[str], Sequence[JSON]], Extraction]

LEARNED = 60  # examples that boundaries and records are learned from
_PIECE = re.compile(r"[^\W\d_]+|[^\w\s]|\n")


class Sample(NamedTuple):
    """A text and the objects that are wanted of it."""

    text: str
    wanted: list[JSON]


@dataclass(frozen=True)
class Records:
    """`region` finds the part of a text that is cut at `cut`; `inner` reads a piece, if `strict` by a format."""

    cut: str
    region: Rule | None
    inner: Extraction
    strict: bool

    @property
    def required(self) -> list[str]:
        """The fields that every record has."""
        leaves = self.inner.shape.leaves
        return [leaf.name for leaf in leaves if not leaf.optional] or [leaves[0].name]

    def read(self, text: str) -> list[JSON]:
        """The records of a text."""
        return [
            record for piece in _cut(text, self.cut, self.region) if (record := self._record(piece)) is not None
        ]

    def _record(self, piece: str) -> JSON | None:
        if self.strict and not any(one.read(piece) for one in self.inner.formats.get(0, ())):
            return None
        values = [one.value for one in self.inner.read([piece])]
        named = {leaf.name: value for leaf, value in zip(self.inner.shape.leaves, values, strict=True)}
        if any(named[name] is None for name in self.required):
            return None
        return self.inner.shape.assemble(values)


def source_of(leaf: Leaf, texts: Sequence[Sequence[str]], outputs: Sequence[JSON]) -> Source | None:
    """The text in which most of what the records say stands."""
    found: Counter[int] = Counter()
    for row, output in zip(texts[: locate.SAMPLE], outputs, strict=False):
        values = [str(value) for record in leaf.values(output) for value in record.values() if value is not None]
        found.update({at: sum(value in text for value in values) for at, text in enumerate(row)})
    return Source(found.most_common(1)[0][0], AS_IT_STANDS, 0.0) if any(found.values()) else None


def learn(
    samples: Sequence[Sample], schema: dict[str, JSON], fit: Fit, admission: Admission = ANYTHING
) -> Records | None:
    """The records that explain most samples; `fit` learns to read one piece."""
    samples = samples[:LEARNED]
    finder = _Finder(samples, schema, admission)
    cut, region = max(finder.boundaries(), key=lambda one: finder.worth(*one))
    pairs = finder.pairs(cut, region)
    if not pairs:
        return None
    inner = fit([piece for piece, _ in pairs], [record for _, record in pairs])
    tried = [Records(cut, region, inner, strict) for strict in ((True, False) if inner.formats else (False,))]
    return max(tried, key=lambda one: sum(one.read(text) == wanted for text, wanted in samples))


class _Finder:
    """Finds the records of samples in their texts."""

    def __init__(self, samples: Sequence[Sample], schema: dict[str, JSON], admission: Admission) -> None:
        self._samples = samples
        self._admission = admission
        told = [(sample.text, record) for sample in samples for record in sample.wanted]
        self._shape: Shape = shape_of([record for _, record in told], schema)
        texts, records = [[text] for text, _ in told], [record for _, record in told]
        sources = [locate.source_of(leaf, texts, records) for leaf in self._shape.leaves]
        self._known = [(leaf, s.change) for leaf, s in zip(self._shape.leaves, sources, strict=True) if s]
        self._spans = [self._in_order(sample) for sample in samples]

    def _in_order(self, sample: Sample) -> list[Span]:
        """For each record the part of the text from its first value to its last; none if any is not found."""
        spans: list[Span] = []
        for record in sample.wanted:
            end = spans[-1].end if spans else 0
            found = []
            for leaf, change in self._known:
                for value in leaf.values(record):
                    places = [span for span in locate.places(sample.text, value, change) if span.start >= end]
                    whole = [span for span in places if locate.whole(sample.text, span)] or places
                    if not whole:
                        return []
                    found.append(min(whole))
            if not found:
                return []
            spans.append(Span(min(found).start, max(span.end for span in found)))
        return spans

    def boundaries(self) -> list[tuple[str, Rule | None]]:
        """Where to cut, and in which part of the text: the whole, or what a landmark rule finds."""
        cuts = [cut for cut in dict.fromkeys(self._cuts()) if self._admission.admits(cut)] or [r"\n+"]
        parts = [
            landmarks.Sample(text, [text[spans[0].start : spans[-1].end]], [[Span(spans[0].start, spans[-1].end)]])
            for (text, _), spans in zip(self._samples, self._spans, strict=True)
            if spans
        ]
        region = landmarks.learn(parts, AS_IT_STANDS, False, self._admission) if parts else None
        return [(cut, one) for one in ((None, region) if region else (None,)) for cut in cuts]

    def _cuts(self) -> Iterator[str]:
        """What stands between records in all samples, or begins them."""
        between, before = [], []
        for (text, _), spans in zip(self._samples, self._spans, strict=True):
            between += [text[one.end : other.start] for one, other in itertools.pairwise(spans)]
            before += [text[: span.start][-40:] for span in spans]
        if not between:
            yield r"\n+"
            return
        shared = [piece for piece in dict.fromkeys(_PIECE.findall(between[0])) if all(piece in b for b in between)]
        if all(re.search(r"\n\s*\n", text) for text in between):
            yield r"\n\s*\n"
        for piece in shared:
            yield (
                r"\n+"
                if piece == "\n"
                else rf"\s*\b{piece}\b\s*"
                if piece.isalpha()
                else rf"\s*{literal(piece)}\s*"
            )
        common = [
            literal(text)
            for text, times in Counter(between).most_common(3)
            if text.strip() and times >= self._admission.least
        ]
        if common:
            yield "|".join(sorted(common, key=len, reverse=True))
        ends = [_PIECE.findall(text)[-2:] for text in before]
        for piece in dict.fromkeys(ends[0]):
            if piece != "\n" and all(piece in end for end in ends):
                yield rf"(?={literal(piece)})"

    def worth(self, cut: str, region: Rule | None) -> tuple[int, int]:
        """How many records have a piece of their own, less what else looks like one; how few formats they have."""
        pairs = self.pairs(cut, region)
        examples = [
            formats.Example(piece, {at: found[0] for at, found in enumerate(self._places(piece, record)) if found})
            for piece, record in pairs
        ]
        known = formats.learn(examples)
        pieces = [piece for text, _ in self._samples for piece in _cut(text, cut, region)]
        alike = sum(any(one.read(piece) for one in known) for piece in pieces)
        return 2 * len(pairs) - max(alike, len(pairs)), -len(known)

    def pairs(self, cut: str, region: Rule | None) -> list[tuple[str, JSON]]:
        """Each record with the piece that it stands in, of the samples of which each record has a piece."""
        found = []
        for text, wanted in self._samples:
            pieces = iter(_cut(text, cut, region))
            mine = [(piece, record) for record in wanted if (piece := self._piece_of(record, pieces)) is not None]
            found += mine if len(mine) == len(wanted) else []
        return found

    def _places(self, piece: str, record: JSON) -> list[list[list[Span]]]:
        """For each field the places of each of its values."""
        return [[locate.places(piece, value, how) for value in leaf.values(record)] for leaf, how in self._known]

    def _piece_of(self, record: JSON, pieces: Iterator[str]) -> str | None:
        for piece in pieces:
            if all(places for of_field in self._places(piece, record) for places in of_field):
                return piece
        return None


def _cut(text: str, cut: str, region: Rule | None) -> list[str]:
    parts = [text] if region is None else region.read(text)
    return [piece for part in parts for piece in re.split(cut, part)]

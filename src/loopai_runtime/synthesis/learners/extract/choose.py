"""For each field the way of reading it that was right most often on examples it had not seen.

The ways, the preferred first where they are equally right: the format of the whole text (and a rule where no
format fits), a rule of the field's own, the tagger, one answer to everything. So a field is always read
somehow, and the output is the best that the examples support.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.synthesis.folds import folds
from loopai_runtime.synthesis.learners.extract import formats as formats_
from loopai_runtime.synthesis.learners.extract import landmarks, locate, reading, records, tagger
from loopai_runtime.synthesis.learners.extract.extraction import Extraction, Plan
from loopai_runtime.synthesis.learners.extract.leaves import JSON, Path, Shape, schema_at, shape_of
from loopai_runtime.synthesis.strategy import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopai_runtime.synthesis.learners.extract.formats import Format
    from loopai_runtime.synthesis.learners.extract.locate import Source
    from loopai_runtime.synthesis.privacy import Admission
    from loopai_runtime.synthesis.strategy import Rows

GOOD_ENOUGH = 0.97  # share of unseen examples that a field's rules must get right, or the tagger is tried
RULES_FROM = 400  # rows that rules are learned from and judged on
RULES_ON_ALL = 150  # examples up to which rules are judged on all of them, else on a third
TAGGER_ON_ALL = 60  # examples up to which the tagger is judged on all of them
POOR = 0.6  # rules that are right less often than this have seen a coincidence
TAGGER_FROM = 3000  # examples that it is judged with at most
LEAST_SHARE = 0.3  # of a field's values that stand in the text, for the tagger to be worth it
INNER_FOLDS = 3


@dataclass(frozen=True)
class Examples:
    """Some rows of a problem, as texts and fields."""

    shape: Shape
    paths: Sequence[Path]
    texts: list[list[str]]
    outputs: list[JSON]
    sources: Sequence[Source | None]
    schema: dict[str, JSON]
    admission: Admission
    memo: dict[tuple[int, ...], tuple[Examples, Examples]] = field(default_factory=dict, repr=False)
    rules: dict[int, landmarks.Rule | None] = field(default_factory=dict, repr=False)
    lists: dict[int, records.Records | None] = field(default_factory=dict, repr=False)

    def some(self, rows: Sequence[int]) -> Examples:
        texts, outputs = [self.texts[row] for row in rows], [self.outputs[row] for row in rows]
        return replace(self, texts=texts, outputs=outputs, memo={}, rules={}, lists={})

    def folded(self, part: Sequence[int]) -> tuple[Examples, Examples]:
        """The examples outside of a part, and those in it; the same objects for the same part."""
        key = tuple(part)
        if key not in self.memo:
            out = set(part)
            rest = [row for row in range(len(self.texts)) if row not in out]
            self.memo[key] = self.some(rest), self.some(part)
        return self.memo[key]

    def rule(self, at: int) -> landmarks.Rule | None:
        """The best rule of a field's own."""
        if at not in self.rules:
            source = self.sources[at]
            many = self.shape.leaves[at].many
            self.rules[at] = (
                landmarks.learn(self.samples[at], source.change, many, self.admission) if source else None
            )
        return self.rules[at]

    def records(self, at: int) -> records.Records | None:
        """How a list of objects is read."""
        source, leaf = self.sources[at], self.shape.leaves[at]
        if at not in self.lists and source is not None:
            rows = zip(self.texts, self.outputs, strict=True)
            samples = [records.Sample(texts[source.text], leaf.values(output)) for texts, output in rows]
            schema = schema_at(self.schema, leaf.path).get("items") or {}
            self.lists[at] = records.learn(
                samples, schema, partial(_learn_piece, schema, self.admission), self.admission
            )
        return self.lists.get(at)

    @cached_property
    def formats(self) -> dict[int, list[Format]]:
        """The formats of each text."""
        return _formats(self)

    @cached_property
    def samples(self) -> list[list[landmarks.Sample]]:
        """For each field that is copied from somewhere, its samples."""
        made = []
        for leaf, source in zip(self.shape.leaves, self.sources, strict=True):
            column = []
            for texts, output in zip(self.texts, self.outputs, strict=True) if source else ():
                values = leaf.values(output)
                text = texts[source.text] if source else ""
                found = [locate.places(text, value, source.change) for value in values] if source else []
                column.append(landmarks.Sample(text, values, found))
            made.append(column)
        return made

    def formatted(self, text: int) -> list[formats_.Example]:
        """Examples for the formats of one text: those whose fields all stand in it."""
        fields = [
            at
            for at, source in enumerate(self.sources)
            if source and source.text == text and not self.shape.leaves[at].many
        ]
        out = []
        for row in range(len(self.texts)):
            places = {at: self.samples[at][row].places[0] for at in fields if self.samples[at][row].values}
            if places and all(places.values()):
                out.append(formats_.Example(self.texts[row][text], places))
        return out


def examples_of(problem: Problem, rows: Rows) -> Examples:
    paths = _text_paths(problem)
    texts = problem.memo.get("extract texts")
    if texts is None:
        texts = [[reading.text_at(value, path) for path in paths] for value in problem.inputs]
        problem.memo["extract texts"] = texts
    outputs = [problem.outputs[row] for row in rows]
    shape = shape_of(outputs, problem.output_schema)
    chosen = [texts[row] for row in rows]
    sources = [
        (records if leaf.kind == "object" else locate).source_of(leaf, chosen, outputs) for leaf in shape.leaves
    ]
    admission = problem.admission(len(problem))
    return Examples(shape, paths, chosen, outputs, sources, problem.output_schema, admission)


def _learn_piece(
    schema: dict[str, JSON], admission: Admission, pieces: Sequence[str], objects: Sequence[JSON]
) -> Extraction:
    """Learn to read a record; of so little text, not by a tagger. It is admitted what the whole program is."""
    problem = Problem(
        "record",
        {},
        schema,
        pieces,
        objects,
        range(len(pieces)),
        forbidden=admission.forbidden,
        supported_from=0,
        min_support=admission.least,
    )
    return learn(problem, range(len(pieces)), 0, tagging=False)


def _text_paths(problem: Problem) -> list[Path]:
    """Where an input has texts or numbers, in the order in which inputs show them."""
    if "extract paths" not in problem.memo:
        seen: dict[Path, None] = {}
        for value in problem.inputs:
            stack: list[tuple[Path, JSON]] = [((), value)]
            while stack:
                path, part = stack.pop()
                if isinstance(part, dict):
                    stack += [((*path, key), inner) for key, inner in reversed(part.items())]
                elif isinstance(part, str | int | float | list) and not isinstance(part, bool):
                    seen.setdefault(path)
        seen = {path: None for path in seen if all(map(problem.admission(len(problem)).admits, path))}
        problem.memo["extract paths"] = list(seen) or [()]
    paths: list[Path] = problem.memo["extract paths"]
    return paths


class Tally(NamedTuple):
    """How a way did on rows that it did not learn from: right of all, and of those that show anything."""

    right: int = 0
    judged: int = 0
    found: int = 0
    there: int = 0

    def plus(self, got: list[JSON], wanted: list[JSON]) -> Tally:
        same, some = got == wanted, bool(got or wanted)
        return Tally(self.right + same, self.judged + 1, self.found + (same and some), self.there + some)

    @property
    def worth(self) -> float:
        """The share of right answers, not counting what is rightly left absent (Jaccard's index)."""
        return self.found / self.there if self.there else float(self.right == self.judged)


NO_TALLY = Tally()


def learn(problem: Problem, rows: Rows, seed: int, tagging: bool = True) -> Extraction:
    """Choose a way for each field, then learn all of them from all rows."""
    whole = examples_of(problem, rows)
    draw = random.Random(seed)  # noqa: S311  a seed, not a secret
    few = list(range(len(rows)))
    if len(few) > RULES_FROM:
        few = sorted(draw.sample(few, RULES_FROM))
    part = whole.some(few)
    groups = [problem.groups[rows[at]] for at in few]
    parts = folds([0] * len(few), groups, min(INNER_FOLDS, len(set(groups))), seed)
    trial = parts if len(few) <= RULES_ON_ALL else parts[:1]
    held = [_held(part, trial, at) for at in range(len(whole.sources))]
    ways = [max(tallies, key=lambda way: tallies[way].worth) for tallies in held]
    lacking = [
        at
        for at, source in enumerate(whole.sources)
        if tagging and source and source.share > LEAST_SHARE and _lacks(held[at][ways[at]])
    ]
    rounds = tagger.rounds_for(len(rows))[0]
    if lacking and len(parts) > 1 and len(few) >= 2 * INNER_FOLDS:
        tallies, rounds = _tagger_held(*_for_tagger(whole, rows, problem, part, parts, seed), lacking, seed)
        for at, tally in tallies.items():
            if tally.worth > held[at][ways[at]].worth or held[at][ways[at]].worth < POOR:
                ways[at] = "tagger"
            held[at]["tagger"] = tally
    known = part.formats if "format" in ways else {}
    tags = [at for at, way in enumerate(ways) if way == "tagger"]
    plans = [
        _plan(part, at, way, held[at][way], tags.index(at) if at in tags else -1) for at, way in enumerate(ways)
    ]
    used = {plan.text for plan in plans if plan.way == "format"}
    model = _tagger(whole, tags, rounds, tagger.orders_for(len(rows)), seed) if tags else None
    return Extraction(whole.shape, whole.paths, {at: known[at] for at in sorted(used)}, plans, model)


def _lacks(tally: Tally) -> bool:
    """Whether more was missed than a slip."""
    missed = tally.there - tally.found
    return missed > max(1, (1 - GOOD_ENOUGH) * tally.there)


def _formats(examples: Examples) -> dict[int, list[Format]]:
    texts = sorted({source.text for source in examples.sources if source})
    return {text: formats_.learn(examples.formatted(text), examples.admission) for text in texts}


def _plan(examples: Examples, at: int, way: str, tally: Tally = NO_TALLY, tag: int = -1) -> Plan:
    leaf, source = examples.shape.leaves[at], examples.sources[at]
    if way == "constant" or source is None:
        return Plan(leaf, "constant", constant=_usual(examples, at), held=tally.right, judged=tally.judged)
    if way == "records":
        made = examples.records(at)
        way = "constant" if made is None else way
        return Plan(leaf, way, source.text, records=made, held=tally.right, judged=tally.judged)
    rule = None
    if way in ("format", "rule"):
        rule = examples.rule(at)
    return Plan(leaf, way, source.text, source.change, rule, None, tag, None, tally.right, tally.judged)


def _usual(examples: Examples, at: int) -> JSON | None:
    """The value that most examples have, of those that may be told; None if most have none."""
    leaf, admission = examples.shape.leaves[at], examples.admission
    values = [leaf.values(output) for output in examples.outputs]
    counts = Counter(jsonl.canonical(value) for value in values)
    usual = max(values, key=lambda value: counts[jsonl.canonical(value)])
    told = counts[jsonl.canonical(usual)] >= admission.least and all(map(admission.admits, usual))
    return (usual if leaf.many else usual[0]) if usual and told else None


def _held(examples: Examples, parts: Sequence[list[int]], at: int) -> dict[str, Tally]:
    """How each way of reading a field does on the examples that it did not learn from."""
    leaf, source = examples.shape.leaves[at], examples.sources[at]
    if source is None:
        return {"constant": _tally(examples, parts, at, "constant")}
    if leaf.kind == "object":
        return {"records": _tally(examples, parts[:1], at, "records")}
    if leaf.many:
        return {"rule": _tally(examples, parts, at, "rule")}
    alone = _tally(examples, parts, at, "format alone")
    if alone.right == alone.judged:  # the common case needs no rule, which takes longer to learn
        return {"format": alone}
    return {way: _tally(examples, parts, at, way) for way in ("format", "rule")}


def _tally(examples: Examples, parts: Sequence[list[int]], at: int, way: str) -> Tally:
    leaf, source = examples.shape.leaves[at], examples.sources[at]
    tally = NO_TALLY
    for part in parts:
        learned, judged = examples.folded(part)
        if not learned.texts:
            continue
        if way == "format alone" and source is not None:
            plan = Plan(leaf, "format", source.text, source.change)
        else:
            plan = _plan(learned, at, way)
        known = learned.formats if plan.way == "format" else {}
        one = Extraction(examples.shape, examples.paths, known, [])
        for texts, output in zip(judged.texts, judged.outputs, strict=True):
            got = one.read_one(at, plan, texts)
            tally = tally.plus(_listed(got, leaf.many), leaf.values(output))
    return tally


def _listed(value: JSON | None, many: bool) -> list[JSON]:
    return [] if value is None else list(value) if many else [value]


def _for_tagger(
    whole: Examples, rows: Rows, problem: Problem, part: Examples, parts: Sequence[list[int]], seed: int
) -> tuple[Examples, Sequence[list[int]]]:
    """What the tagger is judged on: the same as the rules, or more where there is more."""
    if len(rows) <= RULES_FROM:
        return part, parts
    draw = random.Random(seed)  # noqa: S311  a seed, not a secret
    taken = sorted(draw.sample(range(len(rows)), min(len(rows), TAGGER_FROM)))
    groups = [problem.groups[rows[at]] for at in taken]
    return whole.some(taken), folds([0] * len(taken), groups, INNER_FOLDS, seed)


def _tagger_held(
    examples: Examples, parts: Sequence[list[int]], fields: list[int], seed: int
) -> tuple[Mapping[int, Tally], int]:
    """How a tagger of these fields does on examples that it did not learn from, and the rounds that are best."""
    few = len(examples.texts) <= TAGGER_ON_ALL
    best: tuple[float, Mapping[int, Tally], int] | None = None
    for rounds in tagger.rounds_for(len(examples.texts)):
        tallies = _tagger_tallies(examples, parts if few else parts[:1], fields, rounds, seed)
        worth = sum(tally.worth for tally in tallies.values())
        if best is None or worth > best[0]:
            best = worth, tallies, rounds
    assert best is not None
    return best[1], best[2]


def _tagger_tallies(
    examples: Examples, parts: Sequence[list[int]], fields: list[int], rounds: int, seed: int
) -> Mapping[int, Tally]:
    tallies = dict.fromkeys(fields, NO_TALLY)
    for part in parts:
        learned, judged = examples.folded(part)
        orders = 1 if len(learned.texts) > TAGGER_ON_ALL else tagger.orders_for(len(learned.texts))
        model = _tagger(learned, fields, rounds, orders, seed)
        for texts, output in zip(judged.texts, judged.outputs, strict=True):
            read = model.tag("\n".join(texts))[0]
            for tag, at in enumerate(fields):
                leaf, source = examples.shape.leaves[at], examples.sources[at]
                found = read.get(tag, []) if leaf.many else read.get(tag, [])[:1]
                got = [source.change.of(text) for text in found] if source else []
                tallies[at] = tallies[at].plus(got, leaf.values(output))
    return tallies


def _tagger(examples: Examples, fields: Sequence[int], rounds: int, orders: int, seed: int) -> tagger.Tagger:
    sentences = []
    for row, texts in enumerate(examples.texts):
        starts = [sum(len(text) + 1 for text in texts[:at]) for at in range(len(texts))]
        spans = []
        for at in fields:
            source = examples.sources[at]
            start = starts[source.text] if source else 0
            spans.append(
                [
                    [locate.Span(a + start, b + start) for a, b in options]
                    for options in examples.samples[at][row].places
                ]
            )
        sentences.append(tagger.sentence("\n".join(texts), spans))
    return tagger.train(tagger.admitted(sentences, examples.admission), len(fields), rounds, orders, seed)

"""What was learned: for each field the way it is read, and how a whole output comes about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.synthesis.learners.extract import reading, writing
from loopai_runtime.synthesis.learners.extract.locate import AS_IT_STANDS, Change
from loopai_runtime.synthesis.strategy import Calibration, Prediction, Problem, Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopai_runtime.synthesis.learners.extract.formats import Format
    from loopai_runtime.synthesis.learners.extract.landmarks import Rule
    from loopai_runtime.synthesis.learners.extract.leaves import JSON, Leaf, Path, Shape
    from loopai_runtime.synthesis.learners.extract.records import Records
    from loopai_runtime.synthesis.learners.extract.tagger import Tagger


@dataclass(frozen=True)
class Plan:
    """How one field is read: `way` is format, rule, records, tagger or constant.

    It was right on `held` of `judged` examples that it had not seen.
    """

    leaf: Leaf
    way: str
    text: int = 0
    change: Change = AS_IT_STANDS
    rule: Rule | None = None
    constant: JSON | None = None
    tag: int = -1
    records: Records | None = None
    held: int = 0
    judged: int = 0

    @property
    def certainty(self) -> float:
        """The log odds of being right."""
        return round(math.log((self.held + 0.5) / (self.judged - self.held + 0.5)), 3)


class Reading(NamedTuple):
    """A field's value in one input, or None, and how certain it is."""

    value: JSON | None
    certainty: float


@dataclass(frozen=True)
class Extraction:
    """A fitted program."""

    shape: Shape
    paths: Sequence[Path]
    formats: Mapping[int, Sequence[Format]]
    plans: Sequence[Plan]
    tagger: Tagger | None = None

    @property
    def features(self) -> int:
        rules = sum(plan.rule is not None for plan in self.plans) + sum(map(len, self.formats.values()))
        inner = sum(plan.records.inner.features for plan in self.plans if plan.records)
        return rules + inner + (len(self.tagger.rows) if self.tagger else 0)

    def texts(self, value: JSON) -> list[str]:
        return [reading.text_at(value, path) for path in self.paths]

    def predict(self, problem: Problem, rows: Rows) -> list[Prediction]:
        return [self.answer(problem.inputs[row]) for row in rows]

    def answer(self, value: JSON) -> Prediction:
        readings = self.read(self.texts(value))
        output = self.shape.assemble([one.value for one in readings])
        return Prediction(output, min(one.certainty for one in readings))

    def read(self, texts: Sequence[str]) -> list[Reading]:
        found = {at: self._format(at, texts[at]) for at in self.formats}
        tagged: tuple[Mapping[int, list[str]], float] = ({}, 0.0)
        if self.tagger and any(plan.way == "tagger" for plan in self.plans):
            tagged = self.tagger.tag("\n".join(texts))
        return [
            self._field(number, plan, texts, found.get(plan.text), tagged)
            for number, plan in enumerate(self.plans)
        ]

    def read_one(self, number: int, plan: Plan, texts: Sequence[str]) -> JSON | None:
        """The value of one field."""
        found = self._format(plan.text, texts[plan.text]) if plan.way == "format" else None
        return self._field(number, plan, texts, found, ({}, 0.0)).value

    def _format(self, at: int, text: str) -> tuple[dict[int, str], float] | None:
        for one in self.formats[at]:
            read = one.read(text)
            if read is not None:
                return read, one.certainty
        return None

    def _field(
        self,
        number: int,
        plan: Plan,
        texts: Sequence[str],
        found: tuple[dict[int, str], float] | None,
        tagged: tuple[Mapping[int, list[str]], float],
    ) -> Reading:
        if plan.way == "constant":
            return Reading(plan.constant, plan.certainty)
        if plan.records is not None:
            return Reading(plan.records.read(texts[plan.text]) or None, plan.certainty)
        if plan.way == "tagger":
            values, certainty = tagged[0].get(plan.tag, []), round(tagged[1], 3)
        elif plan.way == "format" and found is not None:
            values, certainty = [found[0][number]] if number in found[0] else [], found[1]
        else:
            values = plan.rule.read(texts[plan.text]) if plan.rule else []
            certainty = round(plan.certainty - 2, 3) if plan.way == "format" else plan.certainty
        return Reading(_value(plan, values), certainty)

    def emit(self, problem: Problem, calibration: Calibration) -> str:
        return writing.write(self, problem, calibration)


def _value(plan: Plan, texts: Sequence[str]) -> JSON | None:
    if plan.leaf.many:
        changed = [value for text in texts if (value := plan.change.of(text)) is not None]
        return changed or None
    return plan.change.of(texts[0]) if texts else None

"""Extraction: fields copied out of texts, each by the rule that holds best on examples it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.extract.choose import learn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.synthesis.learners.extract.extraction import Extraction
    from loopai_runtime.synthesis.strategy import Problem, Rows


@dataclass(frozen=True)
class Extract:
    """One program: formats, rules and a tagger, whatever each field needs."""

    kind: str = "extract"
    names: Sequence[str] = ("extraction",)

    def refuses(self, problem: Problem) -> str | None:
        if not all(isinstance(output, dict | list) for output in problem.outputs):
            return "extraction gives objects or lists; the examples' outputs are single values"
        if not any(problem.outputs):
            return "the examples' outputs are all empty"
        return None

    def fit(self, problem: Problem, rows: Rows, seed: int) -> list[Extraction]:
        return [learn(problem, rows, seed)]


def candidates() -> list[Extract]:
    return [Extract()]

"""A candidate of the model as the task's new program, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.errors import PolicyRefused
from loopai_runtime.intervals import lower_bound
from loopai_runtime.synthesis.abstain import Offload, offload
from loopai_runtime.synthesis.calibrate import calibrate, lowered, probability
from loopai_runtime.synthesis.judge import standard_error
from loopai_runtime.synthesis.select import corrected
from loopai_runtime.synthesis.strategy import Calibration, Prediction, Suspect, Synthesis
from loopai_runtime.synthesis.synthesize import CONFIDENCE, SURELY_WRONG, complexity
from loopai_runtime.synthesis.writer.contest import CHECKED_ROWS
from loopai_runtime.synthesis.writer.plan import JUDGED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.synthesis.select import Judged
    from loopai_runtime.synthesis.strategy import Problem
    from loopai_runtime.synthesis.writer.contest import Entrant
    from loopai_runtime.synthesis.writer.runs import Runner

_INDEPENDENT = 0.8
"""What a judged row counts as a draw: programs for different sets of rows share most of what they learned from."""

_FAR = 2.5
"""Evidence that nobody doubts, or believes in."""


@dataclass(frozen=True)
class Other:
    """The offline candidate on the rows that decide."""

    right: Sequence[float]

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right) if self.right else 0.0


def made(
    problem: Problem, entrant: Entrant, others: Sequence[Judged], runner: Runner, seed: int
) -> Synthesis | None:
    """The program, its accuracy corrected for having been picked among `others`.

    None where it contains personal data, or is not let into the sandbox, or there does not do what its parts did.
    """
    rows, answers = entrant.rows, entrant.answers
    hits = [jsonl.canonical(one.output) == problem.keys[row] for row, one in zip(rows, answers, strict=True)]
    calibration = _calibrated(problem, answers, hits) if rows else Calibration(0.0, 0.0, 0.0)
    code = entrant.emit(calibration)
    admission = problem.admission(len(problem))
    if not admission.admits_code(code) or not _as_judged(problem, code, entrant, runner):
        return None
    groups = [problem.groups[row] for row in rows]
    sure = [probability(calibration, answer) for answer in answers]
    accuracy = min(entrant.accuracy, corrected([entrant, *others], seed)) if rows else 0.0
    draws = len(set(groups)) * _INDEPENDENT
    repeats = max(1, round(entrant.sets / 3)) if entrant.sets > 1 else 1
    return Synthesis(
        code=code,
        strategy="llm",
        learner=entrant.name,
        accuracy=accuracy,
        standard_error=standard_error(entrant.right, groups) if rows else 0.0,
        confidence_score=round(lower_bound(accuracy * draws, draws, CONFIDENCE), 4),
        confidence_kind="accuracy_bound",
        candidates=[],
        complexity=complexity(code, entrant.features),
        judged={
            "folds": entrant.sets // repeats,
            "repeats": repeats,
            "seed": seed,
            "groups": len(set(groups)),
            "judged_rows": len(rows),
        },
        predictions=[(answer.output, one) for answer, one in zip(answers, sure, strict=True)],
        offload=_offloaded(problem, sure, hits, groups),
        suspects=_suspects(problem, entrant, hits, sure),
        more_examples=None,
        judged_rows=rows,
        advice="" if rows else "two examples at least are needed to judge a program",
    )


def _offloaded(problem: Problem, sure: Sequence[float], hits: Sequence[bool], groups: Sequence[int]) -> Offload:
    target, confidence = problem.offload_target, problem.offload_confidence
    if not sure:
        return Offload(target, confidence, None, 0.0, None, JUDGED, [])
    return offload(sure, hits, groups, target, confidence)


def _calibrated(problem: Problem, answers: Sequence[Prediction], hits: Sequence[bool]) -> Calibration:
    """Where all of a few answers were right they do not say what evidence is worth: it is believed a little."""
    anchors = [Prediction(None, -_FAR), Prediction(None, _FAR)]
    return lowered(calibrate([*answers, *anchors], [*hits, False, True]), answers, problem.most_sure)


def _suspects(problem: Problem, entrant: Entrant, hits: Sequence[bool], sure: Sequence[float]) -> list[Suspect]:
    return [
        Suspect(row, problem.outputs[row], answer.output, round(one, 4))
        for row, answer, hit, one in zip(entrant.rows, entrant.answers, hits, sure, strict=True)
        if not hit and one >= SURELY_WRONG
    ]


def _as_judged(problem: Problem, code: str, entrant: Entrant, runner: Runner) -> bool:
    """Whether the whole program answers as its parts, put together here, do."""
    rows = list(entrant.said)[:CHECKED_ROWS]
    try:
        outcomes = runner.outcomes(code, [problem.inputs[row] for row in rows])
    except PolicyRefused:
        return False
    expected = [entrant.said[row].output for row in rows]
    return all(
        jsonl.equal(outcome.output, one) if outcome.status == "success" else one is None
        for one, outcome in zip(expected, outcomes, strict=True)
    )

"""A task whose outputs are free texts becomes a program by example (`dsl`) instead of a classifier.

Folds say little of a handful of rows, so the program is judged by the calibrated probability that it is right on
all inputs; what programs that had not seen a row answer to it is kept beside, for what can be offloaded.
"""

from __future__ import annotations

import ast
import time
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.synthesis.abstain import offload
from loopai_runtime.synthesis.dsl import Transformation, transform
from loopai_runtime.synthesis.folds import folds
from loopai_runtime.synthesis.strategy import Candidate, Prediction, Problem, Rows, Synthesis

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 10.0
_FOLDS = 5
_FOLDED_ROWS = 200
_FEW_LABELS = 0.5
_ASKED = 300
"""Unlabelled inputs that the programs which fit are compared on."""


def is_transformation(problem: Problem) -> bool:
    """Whether the outputs are texts that mostly differ, and no labels; or may not be named in a program."""
    if not all(isinstance(output, str) for output in problem.outputs):
        return False
    if not all(map(problem.admission(len(problem)).admits, problem.labels)):
        return True
    if "enum" in problem.output_schema:
        return False
    return len(set(problem.outputs)) > _FEW_LABELS * sum(problem.distinct)


def write(problem: Problem, seed: int) -> Synthesis | None:
    """The program that the examples support, or None where nothing that fits them would generalise."""
    started = time.monotonic()
    made = _transform(problem, range(len(problem)), SECONDS, problem.unlabelled[:_ASKED])
    if made is None or not problem.admission(len(problem)).admits_code(made.code):
        return None
    predictions = _unseen(problem, made, seed)
    sure = [confidence for _, confidence in predictions]
    right = [answer == output for (answer, _), output in zip(predictions, problem.outputs, strict=True)]
    return Synthesis(
        code=made.code,
        strategy="dsl",
        learner=f"{made.form} transformation",
        accuracy=made.confidence,
        standard_error=0.0,
        confidence_score=round(made.confidence, 4),
        confidence_kind="all_correct",
        candidates=_candidates(problem, made, time.monotonic() - started),
        complexity=_complexity(made),
        judged={
            "folds": _FOLDS,
            "repeats": 1,
            "seed": seed,
            "groups": len(set(problem.groups)),
            "judged_rows": len(problem),
        },
        predictions=predictions,
        offload=offload(sure, right, problem.groups, problem.offload_target, problem.offload_confidence),
        suspects=[],
        more_examples=None,
        advice=_advice(made, problem),
        question=made.question,
        disputed=made.disagreement,
        unseen=lambda part: [Prediction(*answer) for answer in _without(problem, part)],
    )


def _transform(
    problem: Problem, rows: Rows, seconds: float, unlabelled: Sequence[Any] = ()
) -> Transformation | None:
    """A program from some rows, with what is let into one from all of them."""
    inputs, outputs = [problem.inputs[i] for i in rows], [problem.outputs[i] for i in rows]
    admission = problem.admission(len(problem))
    return transform(
        inputs, outputs, name=problem.name, unlabelled=unlabelled, seconds=seconds, admission=admission
    )


def _unseen(problem: Problem, made: Transformation, seed: int) -> list[tuple[Any, float]]:
    """What programs that had not seen a row answer to it. Of very many rows, all are answered by the program."""
    if not 1 < len(problem) <= _FOLDED_ROWS or len(set(problem.groups)) < 2:
        return [(made.run(value), made.confidence) for value in problem.inputs]
    answers: list[tuple[Any, float]] = [("", 0.0)] * len(problem)
    for part in folds(problem.codes, problem.groups, min(_FOLDS, len(set(problem.groups))), seed):
        for row, answer in zip(part, _without(problem, part), strict=True):
            answers[row] = answer
    return answers


def _without(problem: Problem, part: Sequence[int]) -> list[tuple[Any, float]]:
    """What a program made from the other rows answers to those of `part`."""
    rest = sorted(set(range(len(problem))) - set(part))
    other = _transform(problem, rest, SECONDS / _FOLDS) if rest else None
    return [(other.run(problem.inputs[row]), other.confidence) if other else ("", 0.0) for row in part]


def _candidates(problem: Problem, made: Transformation, seconds: float) -> list[Candidate]:
    started = time.perf_counter()
    sample = problem.inputs[:200]
    for value in sample:
        made.run(value)
    cost = round((time.perf_counter() - started) / len(sample) * 1e6, 1)
    size = len(made.code.encode())
    best = made.programs[0].cost
    won = Candidate(
        f"{made.form} transformation",
        "dsl",
        True,
        "won",
        round(made.confidence, 6),
        None,
        size,
        cost,
        round(seconds, 3),
    )
    return [won] + [
        Candidate(f"reading {at}", "dsl", False, f"fits too; costs {one.cost - best:.1f} more than the winner")
        for at, one in enumerate(made.programs[1:4], 2)
    ]


def _complexity(made: Transformation) -> dict[str, int]:
    branching = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.comprehension, ast.BoolOp)
    return {
        "lines": made.code.count("\n"),
        "branches": sum(isinstance(node, branching) for node in ast.walk(ast.parse(made.code))),
        "features": made.steps,
        "bytes": len(made.code.encode("utf-8")),
    }


def _advice(made: Transformation, problem: Problem) -> str:
    """The input whose output would settle which reading is right, and the one that most programs part on."""
    parts: list[str] = []
    question = made.question
    if question is not None:
        answer, other, *_ = map(jsonl.dumps, question.answers)
        parts.append(
            f"two readings fit the examples: to {jsonl.dumps(question.input)} one answers {answer},"
            f" the other {other}; an example with its output settles it"
        )
    if made.next_input is not None:
        value = problem.unlabelled[made.next_input]
        if question is None or value != question.input:
            share = made.disagreement[made.next_input]
            parts.append(f"label {jsonl.dumps(value)} next: programs that fit as well part on it ({share:.0%})")
    if not parts and made.confidence < problem.accuracy_target:
        parts.append("examples of every kind of input, above all of unusual ones, raise the confidence")
    return "; ".join(parts)

"""From examples to a program: every strategy is judged on rows it has not seen, and the best small one is written.

Each candidate's whole pipeline runs inside the folds. The choice is by the one-standard-error rule towards the
smaller program (Breiman et al. 1984). The accuracy that is reported is corrected for having picked a winner by
the bootstrap of Tsamardinos et al. (2018): in each sample the candidate that is best in it is judged on the
rows that it left out. The bound counts near-duplicate groups, not rows.
"""

from __future__ import annotations

import ast
import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.errors import Fault, SpecError
from loopai_runtime.intervals import lower_bound
from loopai_runtime.synthesis.calibrate import calibrate
from loopai_runtime.synthesis.folds import folds
from loopai_runtime.synthesis.learners import bayes, linear
from loopai_runtime.synthesis.strategy import (
    Calibration,
    Candidate,
    Fitted,
    Prediction,
    Problem,
    Progress,
    Strategy,
    Synthesis,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FOLDS = 5
REPEATED_BELOW = 400  # rows below which the folds are drawn three times
BOOTSTRAPS = 200
CONFIDENCE = 0.9


@dataclass(slots=True)
class _Trial:
    """A candidate's answers to rows it had not seen: how often right, and what the first repeat answered."""

    strategy: Strategy
    right: list[float] = field(default_factory=list)
    answers: list[Prediction] = field(default_factory=list)
    code: str = ""
    fitted: Fitted | None = None
    seconds: float = 0.0
    microseconds: float = 0.0

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right)


def strategies() -> list[Strategy]:
    """Every candidate there is, the simplest first."""
    return [*bayes.candidates(), *linear.candidates()]


def synthesize(
    problem: Problem, *, strategy: str, seed: int, progress: Callable[[Progress], None] | None = None
) -> Synthesis:
    """Write the best program that the examples support. Raises SpecError where no strategy takes the problem."""
    tell = progress or (lambda _step: None)
    wanted = [s for s in strategies() if strategy in ("auto", s.kind)]
    refusals = {s.name: reason for s in wanted if (reason := s.refuses(problem))}
    usable = [s for s in wanted if s.name not in refusals]
    if not usable:
        reasons = sorted(set(refusals.values())) or [f"the strategy {strategy!r} is not installed"]
        raise SpecError([Fault(f"no program can be written: {'; '.join(reasons)}", path="$.examples")])
    parts = _splits(problem, seed)
    trials = []
    for number, candidate in enumerate(usable):
        tell(Progress(f"judging {candidate.name}", number / (len(usable) + 1)))
        trials.append(_judge(problem, candidate, parts, seed))
    errors = [_standard_error(problem, trial.right) for trial in trials]
    best = max(range(len(trials)), key=lambda i: (trials[i].accuracy, -len(trials[i].code)))
    enough = trials[best].accuracy - errors[best]
    chosen = min(
        (i for i in range(len(trials)) if trials[i].accuracy >= enough), key=lambda i: (len(trials[i].code), i)
    )
    tell(Progress("writing the program", 0.95))
    return _result(problem, trials, errors, chosen, refusals, parts, seed)


def _splits(problem: Problem, seed: int) -> list[list[list[int]]]:
    repeats = 3 if len(problem) < REPEATED_BELOW else 1
    count = min(FOLDS, len(set(problem.groups)))
    return [folds(problem.codes, problem.groups, count, seed * 1000 + n) for n in range(repeats)]


def _judge(problem: Problem, strategy: Strategy, repeats: list[list[list[int]]], seed: int) -> _Trial:
    trial = _Trial(strategy, [0.0] * len(problem), [Prediction(None, 0.0)] * len(problem))
    started = time.perf_counter()
    for number, parts in enumerate(repeats):
        for part in parts:
            held = set(part)
            rows = [row for row in range(len(problem)) if row not in held]
            for row, answer in zip(part, _answers(problem, strategy, rows, part, seed), strict=True):
                hit = jsonl.canonical(answer.output) == problem.keys[row]
                trial.right[row] += hit / len(repeats)
                if number == 0:
                    trial.answers[row] = answer
    trial.fitted = strategy.fit(problem, range(len(problem)), seed)
    trial.code = trial.fitted.emit(problem, Calibration(1.0, 0.0, 0.0))
    trial.seconds = time.perf_counter() - started
    sample = range(min(200, len(problem)))
    started = time.perf_counter()
    trial.fitted.predict(problem, sample)
    trial.microseconds = (time.perf_counter() - started) / len(sample) * 1e6
    return trial


def _answers(
    problem: Problem, strategy: Strategy, rows: Sequence[int], part: Sequence[int], seed: int
) -> list[Prediction]:
    """What a program made from `rows` answers to `part`; one class alone is all it then knows."""
    seen = {problem.codes[row] for row in rows}
    if len(seen) < 2:
        output = problem.labels[seen.pop()] if seen else None
        return [Prediction(output, 0.0)] * len(part)
    return strategy.fit(problem, rows, seed).predict(problem, part)


def _standard_error(problem: Problem, right: Sequence[float]) -> float:
    groups: dict[int, list[float]] = {}
    for row, hit in enumerate(right):
        groups.setdefault(problem.groups[row], []).append(hit)
    mean = sum(right) / len(right)
    gaps = [sum(hits) - mean * len(hits) for hits in groups.values()]
    return math.sqrt(sum(gap * gap for gap in gaps)) / len(right)


def _corrected(trials: Sequence[_Trial], seed: int) -> float:
    """The accuracy of picking the best: judged where it was not picked."""
    draw = random.Random(seed)  # noqa: S311  a seed, not a secret
    n = len(trials[0].right)
    if len(trials) == 1:
        return trials[0].accuracy
    total = 0.0
    for _ in range(BOOTSTRAPS):
        drawn = Counter(draw.choices(range(n), k=n))
        best = max(trials, key=lambda trial: sum(trial.right[row] * times for row, times in drawn.items()))
        out = [best.right[row] for row in range(n) if row not in drawn]
        total += sum(out) / len(out) if out else best.accuracy
    return total / BOOTSTRAPS


def _result(
    problem: Problem,
    trials: list[_Trial],
    errors: list[float],
    chosen: int,
    refusals: dict[str, str],
    repeats: list[list[list[int]]],
    seed: int,
) -> Synthesis:
    trial = trials[chosen]
    accuracy = min(trial.accuracy, _corrected(trials, seed)) if len(problem) <= 20_000 else trial.accuracy
    hits = [jsonl.canonical(a.output) == key for a, key in zip(trial.answers, problem.keys, strict=True)]
    calibration = calibrate([answer.evidence for answer in trial.answers], hits)
    assert trial.fitted is not None
    code = trial.fitted.emit(problem, calibration)
    groups = len(set(problem.groups))
    more = _more(problem, trial, accuracy, seed) if accuracy < problem.accuracy_target else None
    return Synthesis(
        code=code,
        strategy=trial.strategy.kind,
        learner=trial.strategy.name,
        accuracy=accuracy,
        standard_error=errors[chosen],
        confidence_score=round(lower_bound(accuracy * groups, groups, CONFIDENCE), 4),
        confidence_kind="accuracy_bound",
        candidates=_table(trials, errors, chosen, refusals),
        complexity=_complexity(code, trial.fitted.features),
        judged={"folds": len(repeats[0]), "repeats": len(repeats), "seed": seed, "groups": groups},
        label_counts=dict(Counter(map(jsonl.dumps, problem.outputs))),
        predictions=[(a.output, _probability(calibration, a.evidence)) for a in trial.answers],
        more_examples=more,
        advice=_advice(accuracy, problem.accuracy_target, more),
    )


def _probability(calibration: Calibration, lead: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, calibration.slope * lead + calibration.offset))))


def _complexity(code: str, features: int) -> dict[str, int]:
    branching = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.comprehension, ast.BoolOp)
    return {
        "lines": code.count("\n"),
        "branches": sum(isinstance(node, branching) for node in ast.walk(ast.parse(code))),
        "features": features,
        "bytes": len(code.encode("utf-8")),
    }


def _table(trials: list[_Trial], errors: list[float], chosen: int, refusals: dict[str, str]) -> list[Candidate]:
    won = trials[chosen]
    rows = [
        Candidate(
            trial.strategy.name,
            trial.strategy.kind,
            at == chosen,
            _verdict(trial, won),
            round(trial.accuracy, 6),
            round(error, 6),
            len(trial.code.encode("utf-8")),
            round(trial.microseconds, 1),
            round(trial.seconds, 3),
        )
        for at, (trial, error) in enumerate(zip(trials, errors, strict=True))
    ]
    kinds = {s.name: s.kind for s in strategies()}
    return rows + [Candidate(name, kinds[name], False, f"skipped: {why}") for name, why in refusals.items()]


def _verdict(trial: _Trial, won: _Trial) -> str:
    if trial is won:
        return "won"
    gap = (trial.accuracy - won.accuracy) * 100
    if gap > 0:
        return f"{gap:.1f} points better, within one standard error, but larger"
    return f"lost by {-gap:.1f} points"


def _more(problem: Problem, trial: _Trial, accuracy: float, seed: int) -> int | None:
    """How many more examples an inverse power law through half and all of the rows asks for; None if too many."""
    n = len(problem)
    half = folds(problem.codes, problem.groups, min(2, len(set(problem.groups))), seed)
    if len(half) < 2 or n < 10:
        return 50
    hits = 0
    for part, rows in ((half[0], half[1]), (half[1], half[0])):
        for row, answer in zip(part, _answers(problem, trial.strategy, rows, part, seed), strict=True):
            hits += jsonl.canonical(answer.output) == problem.keys[row]
    # The folds learned from 4/5 of the rows, this from 1/2.
    early, late, goal = 1 - hits / n, 1 - accuracy, 1 - problem.accuracy_target
    if goal <= 0 or late <= 0 or early <= late:
        return None
    power = math.log(early / late) / math.log(0.8 / 0.5)
    needed = 0.8 * n * (late / goal) ** (1 / power)
    return math.ceil(needed - 0.8 * n) if needed < 100 * n else None


def _advice(accuracy: float, target: float, more: int | None) -> str:
    if accuracy >= target:
        return ""
    if more is None:
        return "more examples alone are unlikely to reach accuracy_target; look at labels that are often confused"
    return f"about {max(10, more):,} more examples would likely reach accuracy_target"

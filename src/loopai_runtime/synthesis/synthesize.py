"""From examples to a program: candidates are judged on rows they have not seen, and the best small one is written.

The choice is by the one-standard-error rule towards the smaller program (Breiman et al. 1984). The accuracy that
is reported is corrected for having picked a winner by the bootstrap of Tsamardinos et al. (2018): in each sample
the candidate that is best in it is judged on the rows that it left out. The bound counts near-duplicate groups,
not rows, and widens for what the folds share: with a quarter as many rows judged as learned from, the variance
is a quarter larger than that of independent draws (Nadeau and Bengio 2003).
"""

from __future__ import annotations

import ast
import math
import random
from collections import Counter
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.errors import Fault, SpecError
from loopai_runtime.intervals import lower_bound
from loopai_runtime.synthesis.calibrate import calibrate
from loopai_runtime.synthesis.folds import folds
from loopai_runtime.synthesis.judge import Trial, is_right, judge, splits, unseen
from loopai_runtime.synthesis.learners import bayes, hybrid, linear, rules
from loopai_runtime.synthesis.strategy import Calibration, Candidate, Problem, Progress, Strategy, Synthesis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIDENCE = 0.9
_BOOTSTRAPS = 200
_DRAWS = 400_000  # rows drawn in all the bootstrap samples together: large sets need few


def strategies() -> list[Strategy]:
    """Every way of learning there is, the simplest first."""
    return [*bayes.candidates(), *rules.candidates(), *linear.candidates(), *hybrid.candidates()]


def synthesize(
    problem: Problem, *, strategy: str, seed: int, progress: Callable[[Progress], None] | None = None
) -> Synthesis:
    """Write the best program that the examples support. Raises SpecError where no strategy takes the problem."""
    tell = progress or (lambda _step: None)
    wanted = [s for s in strategies() if strategy in ("auto", s.kind)]
    refusals = {s.names[0]: (s.kind, reason) for s in wanted if (reason := s.refuses(problem))}
    usable = [s for s in wanted if s.names[0] not in refusals]
    if not usable:
        reasons = sorted({why for _, why in refusals.values()}) or [f"the strategy {strategy!r} is not installed"]
        raise SpecError([Fault(f"no program can be written: {'; '.join(reasons)}", path="$.examples")])
    parts = splits(problem, seed)
    steps = len(usable) * sum(map(len, parts)) + 1
    learned: dict[str, Strategy] = {}
    trials: list[Trial] = []
    finished = 0
    for one in usable:

        def done(what: str = one.names[0]) -> None:
            nonlocal finished
            finished += 1
            tell(Progress(f"judging {what}", finished / steps))

        for trial in judge(problem, one, parts, seed, done):
            trials.append(trial)
            learned[trial.name] = one
    errors = [trial.standard_error(problem) for trial in trials]
    chosen = _choose(trials, errors)
    tell(Progress("writing the program", (steps - 1) / steps))
    return _result(problem, trials, errors, chosen, learned[trials[chosen].name], refusals, parts, seed)


def _choose(trials: Sequence[Trial], errors: Sequence[float]) -> int:
    """The smallest candidate within one standard error of the best."""
    best = max(range(len(trials)), key=lambda i: (trials[i].accuracy, -trials[i].bytes))
    enough = trials[best].accuracy - errors[best]
    return min((i for i in range(len(trials)) if trials[i].accuracy >= enough), key=lambda i: (trials[i].bytes, i))


def _corrected(trials: Sequence[Trial], seed: int) -> float:
    """The accuracy of picking the best: judged where it was not picked."""
    draw = random.Random(seed)  # noqa: S311  a seed, not a secret
    n = len(trials[0].right)
    samples = min(_BOOTSTRAPS, _DRAWS // n)
    if len(trials) == 1 or samples == 0:
        return trials[0].accuracy
    total = 0.0
    for _ in range(samples):
        drawn = Counter(draw.choices(range(n), k=n))
        best = max(trials, key=lambda trial: sum([trial.right[row] * times for row, times in drawn.items()]))
        out = [best.right[row] for row in range(n) if row not in drawn]
        total += sum(out) / len(out) if out else best.accuracy
    return total / samples


def _result(
    problem: Problem,
    trials: list[Trial],
    errors: list[float],
    chosen: int,
    strategy: Strategy,
    refusals: dict[str, tuple[str, str]],
    repeats: list[list[list[int]]],
    seed: int,
) -> Synthesis:
    trial = trials[chosen]
    accuracy = min(trial.accuracy, _corrected(trials, seed))
    hits = [is_right(problem, row, answer) for row, answer in enumerate(trial.answers)]
    calibration = calibrate([answer.evidence for answer in trial.answers], hits)
    code = trial.fitted.emit(problem, calibration)
    groups = len(set(problem.groups))
    draws = groups * (1 - 1 / len(repeats[0]))
    short = accuracy < problem.accuracy_target
    more = _more(problem, strategy, strategy.names.index(trial.name), accuracy, seed) if short else None
    return Synthesis(
        code=code,
        strategy=trial.kind,
        learner=trial.name,
        accuracy=accuracy,
        standard_error=errors[chosen],
        confidence_score=round(lower_bound(accuracy * draws, draws, CONFIDENCE), 4),
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


def _table(
    trials: list[Trial], errors: list[float], chosen: int, refusals: dict[str, tuple[str, str]]
) -> list[Candidate]:
    won = trials[chosen]
    rows = [
        Candidate(
            trial.name,
            trial.kind,
            at == chosen,
            _verdict(trial, won),
            round(trial.accuracy, 6),
            round(error, 6),
            trial.bytes,
            round(trial.microseconds, 1),
            round(trial.seconds, 3),
        )
        for at, (trial, error) in enumerate(zip(trials, errors, strict=True))
    ]
    return rows + [Candidate(name, kind, False, f"skipped: {why}") for name, (kind, why) in refusals.items()]


def _verdict(trial: Trial, won: Trial) -> str:
    if trial is won:
        return "won"
    gap = (trial.accuracy - won.accuracy) * 100
    if round(gap, 1) == 0:
        return "as good, but larger" if trial.bytes > won.bytes else "as good"
    if gap > 0:
        return f"{gap:.1f} points better, within one standard error, but larger"
    return f"lost by {-gap:.1f} points"


def _more(problem: Problem, strategy: Strategy, at: int, accuracy: float, seed: int) -> int | None:
    """How many more examples an inverse power law through half and all of the rows asks for; None if too many."""
    n = len(problem)
    half = folds(problem.codes, problem.groups, min(2, len(set(problem.groups))), seed)
    if len(half) < 2 or n < 10:
        return 50
    hits = 0
    for part in half:
        for row, answer in zip(part, unseen(problem, strategy, part, seed)[at], strict=True):
            hits += is_right(problem, row, answer)
    # The folds learned from 4/5 of the rows, this from 1/2.
    early, late, goal = 1 - hits / n, 1 - accuracy, 1 - problem.accuracy_target
    if goal <= 0 or late <= 0 or early <= late:
        return None
    power = math.log(early / late) / math.log(0.8 / 0.5)
    growth = math.log(late / goal) / power  # the log of how many times as many
    return math.ceil(0.8 * n * math.expm1(growth)) if growth < math.log(100) else None


def _advice(accuracy: float, target: float, more: int | None) -> str:
    if accuracy >= target:
        return ""
    if more is None:
        return "more examples alone are unlikely to reach accuracy_target; look at labels that are often confused"
    return f"about {max(10, more):,} more examples would likely reach accuracy_target"

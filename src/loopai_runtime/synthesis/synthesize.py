"""From examples to a program: candidates are judged on rows they have not seen, and the best small one is written.

Of very many examples some are enough to choose by; the winner then learns from all.

The bound on its accuracy counts near-duplicate groups, not rows, and widens for what the folds share: with a
quarter as many rows judged as learned from, the variance is a quarter larger than that of independent draws
(Nadeau and Bengio 2003).
"""

from __future__ import annotations

import ast
import math
import random
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.errors import Fault, SpecError
from loopai_runtime.intervals import lower_bound
from loopai_runtime.synthesis import transformation
from loopai_runtime.synthesis.abstain import offload
from loopai_runtime.synthesis.calibrate import calibrate, lowered, probability
from loopai_runtime.synthesis.folds import folds
from loopai_runtime.synthesis.judge import Trial, is_right, judge, splits, unseen
from loopai_runtime.synthesis.learners import bayes, extract, hybrid, linear, rules
from loopai_runtime.synthesis.select import choose, corrected, table
from loopai_runtime.synthesis.strategy import Problem, Progress, Strategy, Suspect, Synthesis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIDENCE = 0.9
INTERRUPTED = "interrupted"
CONTEST_ROWS = 30_000
"""Examples that candidates are compared on; more would make no difference to which one wins."""
SURELY_WRONG = 0.8
"""How sure an unseen answer must be for the example that contradicts it to be suspected."""

_NOTHING_GENERALISES = (
    "no program can be written: nothing short explains these outputs by their inputs; a table of the examples"
    " would fit them and nothing else"
)
_NOT_TOLD = "; nor may a program contain the personal data of outputs: it can only copy it"
_ALL_PRIVATE = (
    "no program can be written: each would contain personal data, such as a field's name; give such fields other"
    " names"
)


def strategies() -> list[Strategy]:
    """Every way of learning there is, the simplest first."""
    return [
        *extract.candidates(),
        *bayes.candidates(),
        *rules.candidates(),
        *linear.candidates(),
        *hybrid.candidates(),
    ]


def synthesize(
    problem: Problem,
    *,
    strategy: str,
    seed: int,
    budget_s: float = math.inf,
    progress: Callable[[Progress], None] | None = None,
) -> Synthesis:
    """Write the best program that the examples support. Raises SpecError where no strategy takes the problem.

    After `budget_s` seconds, and on KeyboardInterrupt, it is the best of what has been judged so far; at least one
    candidate always is.
    """
    if strategy == "dsl" or (strategy == "auto" and transformation.is_transformation(problem)):
        written = transformation.write(problem, seed)
        if written is not None:
            return written
        if strategy == "dsl":
            told = all(map(problem.admission(len(problem)).admits, problem.outputs))
            raise SpecError([Fault(_NOTHING_GENERALISES + ("" if told else _NOT_TOLD), path="$.examples")])
    wanted = [s for s in strategies() if strategy in ("auto", s.kind)]
    skipped = {s.names[0]: (s.kind, reason) for s in wanted if (reason := s.refuses(problem))}
    usable = [s for s in wanted if s.names[0] not in skipped]
    if not usable:
        reasons = sorted({why for _, why in skipped.values()}) or [f"the strategy {strategy!r} is not installed"]
        raise SpecError([Fault(f"no program can be written: {'; '.join(reasons)}", path="$.examples")])
    if strategy == "auto":  # that labels are no objects is nothing to be told
        skipped = {name: (kind, why) for name, (kind, why) in skipped.items() if kind != "extract"}
    contest = _Contest(problem, usable, seed, budget_s, progress or (lambda _step: None))
    contest.run()
    return contest.result(skipped)


def _enough(problem: Problem, seed: int) -> list[int]:
    """The rows that candidates are compared on: all of them, or whole groups at random until there are enough."""
    if len(problem) <= CONTEST_ROWS:
        return list(range(len(problem)))
    groups = sorted(set(problem.groups))
    random.Random(seed).shuffle(groups)  # noqa: S311  a seed, not a secret
    place = {group: at for at, group in enumerate(groups)}
    return sorted(sorted(range(len(problem)), key=lambda row: (place[problem.groups[row]], row))[:CONTEST_ROWS])


class _OutOfTime(Exception):
    """The budget is spent."""


class _Contest:
    """The strategies that take a problem, judged one after the other while there is time."""

    def __init__(
        self,
        problem: Problem,
        usable: Sequence[Strategy],
        seed: int,
        budget_s: float,
        tell: Callable[[Progress], None],
    ) -> None:
        self._whole = problem
        self._rows = _enough(problem, seed)
        self._problem = problem if len(self._rows) == len(problem) else problem.part(self._rows)
        self._usable = usable
        self._seed = seed
        self._tell = tell
        self._deadline = time.monotonic() + budget_s
        self._budget_s = budget_s
        self._parts = splits(self._problem, seed)
        self._steps = len(usable) * sum(map(len, self._parts)) + 1
        self._finished = 0
        self._trials: list[Trial] = []
        self._makers: list[Strategy] = []
        self._stopped: str | None = None

    def run(self) -> None:
        """Raises KeyboardInterrupt where nothing has been judged yet."""
        for strategy in self._usable:
            try:
                self._check_time()
                found = judge(self._problem, strategy, self._parts, self._seed, partial(self._step, strategy))
            except _OutOfTime:
                self._stopped = f"the budget of {self._budget_s:g} s was spent"
                return
            except KeyboardInterrupt:
                if not self._trials:
                    raise
                self._stopped = INTERRUPTED
                return
            self._trials += found
            self._makers += [strategy] * len(found)

    def _step(self, strategy: Strategy) -> None:
        self._finished += 1
        self._tell(Progress(f"judging {strategy.names[0]}", self._finished / self._steps))
        self._check_time()

    def _check_time(self) -> None:
        if self._trials and time.monotonic() > self._deadline:
            raise _OutOfTime

    def result(self, skipped: dict[str, tuple[str, str]]) -> Synthesis:
        """The best candidate, written, with what is known of it.

        Raises SpecError where every program would contain personal data.
        """
        problem = self._problem
        self._tell(Progress("writing the program", (self._steps - 1) / self._steps))
        trials, refused, won = self._admitted()
        accuracy = min(won.trial.accuracy, corrected(trials, self._seed))
        groups = len(set(problem.groups))
        draws = groups * (1 - 1 / len(self._parts[0]))
        at, more = won.maker.names.index(won.trial.name), None
        if accuracy < problem.accuracy_target and self._stopped is None:
            more = _more(problem, won.maker, at, accuracy, self._seed)
        left_out = {s.names[0]: (s.kind, self._stopped or "") for s in self._usable if s not in self._makers}
        suspects = [] if won.trial.kind == "extract" else _suspects(problem, self._rows, won)
        return Synthesis(
            code=won.code,
            strategy=won.trial.kind,
            learner=won.trial.name,
            accuracy=accuracy,
            standard_error=won.trial.standard_error(problem),
            confidence_score=round(lower_bound(accuracy * draws, draws, CONFIDENCE), 4),
            confidence_kind="accuracy_bound",
            candidates=table(problem, trials, won.trial, {**left_out, **refused, **skipped}),
            complexity=complexity(won.code, won.features),
            judged={
                "folds": len(self._parts[0]),
                "repeats": len(self._parts),
                "seed": self._seed,
                "groups": groups,
                "judged_rows": len(problem),
                **({"stopped": self._stopped} if self._stopped else {}),
            },
            predictions=[(a.output, one) for a, one in zip(won.trial.answers, won.sure, strict=True)],
            offload=offload(
                won.sure, won.hits, problem.groups, problem.offload_target, problem.offload_confidence
            ),
            suspects=suspects,
            more_examples=more,
            advice=_advice(accuracy, problem.accuracy_target, more),
            judged_rows=self._rows,
            unseen=lambda part: unseen(self._whole, won.maker, part, self._seed)[at],
        )

    def _admitted(self) -> tuple[list[Trial], dict[str, tuple[str, str]], _Written]:
        """The best candidate without personal data in its program, those it is the best of, and those refused."""
        trials = list(self._trials)
        refused: dict[str, tuple[str, str]] = {}
        admission = self._whole.admission(len(self._whole))
        while trials:
            won = self._write(trials[choose(self._problem, trials)])
            if admission.admits_code(won.code):
                return trials, refused, won
            trials.remove(won.trial)
            refused[won.trial.name] = (won.trial.kind, "its program would contain personal data")
        raise SpecError([Fault(_ALL_PRIVATE, path="$.output_schema")])

    def _write(self, trial: Trial) -> _Written:
        """The program of a candidate, learned from all examples."""
        maker = self._makers[next(at for at, one in enumerate(self._trials) if one is trial)]
        hits = [is_right(self._problem, row, answer) for row, answer in enumerate(trial.answers)]
        calibration = lowered(calibrate(trial.answers, hits), trial.answers, self._problem.most_sure)
        sure = [probability(calibration, answer) for answer in trial.answers]
        fitted = trial.fitted
        if self._whole is not self._problem:
            learned = maker.fit(self._whole, range(len(self._whole)), self._seed)
            fitted = learned[maker.names.index(trial.name)]
        return _Written(trial, maker, fitted.features, fitted.emit(self._whole, calibration), hits, sure)


class _Written(NamedTuple):
    """A candidate's program; of its answers to unseen rows, which were right and how sure it was."""

    trial: Trial
    maker: Strategy
    features: int
    code: str
    hits: list[bool]
    sure: list[float]


def _suspects(problem: Problem, rows: Sequence[int], won: _Written) -> list[Suspect]:
    """The examples whose output a program that had not seen them contradicts most surely, the surest first."""
    found = [
        Suspect(rows[row], problem.outputs[row], answer.output, round(won.sure[row], 4))
        for row, answer in enumerate(won.trial.answers)
        if not won.hits[row] and won.sure[row] >= SURELY_WRONG
    ]
    return sorted(found, key=lambda suspect: (-suspect.confidence, suspect.row))


def complexity(code: str, features: int) -> dict[str, int]:
    """How large a program is, as metadata says it."""
    branching = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.comprehension, ast.BoolOp)
    return {
        "lines": code.count("\n"),
        "branches": sum(isinstance(node, branching) for node in ast.walk(ast.parse(code))),
        "features": features,
        "bytes": len(code.encode("utf-8")),
    }


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

"""All of it: have programs written, judge them beside the best offline candidate, say which one is taken."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.errors import PolicyRefused
from loopai_runtime.intervals import lower_bound
from loopai_runtime.synthesis.abstain import offload
from loopai_runtime.synthesis.calibrate import calibrate, probability
from loopai_runtime.synthesis.judge import standard_error
from loopai_runtime.synthesis.select import corrected
from loopai_runtime.synthesis.strategy import Calibration, Candidate, Problem, Suspect, Synthesis
from loopai_runtime.synthesis.synthesize import CONFIDENCE, SURELY_WRONG, complexity
from loopai_runtime.synthesis.writer.angles import angles
from loopai_runtime.synthesis.writer.contest import Entrant, Judging, wins
from loopai_runtime.synthesis.writer.drafts import MAX_TOKENS, REPAIRS, Asks, Draft, Workshop, briefed, hidden
from loopai_runtime.synthesis.writer.kinds import kind_of
from loopai_runtime.synthesis.writer.plan import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loopai_runtime.synthesis.strategy import JSON
    from loopai_runtime.synthesis.writer.runs import Bench, Runner

_CHECKED_ROWS = 200
_INDEPENDENT = 0.8
"""What a judged row counts as a draw: programs for different folds share rows, and one was picked of two."""
_REPAIR_CHARACTERS = 12_000
"""About how long a repair's question is, beside the prompt and the program that it follows."""


@dataclass(frozen=True)
class Asked:
    """What the model was asked for and what came of it; `stopped` says in one line why it ended early."""

    programs: int = 0
    running: int = 0
    repairs: int = 0
    stopped: str | None = None
    drafts: Sequence[Draft] = field(default=(), repr=False)


@dataclass(frozen=True)
class Prompts:
    """What would be asked first, and the most that everything could cost; None where no price is known."""

    messages: list[list[dict[str, str]]]
    calls: int
    most_usd: float


@dataclass(frozen=True)
class Other:
    """The offline candidate on the rows that decide."""

    right: Sequence[float]

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right)


def preview(problem: Problem, model: Asks, seed: int, hide: Callable[[JSON], JSON] | None = None) -> Prompts:
    """The prompts, without a call. Raises ModelError where the price is not known and the model is elsewhere."""
    shares = plan(problem, seed)
    drafts = briefed(hidden(problem, hide), shares, angles(kind_of(problem), len(shares)), seed)
    usd = 0.0
    for draft in drafts:
        usd += model.most_usd(draft.messages, MAX_TOKENS)
        repair = [*draft.messages, {"role": "user", "content": "x" * (_REPAIR_CHARACTERS + 4 * MAX_TOKENS)}]
        usd += REPAIRS * model.most_usd(repair, MAX_TOKENS)
    return Prompts([draft.messages for draft in drafts], len(drafts) * (1 + REPAIRS), usd)


def compete(
    problem: Problem,
    offline: Synthesis | None,
    model: Asks,
    bench: Bench,
    *,
    seed: int,
    forced: bool = False,
    tell: Callable[[str], None] = lambda _what: None,
    hide: Callable[[JSON], JSON] | None = None,
) -> tuple[Synthesis | None, Asked]:
    """The better of the model's champion and the offline candidate, which is None where there is none.

    `forced`: a program of the model is wanted, and need only not be worse. `hide` makes values fit for prompts.
    Never raises for what a model answers.
    """
    started = time.monotonic()
    runner = bench.runner(problem)
    shares = plan(problem, seed)
    told = hidden(problem, hide)
    drafts = briefed(told, shares, angles(kind_of(problem), len(shares)), seed)
    shop = Workshop(problem, model, runner, seed, told=told, hide=hide or _as_it_is, tell=tell)
    shop.write(drafts)
    tell("judging the model's programs")
    judging = Judging(problem, drafts, runner)
    repairs = sum(max(0, draft.asked - 1) for draft in drafts)
    asked = Asked(len(drafts), len(judging.drafts), repairs, shop.stopped, drafts)
    entrant = judging.champion()
    rival = _rival(problem, drafts, judging.rows, offline)
    won = None
    if entrant is not None and _wins(problem, entrant, offline, rival, forced):
        won = _synthesis(problem, entrant, rival, runner, seed)
    seconds = time.monotonic() - started
    if won is not None:
        candidates = [_line(problem, entrant, seconds, "won"), *_beaten(offline, entrant, rival)]
    else:
        candidates = list(offline.candidates) if offline else []
        candidates += [_line(problem, entrant, seconds, _verdict(entrant, rival))] if entrant else []
    made = won or offline
    candidates += [*_not_running(drafts)]
    return (replace(made, candidates=candidates) if made else None), asked


def _as_it_is(value: JSON) -> JSON:
    return value


def _rival(
    problem: Problem, drafts: Sequence[Draft], rows: Sequence[int], offline: Synthesis | None
) -> list[float]:
    """How often the offline candidate, made from the same rows as the drafts, was right on those that decide."""
    if offline is None or offline.unseen is None:
        return [0.0] * len(rows)
    met: dict[int, list[bool]] = {row: [] for row in rows}
    for judged in sorted({tuple(draft.share.judged) for draft in drafts}):
        for row, answer in zip(judged, offline.unseen(list(judged)), strict=True):
            met[row].append(jsonl.canonical(answer.output) == problem.keys[row])
    return [sum(met[row]) / len(met[row]) for row in rows]


def _wins(
    problem: Problem, entrant: Entrant, offline: Synthesis | None, rival: Sequence[float], forced: bool
) -> bool:
    if offline is None:
        return True
    return bool(entrant.rows) and wins(problem, entrant, rival, len(offline.code.encode("utf-8")), forced)


def _synthesis(
    problem: Problem, entrant: Entrant, rival: Sequence[float], runner: Runner, seed: int
) -> Synthesis | None:
    """The champion as a program; None where put together it does not do what its parts did."""
    rows, answers = entrant.rows, entrant.answers
    hits = [jsonl.canonical(one.output) == problem.keys[row] for row, one in zip(rows, answers, strict=True)]
    calibration = calibrate(answers, hits) if rows else Calibration(0.0, 0.0, 0.0)
    code = entrant.ensemble.emit(problem, calibration)
    if not _as_judged(problem, code, entrant, runner):
        return None
    groups = [problem.groups[row] for row in rows]
    sure = [probability(calibration, answer) for answer in answers]
    accuracy = min(entrant.accuracy, corrected([entrant, Other(rival)], seed)) if rows else 0.0
    draws = len(set(groups)) * _INDEPENDENT
    return Synthesis(
        code=code,
        strategy="llm",
        learner=entrant.name,
        accuracy=accuracy,
        standard_error=standard_error(entrant.right, groups) if rows else 0.0,
        confidence_score=round(lower_bound(accuracy * draws, draws, CONFIDENCE), 4),
        confidence_kind="accuracy_bound",
        candidates=[],
        complexity=complexity(code, len(entrant.ensemble.members)),
        judged={
            "folds": entrant.folds,
            "repeats": entrant.repeats,
            "seed": seed,
            "groups": len(set(groups)),
            "judged_rows": len(rows),
        },
        predictions=[(answer.output, one) for answer, one in zip(answers, sure, strict=True)],
        offload=offload(sure, hits, groups, problem.offload_target, problem.offload_confidence),
        suspects=[
            Suspect(row, problem.outputs[row], answer.output, round(one, 4))
            for row, answer, hit, one in zip(rows, answers, hits, sure, strict=True)
            if not hit and one >= SURELY_WRONG
        ],
        more_examples=None,
        advice="" if rows else "two examples at least are needed to judge a program",
    )


def _as_judged(problem: Problem, code: str, entrant: Entrant, runner: Runner) -> bool:
    """Whether the whole program answers as its parts, put together here, do."""
    rows = list(entrant.said)[:_CHECKED_ROWS]
    try:
        outcomes = runner.outcomes(code, [problem.inputs[row] for row in rows])
    except PolicyRefused:
        return False
    expected = [entrant.said[row].output for row in rows]
    return all(
        jsonl.equal(outcome.output, one) if outcome.status == "success" else one is None
        for one, outcome in zip(expected, outcomes, strict=True)
    )


def _line(problem: Problem, entrant: Entrant | None, seconds: float, verdict: str) -> Candidate:
    assert entrant is not None
    groups = [problem.groups[row] for row in entrant.rows]
    error = round(standard_error(entrant.right, groups), 6) if groups else None
    accuracy = round(entrant.accuracy, 6) if groups else None
    cost = round(entrant.microseconds, 1)
    won = verdict == "won"
    return Candidate(entrant.name, "llm", won, verdict, accuracy, error, entrant.bytes, cost, round(seconds, 3))


def _gap(entrant: Entrant, rival: Sequence[float]) -> float:
    """Points by which the model's champion was better on the rows that decide."""
    return 100 * (entrant.accuracy - sum(rival) / len(rival)) if rival else 0.0


def _verdict(entrant: Entrant, rival: Sequence[float]) -> str:
    gap = _gap(entrant, rival)
    where = f"on {len(entrant.rows)} rows that no prompt had shown"
    if not entrant.rows:
        return "not judged: there is no example that it has not seen"
    if round(gap, 1) > 0:
        return f"{gap:.1f} points better {where}: too little to tell from luck, and larger"
    return f"lost by {-gap:.1f} points {where}" if round(gap, 1) < 0 else f"as good {where}, but larger"


def _beaten(offline: Synthesis | None, entrant: Entrant | None, rival: Sequence[float]) -> list[Candidate]:
    """The offline candidates, the best of which was beaten."""
    if offline is None or entrant is None:
        return []
    gap = _gap(entrant, rival)
    verdict = f"lost by {gap:.1f} points to the written one" if round(gap, 1) > 0 else "as good, but larger"
    return [replace(one, won=False, verdict=verdict) if one.won else one for one in offline.candidates]


def _not_running(drafts: Sequence[Draft]) -> Iterator[Candidate]:
    """Programs that never ran, and why."""
    for draft in drafts:
        if draft.best is None and draft.asked:
            why = draft.faults[0] if draft.faults else "not asked for"
            yield Candidate(draft.name, "llm", False, f"does not run: {why[:200]}")

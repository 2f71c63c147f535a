"""All of it: have programs written, judge them beside the best offline candidate, say which one is taken."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import CapReached, MissingExtra, ModelError
from loopai_runtime.synthesis.writer import invent, signs
from loopai_runtime.synthesis.writer.angles import angles
from loopai_runtime.synthesis.writer.contest import Judging, wins
from loopai_runtime.synthesis.writer.drafts import MAX_TOKENS, REPAIRS, Workshop, briefed, hidden
from loopai_runtime.synthesis.writer.kinds import kind_of
from loopai_runtime.synthesis.writer.made import Other, made
from loopai_runtime.synthesis.writer.plan import ENOUGH, PROGRAMS, plan
from loopai_runtime.synthesis.writer.showing import MOST_CHARACTERS
from loopai_runtime.synthesis.writer.verdicts import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.synthesis.strategy import JSON, Problem, Synthesis
    from loopai_runtime.synthesis.writer.drafts import Asks
    from loopai_runtime.synthesis.writer.plan import Share
    from loopai_runtime.synthesis.writer.runs import Bench

SIGNS_TO = 5000
"""Examples up to which signs may add anything to what the linear model has learned by itself."""
_REPAIR_CHARACTERS = 12_000
"""About how long a repair's question is, beside the prompt and the program that it follows."""


@dataclass(frozen=True)
class Asked:
    """What the model was asked for and what came of it; `stopped` says in one line why it ended early."""

    programs: int = 0
    running: int = 0
    repairs: int = 0
    no_signs: str | None = None
    """Why there is no candidate with signs, where one was asked for."""
    stopped: str | None = None


@dataclass(frozen=True)
class Prompts:
    """What would be asked first, in how many calls at most, and the most that all of them could cost."""

    messages: list[list[dict[str, str]]]
    calls: int
    most_usd: float

    def as_dict(self) -> dict[str, Any]:
        return {"calls": self.calls, "most_usd": round(self.most_usd, 6), "prompts": self.messages}


def preview(problem: Problem, model: Asks, seed: int, hide: Callable[[JSON], JSON] | None = None) -> Prompts:
    """The prompts, without a call. Raises ModelError where the price is not known and the model is elsewhere."""
    if not len(problem):
        return _preview_of_nothing(problem, model)
    shares = plan(problem, seed)
    told = hidden(problem, hide)
    drafts = briefed(told, shares, angles(kind_of(problem), len(shares)), seed)
    asked = [draft.messages for draft in drafts]
    usd = 0.0
    if _signs_help(problem):
        asked.append(signs.messages(told, _may_show(problem, shares), seed))
        usd += model.most_usd(asked[-1], signs.MAX_TOKENS)
    for draft in drafts:
        usd += model.most_usd(draft.messages, MAX_TOKENS)
        repair = [*draft.messages, {"role": "user", "content": "x" * (_REPAIR_CHARACTERS + 4 * MAX_TOKENS)}]
        usd += REPAIRS * model.most_usd(repair, MAX_TOKENS)
    return Prompts(asked, len(asked) + REPAIRS * len(drafts), usd)


def _preview_of_nothing(problem: Problem, model: Asks) -> Prompts:
    """Without an example some are made up and labelled first; the prompts for programs then show them."""
    asked = [invent.messages(problem, way) for way in invent.WAYS]
    usd = sum(model.most_usd(one, invent.MAX_TOKENS) for one in asked)
    labelled = -(-invent.MOST // invent.AT_ONCE)
    about = [{"role": "user", "content": "x" * MOST_CHARACTERS * 2}]
    usd += labelled * model.most_usd(about, invent.MAX_TOKENS)
    programs = PROGRAMS * (1 + REPAIRS) + 1
    return Prompts(asked, len(asked) + labelled + programs, usd + programs * model.most_usd(about * 4, MAX_TOKENS))


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
    champion = judging.champion()
    signed, no_signs = None, None
    if judging.sets and shop.stopped is None and _signs_help(problem):
        try:
            found = signs.ask(problem, told, model, runner, _may_show(problem, shares), seed)
            signed = signs.entrant(problem, found, judging.sets, seed) if found else None
        except (ModelError, CapReached, MissingExtra) as error:
            no_signs = str(error)  # one candidate less
    entrants = [one for one in (champion, signed) if one is not None]
    rival = Other(_rival(problem, judging, offline))
    won, synthesis = None, None
    for entrant in sorted(entrants, key=lambda one: (-one.accuracy, one.bytes)):
        if offline is None or wins(problem, entrant, rival.right, len(offline.code.encode("utf-8")), forced):
            others = [one for one in entrants if one is not entrant]
            synthesis = made(problem, entrant, [*others, rival], runner, seed)
        if synthesis is not None:
            won = entrant
            break
    repairs = sum(max(0, draft.asked - 1) for draft in drafts)
    asked = Asked(len(drafts), len(judging.drafts), repairs, no_signs, shop.stopped)
    best = synthesis or offline
    if best is None:
        return None, asked
    seconds = time.monotonic() - started
    return replace(best, candidates=table(problem, entrants, won, offline, rival, drafts, seconds)), asked


def _as_it_is(value: JSON) -> JSON:
    return value


def _signs_help(problem: Problem) -> bool:
    """Whether signs are anything that this problem's linear model could use."""
    return (
        kind_of(problem) == "classify" and 1 < len(problem) <= SIGNS_TO and signs.Signed().refuses(problem) is None
    )


def _may_show(problem: Problem, shares: Sequence[Share]) -> list[int]:
    """The rows that the prompt for signs may show: none where all of them judge."""
    return shares[0].seen if len(problem) >= ENOUGH else []


def _rival(problem: Problem, judging: Judging, offline: Synthesis | None) -> list[float]:
    """How often the offline candidate, made from the same rows as the drafts, was right on those that decide."""
    if offline is None or offline.unseen is None:
        return [0.0] * len(judging.rows)
    met: dict[int, list[bool]] = {row: [] for row in judging.rows}
    for judged in judging.sets:
        for row, answer in zip(judged, offline.unseen(list(judged)), strict=True):
            met[row].append(jsonl.canonical(answer.output) == problem.keys[row])
    return [sum(met[row]) / len(met[row]) for row in judging.rows]

"""How the model's candidates did beside the offline ones, as a user reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.judge import standard_error
from loopai_runtime.synthesis.strategy import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopai_runtime.synthesis.strategy import Problem, Synthesis
    from loopai_runtime.synthesis.writer.contest import Entrant
    from loopai_runtime.synthesis.writer.drafts import Draft
    from loopai_runtime.synthesis.writer.made import Other


def table(
    problem: Problem,
    entrants: Sequence[Entrant],
    won: Entrant | None,
    offline: Synthesis | None,
    rival: Other,
    drafts: Sequence[Draft],
    seconds: float,
) -> list[Candidate]:
    """A line for every candidate; `won` is None where an offline one did."""
    lines = [
        _line(problem, one, seconds, "won" if one is won else _verdict(one, won or rival, won)) for one in entrants
    ]
    lines.sort(key=lambda line: not line.won)
    theirs = list(offline.candidates) if offline else []
    if won is None:
        return [*theirs, *lines, *_not_running(drafts)]
    gap = _points(won, rival)
    beaten = f"lost by {gap:.1f} points to the written one" if gap > 0 else "as good, but larger"
    theirs = [replace(one, won=False, verdict=beaten) if one.won else one for one in theirs]
    return [*lines, *theirs, *_not_running(drafts)]


def _line(problem: Problem, entrant: Entrant, seconds: float, verdict: str) -> Candidate:
    groups = [problem.groups[row] for row in entrant.rows]
    error = round(standard_error(entrant.right, groups), 6) if groups else None
    accuracy = round(entrant.accuracy, 6) if groups else None
    won = verdict == "won"
    return Candidate(entrant.name, "llm", won, verdict, accuracy, error, entrant.bytes, None, round(seconds, 3))


def _points(entrant: Entrant, other: Entrant | Other) -> float:
    """Points by which one was better than the other on the rows that decide."""
    return round(100 * (entrant.accuracy - other.accuracy), 1)


def _verdict(entrant: Entrant, winner: Entrant | Other, won: Entrant | None) -> str:
    if not entrant.rows:
        return "not judged: there is no example that it has not seen"
    gap = _points(entrant, winner)
    where = f"on {len(entrant.rows)} rows that no prompt had shown"
    if gap > 0:
        return f"{gap:.1f} points better {where}: too little to tell from luck"
    if gap < 0:
        return f"lost by {-gap:.1f} points {where}"
    return "as good" if won else "as good, but larger"


def _not_running(drafts: Sequence[Draft]) -> Iterator[Candidate]:
    """Programs that never ran, and why."""
    for draft in drafts:
        if draft.best is None and draft.asked:
            why = draft.faults[0] if draft.faults else "no answer"
            yield Candidate(draft.name, "llm", False, f"does not run: {why[:200]}")

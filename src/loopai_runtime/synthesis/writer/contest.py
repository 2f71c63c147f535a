"""Programs of a model against the best offline candidate, on rows that no prompt has shown.

The model's own champion, one program or several that vote, is chosen on other rows than those that decide, where
there are enough. It wins where it was right clearly more often, near-duplicates counting once. Where it was
right as often, the smaller program wins, if it is clearly better than a constant: on so few rows a small lead of a
larger program is luck.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.errors import PolicyRefused
from loopai_runtime.intervals import binomial_tail
from loopai_runtime.synthesis.select import row_weights
from loopai_runtime.synthesis.strategy import Calibration, Prediction
from loopai_runtime.synthesis.writer.ensemble import Ensemble, Member, together, weight
from loopai_runtime.synthesis.writer.kinds import declared, labels
from loopai_runtime.synthesis.writer.runs import Opinion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from loopai_runtime.synthesis.strategy import Problem
    from loopai_runtime.synthesis.writer.drafts import Draft
    from loopai_runtime.synthesis.writer.runs import Runner

CLEARLY = 0.85
"""How probable it must be that the larger of two programs is the better one."""
_MUCH_WORSE = 0.2
"""Accuracy by which a program falls short of the best one beyond which it has no vote."""
_FRESH = 20
CHECKED_ROWS = 200
"""On which a whole program is compared with its parts."""

Said = dict[int, Opinion]


@dataclass(frozen=True)
class Entrant:
    """A candidate of the model: the program, and how it did on the rows that decide (`rows`).

    `said` is what the program as it is answers to rows, whoever has seen them; `sets` how many sets of rows were
    judged, each by programs that had seen none of it.
    """

    name: str
    emit: Callable[[Calibration], str]
    features: int
    rows: list[int]
    right: list[float] = field(repr=False)
    answers: list[Prediction] = field(repr=False)
    said: Mapping[int, Prediction] = field(repr=False)
    sets: int

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right) if self.right else 0.0

    @cached_property
    def bytes(self) -> int:
        return len(self.emit(Calibration(1.0, 0.0, 0.0)).encode("utf-8", "replace"))


class Judging:
    """What every draft that runs said to every row, and what that comes to."""

    def __init__(self, problem: Problem, drafts: Sequence[Draft], runner: Runner) -> None:
        self._problem = problem
        self._runner = runner
        self._said: dict[int, Said] = {}
        self.drafts = [draft for draft in drafts if self._hear(draft)]
        self.sets = sorted({tuple(draft.share.judged) for draft in drafts if draft.share.judged})
        self.rows = sorted({row for judged in self.sets for row in judged})
        self._crossed = len(self.sets) > 1
        self._labels = declared(problem)
        self._otherwise = _commonest(problem) if labels(problem) is not None else None

    def _hear(self, draft: Draft) -> bool:
        if draft.best is None:
            return False
        said = dict(zip(draft.share.seen, draft.best.opinions, strict=True))
        judged = draft.share.judged
        try:
            answers = self._runner.opinions(draft.best.source, [self._problem.inputs[row] for row in judged])
        except PolicyRefused:
            return False
        self._said[draft.number] = said | dict(zip(judged, answers, strict=True))
        return True

    def hits(self, draft: Draft, rows: Iterable[int]) -> int:
        said = self._said[draft.number]
        return sum(_hit(self._problem, row, said[row]) for row in rows)

    def champion(self) -> Entrant | None:
        """The model's best: one program, or all that are good enough voting, where that is no worse."""
        if not self.drafts:
            return None
        alone = self._entrant([self._best(self.drafts)], "written")
        several = self._voters(self.drafts)
        if len(several) < 2:
            return alone
        voting = self._entrant(several, "written, voting")
        if self._crossed:
            return voting if sum(voting.right) >= sum(alone.right) else alone
        fresh = self._fresh()
        together_ = sum(_right(self._problem, row, self._vote(several, several, row)) for row in fresh)
        return voting if together_ >= self.hits(self._best(self.drafts), fresh) else alone

    def _fresh(self) -> list[int]:
        """Rows that may be seen but stood in no prompt; all that may be seen, where those are too few."""
        shown = set().union(*[draft.shown for draft in self.drafts])
        seen = self.drafts[0].share.seen
        fresh = [row for row in seen if row not in shown]
        return fresh if len(fresh) >= _FRESH else list(seen)

    def _known(self, draft: Draft) -> list[int]:
        """The rows that weights are taken from: in cross-fitting also those the draft was judged on."""
        return [*draft.share.seen, *draft.share.judged] if self._crossed else list(draft.share.seen)

    def _best(self, drafts: Sequence[Draft]) -> Draft:
        return max(drafts, key=lambda one: (self._rate(one), -len(one.best.source.text) if one.best else 0))

    def _rate(self, draft: Draft) -> float:
        rows = self._known(draft)
        return self.hits(draft, rows) / len(rows) if rows else 0.0

    def _voters(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Those good enough to vote, each text once; none that say the same everywhere."""
        best = max(map(self._rate, drafts))
        kept: dict[tuple[object, ...], Draft] = {}
        for draft in sorted(drafts, key=lambda one: len(one.best.source.text) if one.best else 0):
            if self._rate(draft) >= best - _MUCH_WORSE:
                said = self._said[draft.number]
                kept.setdefault(tuple(jsonl.canonical(said[row].output) for row in sorted(said)), draft)
        return sorted(kept.values(), key=lambda draft: draft.number)

    def _entrant(self, members: Sequence[Draft], name: str) -> Entrant:
        ensemble = Ensemble(
            [self._member(draft, self._known(draft)) for draft in members], self._otherwise, self._labels
        )
        judges = [self._judges(row, members) for row in self.rows]
        answers = [self._vote(own, members, row, honest=True) for own, row in zip(judges, self.rows, strict=True)]
        if len(members) > 1 or not self._crossed:
            right = [float(_right(self._problem, row, one)) for row, one in zip(self.rows, answers, strict=True)]
        else:  # which program is the best was seen on these rows too: each is judged by all that have not seen it
            right = [
                sum(_hit(self._problem, row, self._said[draft.number][row]) for draft in own) / max(1, len(own))
                for own, row in zip(judges, self.rows, strict=True)
            ]
        every = sorted(set.intersection(*[set(self._said[draft.number]) for draft in members]))
        said = {row: ensemble.answer([self._said[draft.number][row] for draft in members]) for row in every}
        return Entrant(
            name=name,
            emit=lambda calibration: ensemble.emit(self._problem, calibration),
            features=len(members),
            rows=self.rows,
            right=right,
            answers=answers,
            said=said,
            sets=len(self.sets),
        )

    def _judges(self, row: int, members: Sequence[Draft]) -> list[Draft]:
        """The drafts that have not seen a row; in cross-fitting one program stands for any."""
        pool = self.drafts if self._crossed else members
        return [draft for draft in pool if row in draft.share.judged]

    def _vote(
        self, drafts: Sequence[Draft], members: Sequence[Draft], row: int, honest: bool = False
    ) -> Prediction:
        """What drafts say together; weighed by the rows they have seen alone, where `honest`."""
        if len(members) == 1 and len(drafts) > 1:
            drafts = [max(drafts, key=lambda one: self.hits(one, one.share.seen))]
        rows = {d.number: (d.share.seen if honest else self._known(d)) for d in drafts}
        weights = [weight(self.hits(draft, rows[draft.number]), len(rows[draft.number])) for draft in drafts]
        opinions = [self._said[draft.number][row] for draft in drafts]
        if not drafts:
            return Prediction(self._otherwise, -3.0)
        return together(opinions, weights) or Prediction(self._otherwise, -3.0)

    def _member(self, draft: Draft, rows: Sequence[int]) -> Member:
        assert draft.best is not None
        return Member(draft.best.source, weight(self.hits(draft, rows), len(rows)), draft.angle.name)


def _hit(problem: Problem, row: int, opinion: Opinion) -> bool:
    return opinion.error is None and jsonl.canonical(opinion.output) == problem.keys[row]


def _right(problem: Problem, row: int, answer: Prediction) -> bool:
    return jsonl.canonical(answer.output) == problem.keys[row]


def _commonest(problem: Problem) -> object:
    codes = list(problem.codes)
    return problem.labels[max(sorted(set(codes)), key=codes.count)] if codes else None


def wins(problem: Problem, entrant: Entrant, rival: Sequence[float], rival_bytes: int, forced: bool) -> bool:
    """Whether the model's champion is chosen over the rival, which was right on `rival` of the same rows.

    `forced`: the user asked for a program of the model; it need then only not be worse.
    """
    if not entrant.rows:
        return False
    won, lost = _points(problem, entrant, rival)
    if forced or (entrant.bytes < rival_bytes and _knows(problem, entrant)):
        return won >= lost
    return _clearly(won, lost)


def _clearly(won: float, lost: float) -> bool:
    """Whether who won so many draws and lost so many is the better one, most probably (a uniform prior)."""
    return won > lost and binomial_tail(won, won + lost + 1, 0.5) >= CLEARLY


def _knows(problem: Problem, entrant: Entrant) -> bool:
    """Whether it is clearly better than saying the commonest output always.

    A program that knows nothing is as good as one that has learned from half of a few examples, and smaller; but
    that other one learns from all of them in the end.
    """
    common = jsonl.canonical(_commonest(problem))
    constant = [float(problem.keys[row] == common) for row in entrant.rows]
    return _clearly(*_points(problem, entrant, constant))


def _points(problem: Problem, entrant: Entrant, rival: Sequence[float]) -> tuple[float, float]:
    """In how many near-duplicate groups either was right more often; rare labels count more than common ones."""
    weights = row_weights(problem)
    gaps: dict[int, float] = {}
    for row, mine, other in zip(entrant.rows, entrant.right, rival, strict=True):
        group = problem.groups[row]
        gaps[group] = gaps.get(group, 0.0) + weights[row] * (mine - other)
    limit = [min(1.0, max(-1.0, gap)) for gap in gaps.values()]
    return sum(gap for gap in limit if gap > 0), -sum(gap for gap in limit if gap < 0)

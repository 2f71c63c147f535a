"""Programs on their way: written, let in or refused, run on the rows they may see, repaired at most three times.

A round asks for all drafts at once and then runs them one after the other. Money may end at any call: what has
been written by then goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from loopai_runtime import jsonl
from loopai_runtime.errors import CapReached, Fault, MissingExtra, ModelError, PolicyRefused
from loopai_runtime.synthesis.writer import prompts
from loopai_runtime.synthesis.writer.answers import program_in
from loopai_runtime.synthesis.writer.parallel import at_once
from loopai_runtime.synthesis.writer.runs import Opinion
from loopai_runtime.synthesis.writer.showing import chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.synthesis.strategy import JSON, Problem
    from loopai_runtime.synthesis.writer.angles import Angle
    from loopai_runtime.synthesis.writer.plan import Share
    from loopai_runtime.synthesis.writer.runs import Runner
    from loopai_runtime.synthesis.writer.source import Source

REPAIRS = 3
AT_ONCE = 4
"""Calls of a model that are under way together."""
MAX_TOKENS = 12_000
"""Of an answer, what a model thinks first included."""
_ONE_IN = 20
"""One wrong row in so many may be a mistake of the examples: a program right on all others is not repaired."""
TEMPERATURES = (0.2, 0.7, 0.9)


class Asks(Protocol):
    """A language model, as `llm.Model` is one."""

    def ask(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        purpose: Any,
        max_tokens: int,
        temperature: float = 0.0,
        schema: dict[str, Any] | None = None,
        sample: int = 0,
    ) -> Any:
        """A reply with `text`, `data` and `spent`. Raises ModelError, CapReached."""

    def most_usd(self, messages: Sequence[dict[str, Any]], max_tokens: int) -> float:
        """The most that such a call can cost. Raises ModelError where no price is known."""


class Tried(NamedTuple):
    """A program that ran: how it did on the rows its prompts may show."""

    source: Source
    opinions: list[Opinion]
    hits: int


@dataclass
class Draft:
    """One program in the making."""

    number: int
    angle: Angle
    share: Share
    messages: list[dict[str, str]]
    shown: set[int]
    best: Tried | None = None
    repairs: int = 0
    asked: int = 0
    faults: list[str] = field(default_factory=list)
    """What was wrong with the last answer, in words; empty where it ran."""
    finished: bool = False

    @property
    def name(self) -> str:
        return f"written {self.number}, {self.angle.name}"


def briefed(told: Problem, shares: Sequence[Share], angles: Sequence[Angle], seed: int) -> list[Draft]:
    """Drafts that nobody has been asked for yet; `told` is the problem as prompts may show it."""
    made = []
    for number, (share, angle) in enumerate(zip(shares, angles, strict=True), 1):
        shown = chosen(told, share.seen, seed * 100 + number)
        messages = prompts.write(told, share.seen, shown, angle)
        made.append(Draft(number, angle, share, messages, set(shown)))
    return made


class Workshop:
    """Has drafts written and repaired. `stopped` says in one line what ended it early, if anything did.

    `hide` makes a value fit for prompts, and `told` is the problem with all of its values so.
    """

    def __init__(
        self,
        problem: Problem,
        model: Asks,
        runner: Runner,
        seed: int,
        *,
        told: Problem,
        hide: Callable[[JSON], JSON],
        tell: Callable[[str], None],
    ) -> None:
        self._problem = problem
        self._model = model
        self._runner = runner
        self._seed = seed
        self._told = told
        self._hide = hide
        self._tell = tell
        self.stopped: str | None = None

    def write(self, drafts: Sequence[Draft]) -> None:
        """Have all of them written, and repaired while that helps.

        On KeyboardInterrupt what runs by then is kept; raises it where nothing does.
        """
        try:
            self._rounds(drafts)
        except KeyboardInterrupt:
            if all(draft.best is None for draft in drafts):
                raise
            self.stopped = "interrupted"

    def _rounds(self, drafts: Sequence[Draft]) -> None:
        for repair in range(REPAIRS + 1):
            waiting = [draft for draft in drafts if not draft.finished]
            if not waiting or self.stopped:
                return
            what = f"repairing {len(waiting)} programs" if repair else f"asking for {len(waiting)} programs"
            self._tell(what)
            texts = self._ask_all(waiting, "repair" if repair else "write")
            for draft, text in zip(waiting, texts, strict=True):
                draft.repairs = repair
                if text is not None:
                    self._tell(f"trying program {draft.number}")
                    self._try(draft, text)

    def _ask_all(self, drafts: Sequence[Draft], purpose: str) -> list[str | None]:
        """The answers to all drafts' prompts; None where there is none, and then `stopped` or the draft says why.

        Calls that are under way together each reserve the most they can cost; one that was refused for that alone
        is made again when the others have settled.
        """
        answers = at_once(AT_ONCE, lambda draft: self._ask(draft, purpose), drafts)
        for at, draft in enumerate(drafts):
            if isinstance(answers[at], CapReached) and not self.stopped:
                answers[at] = self._ask(draft, purpose)
                if isinstance(answers[at], CapReached):
                    self.stopped = str(answers[at])
        failures = [answer for answer in answers if isinstance(answer, (ModelError, MissingExtra))]
        if failures and not self.stopped and len(failures) == len(answers):
            first = failures[0]
            self.stopped = f"{first} ({first.hint})" if first.hint else str(first)
        for draft, answer in zip(drafts, answers, strict=True):
            if isinstance(answer, Exception):
                draft.finished = True
                draft.faults = [str(answer)]
        return [answer if isinstance(answer, str) else None for answer in answers]

    def _ask(self, draft: Draft, purpose: str) -> str | ModelError | CapReached | MissingExtra:
        temperature = TEMPERATURES[min(draft.number - 1, len(TEMPERATURES) - 1)]
        try:
            reply = self._model.ask(
                draft.messages,
                purpose=purpose,
                max_tokens=MAX_TOKENS,
                temperature=temperature,
                sample=self._seed * 100 + draft.number,
            )
        except (ModelError, CapReached, MissingExtra) as error:
            return error
        draft.asked += 1
        return str(reply.text)

    def _try(self, draft: Draft, text: str) -> None:
        """Read, lint, run and score an answer; leave the draft finished, or with the messages of a repair."""
        code = program_in(text)
        if code is None:
            self._again(draft, text[:2000], prompts.NO_CODE, ["no program in the answer"])
            return
        try:
            source = self._runner.read(code)
            seen = draft.share.seen
            opinions = self._runner.opinions(source, [self._problem.inputs[row] for row in seen])
        except PolicyRefused as refusal:
            faults = [_fault(fault) for fault in refusal.faults]
            self._again(draft, _block(code), prompts.refused(faults), faults)
            return
        said = dict(zip(seen, opinions, strict=True))
        missed = [row for row in seen if not self._hit(row, said[row])]
        hits = len(seen) - len(missed)
        better = draft.best is None or hits > draft.best.hits
        draft.faults = []
        if better:
            draft.best = Tried(source, opinions, hits)
        if len(missed) <= len(seen) // _ONE_IN or not better:
            draft.finished = True
            return
        failing = self._failing(draft, said, missed)
        shown = {row: self._shown(opinion) for row, opinion in said.items()}
        self._again(draft, _block(code), prompts.wrong(self._told, shown, missed, failing), [])

    def _hit(self, row: int, opinion: Opinion) -> bool:
        return opinion.error is None and jsonl.canonical(opinion.output) == self._problem.keys[row]

    def _failing(self, draft: Draft, said: dict[int, Opinion], missed: Sequence[int]) -> list[int]:
        """Rows to show in a repair, every output in turn; errors come first."""
        errors = [row for row in missed if said[row].error]
        others = chosen(self._problem, [row for row in missed if not said[row].error], self._seed + draft.number)
        rows = [*errors[:4], *others][: prompts.MOST_FAILURES]
        draft.shown.update(rows)
        return rows

    def _shown(self, opinion: Opinion) -> Opinion:
        """What a program said, as a prompt may show it."""
        error = opinion.error and str(self._hide(opinion.error))
        return Opinion(self._hide(opinion.output), opinion.sure, str(self._hide(opinion.why)), error)

    def _again(self, draft: Draft, said: str, ask: str, faults: list[str]) -> None:
        """The next prompt of the draft: its first one, its last program, and what is wrong with that."""
        draft.faults = faults
        if draft.repairs >= REPAIRS:
            draft.finished = True
        answer = {"role": "assistant", "content": said or "(nothing)"}
        draft.messages = [*draft.messages[:2], answer, {"role": "user", "content": ask}]


def hidden(problem: Problem, hide: Callable[[JSON], JSON] | None) -> Problem:
    """The problem as prompts may show it."""
    if hide is None:
        return problem
    inputs, outputs = map(hide, problem.inputs), map(hide, problem.outputs)
    others = list(map(hide, problem.unlabelled))
    return replace(problem, inputs=list(inputs), outputs=list(outputs), unlabelled=others, memo={})


def _block(code: str) -> str:
    return f"```python\n{code.rstrip()}\n```"


def _fault(fault: Fault) -> str:
    return f"line {fault.line}: {fault.message}" if fault.line else fault.message

"""The language model that writes a task's programs, assembled: where it is, what it may cost, what it may see."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime.errors import CapReached, LoopaiError, MissingExtra, ModelError
from loopai_runtime.events import Audit
from loopai_runtime.ledger import Ledger
from loopai_runtime.llm import AnswerCache, Endpoint, Model, Prices, Reply
from loopai_runtime.llm.provider import provider_of
from loopai_runtime.redaction import Redactor
from loopai_runtime.schemas import Schema
from loopai_runtime.synthesis.writer.runs import Bench
from loopai_runtime.synthesis.writer.write import Asked, compete, preview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import TaskSpecification
    from loopai_runtime.sandbox import SyncPool
    from loopai_runtime.synthesis.strategy import Problem, Synthesis
    from loopai_runtime.synthesis.writer.write import Prompts


@dataclass(frozen=True)
class Writing:
    """What a model was asked for, what that cost, and in words what became of it."""

    model: str
    provider: str
    usd: float
    calls: int
    cached: int
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Writer:
    """One command's model. `tell` hears what leaves this machine, before it does."""

    def __init__(
        self,
        spec: TaskSpecification,
        layout: Layout,
        config: Config,
        *,
        model: str,
        max_cost_usd: float,
        tell: Callable[[str], None],
    ) -> None:
        self.spec = spec
        self._layout = layout
        self._tell = tell
        self._cap = max_cost_usd
        options = spec.generate
        prices = Prices(options.prices.input, options.prices.output) if options.prices else None
        once = config.llm.timeout_sec
        self.endpoint = Endpoint(
            model, api_base=options.api_base, prices=prices, timeout_s=2 * once, attempt_s=once
        )
        self._ledger = Ledger(
            layout, spec.task_id, max_usd_per_command=max_cost_usd, max_usd_per_day=config.llm.max_usd_per_day
        )
        self._counted: Counted | None = None
        self.notes: list[str] = []

    def answer_by(self, until: float) -> None:
        """Ask nothing more, and wait for no answer, from `until` (`time.monotonic()`) on."""
        self.model().until = until

    @property
    def may_spend(self) -> bool:
        """Whether any call may be made at all."""
        return self._cap > 0

    @property
    def send(self) -> Literal["full", "redacted"]:
        """Whether examples stand in prompts as they are: to this machine, or where the specification says so.

        Raises ModelError, MissingExtra.
        """
        return self.spec.generate.send or ("full" if self.endpoint.loopback else "redacted")

    @property
    def hide(self) -> Callable[[Any], Any] | None:
        """Makes a value fit for prompts; None where it is as it is."""
        return None if self.send == "full" else Redactor().redact

    def model(self) -> Counted:
        """The model, paid from the ledger; the same one whenever it is asked for."""
        if self._counted is None:
            cache = AnswerCache(self._layout)
            self._counted = Counted(Model(self.endpoint, self._ledger, cache, leaving=self._leaving))
        return self._counted

    def preview(self, problem: Problem, seed: int) -> Prompts:
        """What would be asked, and the most it could cost; makes no call and writes nothing. Raises ModelError."""
        return preview(problem, Model(self.endpoint, self._ledger), seed, self.hide)

    def write(
        self,
        problem: Problem,
        offline: Synthesis | None,
        pool: SyncPool,
        *,
        seed: int,
        forced: bool,
        timeout_ms: int,
        memory_mb: int,
        progress: Callable[[str], None],
    ) -> Synthesis | None:
        """The better of what the model writes and the offline candidate, which stands wherever the model cannot be
        asked: `notes` then say why."""
        if not self.may_spend:
            self.notes.append(
                f"{self.endpoint.model} was not asked: max_cost_usd is 0; the offline candidates it is"
            )
            return offline
        bench = Bench(pool, Schema(problem.output_schema).accepts, timeout_ms, memory_mb)
        try:
            made, asked = compete(
                problem, offline, self.model(), bench, seed=seed, forced=forced, tell=progress, hide=self.hide
            )
        except (ModelError, CapReached, MissingExtra) as error:
            self.notes.append(f"{self.endpoint.model} was not asked: {_why(error)}; the offline candidates it is")
            return offline
        except KeyboardInterrupt:
            if offline is None:
                raise
            self.notes.append("interrupted while the model wrote: the best offline candidate is taken")
            return offline
        self.notes += self._said(asked)
        return made

    def _said(self, asked: Asked) -> list[str]:
        model, calls = self.endpoint.model, self.model().calls
        said = []
        if asked.stopped and not asked.running:
            said.append(f"{model} wrote no program: {asked.stopped}; the offline candidates it is")
        elif asked.stopped:
            said.append(f"{model} was not asked further: {asked.stopped}")
        if late := self.model().late:
            said.append(f"{model} was cut short: the time was over before {late} of its answers had come")
        if asked.no_signs:
            said.append(f"{model} named no signs for the linear model: {asked.no_signs}")
        if asked.running or self.usd:
            said.append(
                f"{model}: {asked.running} of {asked.programs} programs run, {asked.repairs} repairs,"
                f" {calls} calls, ${self.usd:.4f} spent"
            )
        return said

    @property
    def usd(self) -> float:
        """What was spent, as the ledger has it."""
        return self._ledger.spent_usd

    def report(self) -> Writing:
        counted = self._counted
        return Writing(
            self.endpoint.model,
            self._provider(),
            self.usd,
            counted.calls if counted else 0,
            counted.cached if counted else 0,
            list(self.notes),
        )

    def _provider(self) -> str:
        try:
            return provider_of(self.endpoint) if self._counted else ""
        except LoopaiError:
            return ""

    def _leaving(self, destination: str) -> None:
        how = "as they are" if self.send == "full" else "personal data redacted"
        self._tell(f"{self.endpoint.model}: the task and some examples go to {destination}, {how}")
        Audit(self._layout).record(
            "generate.send",
            task_id=self.spec.task_id,
            model=self.endpoint.model,
            destination=destination,
            send=self.send,
        )


class Counted:
    """A model that counts what it is asked; safe to be asked by several threads."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = Lock()
        self.until = math.inf
        self.calls = 0
        self.cached = 0
        self.late = 0
        """Asked for, and not there when the time was over."""

    def ask(self, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """As `Model.ask`."""
        try:
            reply = self._model.ask(messages, until=self.until, **options)
        except ModelError:
            self._count(cached=False, late=time.monotonic() >= self.until)
            raise
        self._count(reply.spent.cached)
        return reply

    def most_usd(self, messages: Sequence[dict[str, Any]], max_tokens: int) -> float:
        return self._model.most_usd(messages, max_tokens)

    def _count(self, cached: bool, late: bool = False) -> None:
        with self._lock:
            self.late += late
            self.calls += not cached
            self.cached += cached


def _why(error: LoopaiError) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)

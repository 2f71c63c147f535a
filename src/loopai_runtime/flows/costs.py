"""What a task has cost, and what it saves against asking a model about each input.

    from loopai_runtime.flows.costs import costs

    costs(layout, "spam-detection").as_dict()

Making is what was spent before a version served (writing, repairing, inventing and labelling); running is what
its service costs on (validating, deferring). The model it is compared with is the one that the task asks, at what
its calls have really cost; where it was never asked about single inputs, at its price for as many tokens as the
task's description and the logged inputs and outputs come to.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import jsonl, ledger
from loopai_runtime.datasets import history, raw, stats, tail
from loopai_runtime.errors import DocumentError, LoopaiError, NotFound
from loopai_runtime.llm import Endpoint, Prices
from loopai_runtime.synthesis.specfile import load_saved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loopai_runtime.datasets.history import Past
    from loopai_runtime.layout import Layout
    from loopai_runtime.ledger import Entry
    from loopai_runtime.models import TaskSpecification, TokenPrices

RUNNING = frozenset({"validate", "audit", "judge", "defer"})
ONE_INPUT = frozenset({"label", "validate", "defer"})  # calls that answer one input of the task
MONTH_DAYS = 30
LEAST_DAYS = 1 / 24  # a rate from less than an hour of traffic would be noise
BYTES_PER_TOKEN = 4
_LOOKED_AT = 200  # executions whose sizes are taken for those of all


class Line(NamedTuple):
    """What was spent for one purpose on one model."""

    purpose: str
    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float


class ModelCall(NamedTuple):
    """One call to a model in the program's place: measured on `n` calls, or estimated from `n` executions."""

    model: str
    usd: float
    prompt_tokens: float
    completion_tokens: float
    basis: Literal["measured", "estimated"]
    n: int


class Month(NamedTuple):
    """Thirty days at the observed traffic. `model_usd`: what it would cost to ask the model about all of it."""

    executions: float
    model_usd: float
    running_usd: float
    saved_usd: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Executions, how many of them the program answered and how many the oracle, over how many days."""

    executions: int = 0
    answered: int = 0
    deferred: int = 0
    days: float = 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """`call` is None where nobody knows what one would cost; `unknown` then says why."""

    task_id: str
    since: str | None
    lines: list[Line]
    making_usd: float
    """Ever, whatever days are looked at."""
    unsettled_usd: float
    """Part of what was spent: set aside by calls that are under way, or whose process died."""
    traffic: Traffic
    call: ModelCall | None
    unknown: str | None = None

    @property
    def spent_usd(self) -> float:
        return math.fsum(line.usd for line in self.lines)

    @property
    def running_usd(self) -> float:
        return math.fsum(line.usd for line in self.lines if line.purpose in RUNNING)

    @property
    def avoided_usd(self) -> float | None:
        """What the model would have taken for the inputs that the program answered."""
        return None if self.call is None else self.traffic.answered * self.call.usd

    @property
    def saved_usd(self) -> float | None:
        """That, less all that was spent."""
        return None if self.avoided_usd is None else self.avoided_usd - self.spent_usd

    @property
    def gain_usd(self) -> float | None:
        """What one execution saves, once there is a program."""
        if self.avoided_usd is None or not self.traffic.executions:
            return None
        return (self.avoided_usd - self.running_usd) / self.traffic.executions

    @property
    def break_even_calls(self) -> int | None:
        """Executions after which the making is paid for; None: never, or not known."""
        if self.gain_usd is None or self.gain_usd <= 0:
            return 0 if self.gain_usd is not None and not self.making_usd else None
        return math.ceil(self.making_usd / self.gain_usd)

    @property
    def month(self) -> Month | None:
        if self.call is None or self.gain_usd is None:
            return None
        executions = self.traffic.executions / self.traffic.days * MONTH_DAYS
        running = self.running_usd / self.traffic.executions
        return Month(executions, executions * self.call.usd, executions * running, executions * self.gain_usd)

    def as_dict(self) -> dict[str, Any]:
        """As `analyze --cost -o json` prints it; money in US dollars."""
        return {
            "task_id": self.task_id,
            "since": self.since,
            "spent_usd": _money(self.spent_usd),
            "making_usd": _money(self.making_usd),
            "running_usd": _money(self.running_usd),
            "unsettled_usd": _money(self.unsettled_usd),
            "spent": [line._asdict() | {"usd": _money(line.usd)} for line in self.lines],
            "executions": self.traffic.executions,
            "answered": self.traffic.answered,
            "deferred": self.traffic.deferred,
            "observed_days": round(self.traffic.days, 3),
            "model_call": self.call and self.call._asdict(),
            "model_call_unknown": self.unknown,
            "avoided_usd": _money(self.avoided_usd),
            "saved_usd": _money(self.saved_usd),
            "break_even_calls": self.break_even_calls,
            "month": self.month and {name: round(value, 6) for name, value in self.month._asdict().items()},
        }


def _money(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 9)


def costs(layout: Layout, task_id: str, *, days: int | None = None, model: str | None = None) -> Costs:
    """What a task has cost in the last `days` days (today, in UTC, and those before it), or ever.

    `model` names another model to compare with. Raises NotFound, StorageError.
    """
    entries = [entry for entry in ledger.read(layout) if entry.task_id == task_id]
    if not entries:
        layout.require_task(task_id)
    return _costs(layout, task_id, entries, days, model)


def all_costs(layout: Layout, *, days: int | None = None, model: str | None = None) -> list[Costs]:
    """`costs` of every task here. Raises StorageError."""
    entries: dict[str, list[Entry]] = {name: [] for name in layout.tasks()}
    for entry in ledger.read(layout):
        if entry.task_id:
            entries.setdefault(entry.task_id, []).append(entry)
    return [_costs(layout, name, entries[name], days, model) for name in sorted(entries)]


def _costs(layout: Layout, task_id: str, entries: list[Entry], days: int | None, model: str | None) -> Costs:
    wanted = stats.last_days(days) if days else _all_days(layout, task_id)
    since = min(wanted, default=None)
    recent = [entry for entry in entries if days is None or entry.at[:10] >= str(since)]
    traffic = _traffic(layout, task_id, wanted)
    call, unknown = _model_call(layout, task_id, entries, model)
    return Costs(
        task_id,
        since,
        _lines(recent),
        math.fsum(entry.usd for entry in entries if entry.purpose not in RUNNING),
        math.fsum(entry.usd for entry in recent if entry.state == "reserved"),
        traffic,
        call,
        unknown,
    )


def _lines(entries: Iterable[Entry]) -> list[Line]:
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.state != "released":
            groups[entry.purpose, entry.model].append(entry)
    lines = [
        Line(
            purpose,
            model,
            len(group),
            sum(entry.prompt_tokens for entry in group),
            sum(entry.completion_tokens for entry in group),
            math.fsum(entry.usd for entry in group),
        )
        for (purpose, model), group in groups.items()
    ]
    return sorted(lines, key=lambda line: (-line.usd, line.purpose, line.model))


# --- traffic


def _all_days(layout: Layout, task_id: str) -> list[str]:
    """Days of which there are executions or rollups."""
    place = layout.analytics(task_id)
    rolled = {path.stem.removeprefix("daily-stats-") for path in place.glob("daily-stats-*.json")}
    return sorted(rolled | set(raw.days(layout, task_id)))


def _traffic(layout: Layout, task_id: str, days: Sequence[str]) -> Traffic:
    seen = [day for day in stats.window(layout, task_id, days) if day.counts.total().count]
    if not seen:
        return Traffic()
    totals = [day.counts.total() for day in seen]
    failed = sum(total.errors + total.timeouts for total in totals)
    begun = datetime.fromisoformat(seen[0].day).replace(tzinfo=UTC) + timedelta(hours=int(min(seen[0].hours)))
    return Traffic(
        sum(total.count for total in totals),
        max(0, sum(total.sources["program"] for total in totals) - failed),
        sum(total.sources["oracle"] for total in totals),
        max(LEAST_DAYS, (datetime.now(UTC) - begun) / timedelta(days=1)),
    )


# --- what a call would cost


def _model_call(
    layout: Layout, task_id: str, entries: Sequence[Entry], model: str | None
) -> tuple[ModelCall | None, str | None]:
    """A call, or why it is not known."""
    spec = _spec(layout, task_id)
    past = history.read(layout, task_id)
    asked = [entry for entry in entries if entry.purpose in ONE_INPUT and entry.prompt_tokens]
    if past and not asked and model in (None, *past[-1].models):
        return _past_call(past, model or next(iter(past[-1].models), "the model"), spec)
    chosen = model or _usual(asked) or _named(spec) or _usual(entries)
    if chosen is None:
        return None, "no model was asked or is named; --model NAME chooses one to compare with"
    own = [entry for entry in asked if entry.model == chosen]
    if own:
        told, wrote = _mean(entry.prompt_tokens for entry in own), _mean(entry.completion_tokens for entry in own)
        return ModelCall(chosen, _mean(entry.usd for entry in own), told, wrote, "measured", len(own)), None
    if asked:
        told, wrote = (
            _mean(entry.prompt_tokens for entry in asked),
            _mean(entry.completion_tokens for entry in asked),
        )
        n = len(asked)
    else:
        told, wrote, n = _sizes(layout, task_id, spec)
        if not n:
            return None, "nothing was executed yet that its inputs' size could be taken from"
    try:
        prices = _prices(chosen, spec, told)
    except LoopaiError as error:
        return None, f"{error} ({error.hint})" if error.hint else str(error)
    return ModelCall(chosen, prices.usd(told, wrote), told, wrote, "measured" if asked else "estimated", n), None


def _past_call(
    past: Sequence[Past], model: str, spec: TaskSpecification | None
) -> tuple[ModelCall | None, str | None]:
    """A call as the log had it that was imported: at its own costs, else at the model's price for its tokens."""
    calls, priced = sum(one.calls for one in past), sum(one.priced for one in past)
    told, wrote = (
        sum(one.prompt_tokens for one in past) / calls,
        sum(one.completion_tokens for one in past) / calls,
    )
    if priced:
        usd = math.fsum(one.usd for one in past) / priced
        return ModelCall(model, usd, told, wrote, "measured", priced), None
    try:
        return ModelCall(model, _prices(model, spec, told).usd(told, wrote), told, wrote, "measured", calls), None
    except LoopaiError as error:
        return None, f"{error} ({error.hint})" if error.hint else str(error)


def _spec(layout: Layout, task_id: str) -> TaskSpecification | None:
    try:
        return load_saved(layout, task_id).spec
    except (NotFound, DocumentError):
        return None


def _usual(entries: Sequence[Entry]) -> str | None:
    """The model that was asked most often."""
    models = [entry.model for entry in entries]
    return max(sorted(set(models)), key=models.count, default=None)


def _named(spec: TaskSpecification | None) -> str | None:
    if spec is None:
        return None
    return (spec.oracle.model if spec.oracle else None) or spec.generate.model


def _sizes(layout: Layout, task_id: str, spec: TaskSpecification | None) -> tuple[float, float, int]:
    """Tokens of a prompt and of an answer, by their bytes, and on how many executions that rests."""
    records = tail.latest(layout, [task_id], _LOOKED_AT, lambda record: record.get("status") == "success")
    if not records:
        return 0.0, 0.0, 0
    frame = len(spec.description.encode()) + len(jsonl.compact(spec.output_schema)) if spec else 0
    told = frame + _mean(len(jsonl.compact(record.get("input"))) for record in records)
    wrote = _mean(len(jsonl.compact(record.get("output"))) for record in records)
    return told / BYTES_PER_TOKEN, wrote / BYTES_PER_TOKEN, len(records)


def _prices(model: str, spec: TaskSpecification | None, prompt_tokens: float) -> Prices:
    """The specification's, else litellm's. Raises ModelError, MissingExtra."""
    from loopai_runtime.llm.provider import prices_of

    given: list[tuple[str | None, TokenPrices | None, str | None]] = []
    if spec is not None:
        given.append((spec.generate.model, spec.generate.prices, spec.generate.api_base))
        if spec.oracle is not None:
            given.append((spec.oracle.model, spec.oracle.prices, spec.oracle.url))
    base = None
    for name, prices, url in given:
        if name == model:
            if prices is not None:
                return Prices(prices.input, prices.output)
            base = base or url
    return prices_of(Endpoint(model, base), math.ceil(prompt_tokens))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)

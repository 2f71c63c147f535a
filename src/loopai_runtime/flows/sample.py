"""How a version's executions are chosen for checking: the plan that settings and budgets make, and what it would
have chosen of those that are logged."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts.state import read_state
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.config.sections import HIGHEST_RATE, LOWEST_RATE
from loopai_runtime.datasets import logged
from loopai_runtime.errors import GateMissed
from loopai_runtime.sampling import Pace, Plan, Sampler, Seen, expected_weight
from loopai_runtime.sampling.pace import DAY_S, labels_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact

PRECISION_DAYS = 7
"""`sampling.precision` is that of a week, as `analyze` shows one."""
MONTH_DAYS = 30
_Z = 1.96
_GUESSED_ACCURACY = 0.9
_COUNTED_BYTES = 64 * 2**20  # of today's log, when a server starts


def sampling_of(
    artifact: ProgramArtifact, config: Config, layout: Layout, tell: Callable[[str], None] = lambda _line: None
) -> Sampler:
    """How the version's executions are chosen from now on; `tell` hears which setting has no effect yet.

    Raises StorageError.
    """
    plan = plan_of(artifact, config, changed_at(artifact, layout), _price(artifact, config, layout, tell))
    pace = None
    if plan.labels_per_day:
        spent, per_second = _today(layout, artifact.task_id)
        pace = Pace(plan.labels_per_day, most=plan.rate, spent=spent, per_second=per_second, at=time.time())
    mean = expected_weight(plan, artifact.judged.get("reference") or {})
    return Sampler(plan, layout.secret("sampling"), pace=pace, mean=mean)


def _price(artifact: ProgramArtifact, config: Config, layout: Layout, tell: Callable[[str], None]) -> float | None:
    """What a label costs, where there is a limit of money that needs to know it."""
    if config.sampling.max_usd_per_month is None:
        return None
    from loopai_runtime.flows import label_price  # with it come the oracles and the network

    price = label_price.usd_per_label(artifact, config, layout)
    if price is None:
        tell(label_price.UNKNOWN)
    return price


def plan_of(
    artifact: ProgramArtifact, config: Config, changed: float | None = None, usd_per_label: float | None = None
) -> Plan:
    """What the settings ask for. A rate that somebody gave is the most there is; budgets may choose less."""
    asked = config.sampling
    budgets = _budgets(artifact, config, usd_per_label)
    free = bool(budgets) and not config.is_set("sampling.rate")
    chosen = "adaptive" in asked.strategies or asked.precision is not None
    own = min(HIGHEST_RATE, max(LOWEST_RATE, config.sampling_rate(artifact.sampling_rate)))
    return Plan(
        asked.strategies,
        HIGHEST_RATE if free and chosen else own,
        min(budgets) if budgets else None,
        changed,
        asked.boost,
        asked.half_life_hours * 3600,
    )


def _budgets(artifact: ProgramArtifact, config: Config, usd_per_label: float | None) -> list[float]:
    """Labels a day, by each limit that is set."""
    asked, found = config.sampling, list[float]()
    if asked.precision is not None:
        accuracy = (artifact.accuracy or {}).get("value", _GUESSED_ACCURACY)
        found.append(labels_for(asked.precision, accuracy, PRECISION_DAYS))
    if asked.max_labels_per_day is not None:
        found.append(float(asked.max_labels_per_day))
    if asked.max_usd_per_month is not None and usd_per_label:
        found.append(asked.max_usd_per_month / MONTH_DAYS / usd_per_label)
    return found


def changed_at(artifact: ProgramArtifact, layout: Layout) -> float | None:
    """When the version last began to serve, in seconds since 1970. Raises StorageError."""
    for event in reversed(read_state(layout.state(artifact.task_id)).history):
        if event.version == artifact.version and event.action in ("activate", "rollback"):
            return datetime.fromisoformat(event.at).timestamp()
    return None


def _today(layout: Layout, task_id: str) -> tuple[int, float | None]:
    """Executions chosen today, and executions a second, as far as the log can tell them quickly."""
    now = time.time()
    today = time.strftime("%Y-%m-%d", time.gmtime(now))
    path = layout.executions(task_id, today)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _COUNTED_BYTES))
            tail = file.read()
    except OSError:  # whatever keeps it from being read, a budget is no reason not to answer
        return 0, None
    scale = size / max(1, len(tail))
    seen = tail.count(b"\n") * scale
    return round(tail.count(b'"sampled":true') * scale), seen / (now % DAY_S + 1) if seen >= 100 else None


@dataclass(slots=True)
class Share:
    """Executions that belong together, and how many of them a plan chooses."""

    executions: int = 0
    chosen: int = 0
    expected: float = 0.0
    variance: float = 0.0  # of the estimated number of right ones, in units of p (1 - p)
    least: float = 1.0
    most: float = 0.0

    def add(self, sampled: bool, pi: float) -> None:
        self.executions += 1
        self.chosen += sampled
        self.expected += pi
        self.variance += (1 - pi) / pi if pi else 0.0
        self.least, self.most = min(self.least, pi), max(self.most, pi)

    def as_dict(self) -> dict[str, Any]:
        return {
            "executions": self.executions,
            "chosen": self.chosen,
            "expected": round(self.expected, 1),
            "pi_mean": round(self.expected / self.executions, 4) if self.executions else None,
            "pi_min": self.least if self.executions else None,
            "pi_max": self.most if self.executions else None,
        }


@dataclass(slots=True)
class DryRun:
    """What a plan would have chosen of logged executions; `other` of them are no answer of the program's."""

    task_id: str
    plan: Plan
    accuracy: float
    total: Share = field(default_factory=Share)
    by_label: dict[str, Share] = field(default_factory=dict)
    by_confidence: dict[str, Share] = field(default_factory=dict)
    by_day: dict[str, Share] = field(default_factory=dict)
    other: int = 0

    @property
    def half_width(self) -> float:
        """What the accuracy would be known to within, to either side, without help from confidences."""
        unit = self.accuracy * (1 - self.accuracy) * self.total.variance
        return min(1.0, float(_Z * unit**0.5 / max(1, self.total.executions)))

    def as_dict(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "strategy": "+".join(self.plan.strategies),
            "rate": self.plan.rate,
            "labels_per_day": self.plan.labels_per_day and round(self.plan.labels_per_day, 1),
            "total": self.total.as_dict() | {"half_width": round(self.half_width, 4)},
            "not_answered": self.other,
            "by_day": {key: share.as_dict() for key, share in self.by_day.items()},
            "by_label": {key: share.as_dict() for key, share in self.by_label.items()},
            "by_confidence": {key: self.by_confidence[key].as_dict() for key in sorted(self.by_confidence)},
        }


_MOST_LABELS = 300


def dry_run(
    artifact: ProgramArtifact,
    plan: Plan,
    key: bytes,
    records: Iterable[dict[str, Any]],
    chosen: Callable[[dict[str, Any], float], None] = lambda _record, _pi: None,
) -> DryRun:
    """Choose among logged executions as a server with this plan would have; `chosen` is given each with its pi.

    Raises GateMissed where there are none.
    """
    accuracy = (artifact.accuracy or {}).get("value", _GUESSED_ACCURACY)
    run = DryRun(artifact.task_id, plan, accuracy)
    sampler = Sampler(plan, key, mean=expected_weight(plan, artifact.judged.get("reference") or {}))
    for record in records:
        if record.get("status") != "success" or record.get("source", "program") != "program":
            run.other += 1
            continue
        confidence = record.get("confidence")
        seen = Seen(
            record["execution_id"], record.get("input"), record.get("output"), confidence, logged.at_of(record)
        )
        sampled, pi = sampler.choose(seen)
        for share in _shares(run, record, confidence):
            share.add(sampled, pi)
        if sampled:
            chosen(record, pi)
    if not run.total.executions:
        raise GateMissed(
            f"no logged execution of {artifact.task_id} to choose from",
            hint=f"loopai run {artifact.task_id} INPUT, or loopai start",
        )
    return run


def _shares(run: DryRun, record: dict[str, Any], confidence: float | None) -> list[Share]:
    label = jsonl.dumps(record.get("output"))[:80]
    if label not in run.by_label and len(run.by_label) >= _MOST_LABELS:
        label = "…"
    found = [
        run.total,
        run.by_label.setdefault(label, Share()),
        run.by_day.setdefault(record["timestamp"][:10], Share()),
    ]
    if confidence is not None:
        tenth = min(9, int(confidence * 10))
        found.append(run.by_confidence.setdefault(f"{tenth / 10:.1f}–{(tenth + 1) / 10:.1f}", Share()))
    return found


def line_of(record: dict[str, Any], pi: float) -> dict[str, Any]:
    """A chosen execution, as `loopai sample` prints it."""
    names = ("execution_id", "version", "input", "output", "confidence", "timestamp")
    return {name: record[name] for name in names if name in record} | {"pi": pi}


def sample_logged(
    layout: Layout,
    config: Config,
    reference: str,
    days: int,
    chosen: Callable[[dict[str, Any]], None] | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> DryRun:
    """Choose among a version's executions of today (UTC) and the days before it, by the settings.

    `chosen` is given each of those as `line_of` has it; `tell` hears which setting has no effect yet. Raises
    NotFound, GateMissed where nothing is logged.
    """
    artifact = ArtifactStore(layout).read(reference).artifact
    plan = plan_of(artifact, config, changed_at(artifact, layout), _price(artifact, config, layout, tell))
    today = datetime.now(UTC).date()
    wanted = {(today - timedelta(days=back)).isoformat() for back in range(days)}
    records = logged.records(layout, artifact.task_id, wanted)
    key = layout.secret("sampling")
    if "@" in reference:
        records = (record for record in records if record.get("version") == artifact.version)
    if chosen is None:
        return dry_run(artifact, plan, key, records)
    return dry_run(artifact, plan, key, records, lambda record, pi: chosen(line_of(record, pi)))

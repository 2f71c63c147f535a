"""What tasks did over some days, from rollups: volume, failures, latency, accuracy where an oracle looked.

import loopai_runtime as loopai

loopai.analyze("spam-detection", days=7, by="label").as_dict()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from loopai_runtime.datasets import stats
from loopai_runtime.datasets.checked import Checked, checked
from loopai_runtime.datasets.counts import Group, merged
from loopai_runtime.datasets.tally import label_of
from loopai_runtime.errors import UsageError
from loopai_runtime.validation import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loopai_runtime.datasets.stats import DayStats
    from loopai_runtime.layout import Layout
    from loopai_runtime.validation.estimate import Estimate

By = Literal["version", "day", "label", "hour", "task"]
Key = str | int


@dataclass(frozen=True, slots=True)
class Row:
    """Executions that share a key. `accuracy` is None where none of them was checked."""

    key: Key
    group: Group
    accuracy: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """`count, errors, timeouts, p50_ms, p95_ms, p99_ms, accuracy?`; the row's key is not in it."""
        summary = self.group.summary()
        if self.accuracy is not None:
            known = self.accuracy.as_dict()
            summary["accuracy"] = {name: known[name] for name in ("value", "low", "high", "n")}
        return summary


@dataclass(frozen=True, slots=True)
class Analysis:
    """`days` are the ones looked at, in order; of one task, or of all together where `task_id` is None."""

    task_id: str | None
    days: list[str]
    total: Row
    rows: list[Row]
    stats: dict[str, list[DayStats]]
    """Each task's days."""
    checked: dict[str, list[Checked]]
    """Each task's validations."""

    def as_dict(self) -> dict[str, Any]:
        """As `analyze -o json` prints it."""
        return {
            "task_id": self.task_id,
            "from": self.days[0],
            "to": self.days[-1],
            "total": self.total.as_dict(),
            "rows": [{"key": row.key} | row.as_dict() for row in self.rows],
        }


def analyze(layout: Layout, task_id: str | None = None, *, days: int = 7, by: By | None = None) -> Analysis:
    """Look at today (UTC) and the `days - 1` days before it; rollups that are missing or stale are made first.

    Without a task all of them count together, and the rows are tasks. Raises NotFound, UsageError, StorageError.
    """
    tasks = _tasks(layout, task_id)
    task_id = tasks[0] if len(tasks) == 1 else None
    by = by or ("day" if task_id else "task")
    if by not in get_args(By):
        raise UsageError(f"cannot group by {by!r}", hint=f"one of {', '.join(get_args(By))}")
    if task_id is None and by in ("version", "label"):
        raise UsageError(f"name a task to group by {by}", hint=f"tasks here: {', '.join(tasks[:10])}")
    window = stats.last_days(days)
    found = {task: stats.window(layout, task, window) for task in tasks}
    judged = {task: list(checked(layout, task, window)) for task in tasks}
    everything = [one for ones in judged.values() for one in ones]
    every_day = [day for days_ in found.values() for day in days_]
    whole = merged(day.counts.total() for day in every_day)
    total = Row("total", whole, accuracy_of(everything, whole))
    rows = _by_task(found, judged) if by == "task" else _rows(every_day, everything, by)
    return Analysis(task_id, window, total, rows, found, judged)


def _tasks(layout: Layout, task_id: str | None) -> list[str]:
    logged = layout.logged_tasks()
    if task_id is None:
        return logged or layout.tasks()
    return [task_id if task_id in logged else layout.require_task(task_id)]


def _by_task(found: dict[str, list[DayStats]], judged: dict[str, list[Checked]]) -> list[Row]:
    groups = {task: merged(day.counts.total() for day in days) for task, days in found.items()}
    return [Row(task, group, accuracy_of(judged[task], group)) for task, group in groups.items() if group.count]


def _rows(days: Sequence[DayStats], judged: Sequence[Checked], by: By) -> list[Row]:
    groups: dict[Key, Group] = {}
    for day in days:
        for key, group in _groups(day, by):
            groups.setdefault(key, Group()).merge(group)
    name = _key_of(by)
    checks: dict[Key, list[Checked]] = {}
    for one in judged if name is not None else ():
        checks.setdefault(name(one), []).append(one)  # type: ignore[misc]
    rows = [Row(key, group, accuracy_of(checks.get(key, []), group)) for key, group in groups.items()]
    if by == "label":
        return sorted(rows, key=lambda row: (-row.group.count, str(row.key)))
    return sorted(rows, key=lambda row: (isinstance(row.key, str), row.key))


def _groups(day: DayStats, by: By) -> Iterable[tuple[Key, Group]]:
    if by == "version":
        return [(int(key) if key.isdigit() else key, group) for key, group in day.counts.by_version.items()]
    if by == "label":
        return list(day.counts.by_label.items())
    if by == "hour":
        return [(f"{day.day}T{hour}", group) for hour, group in day.hours.items()]
    total = day.counts.total()
    return [(day.day, total)] if total.count else []


def _key_of(by: By) -> Callable[[Checked], Key] | None:
    """What a validation belongs to; None by the hour, of which validations say nothing."""
    if by == "version":
        return lambda one: one.version
    if by == "label":
        return lambda one: label_of(one.output)
    return (lambda one: one.day) if by == "day" else None


def accuracy_of(judged: Sequence[Checked], of: Group) -> Estimate | None:
    """The share of right answers among the executions counted in `of`, from those judged; None of none."""
    population = population_of(of, len(judged))
    usual = len(judged) / population.count if population and judged else 1.0  # for one that says nothing of its pi
    checks = [estimate.Checked(one.match, usual if one.pi is None else one.pi, one.confidence) for one in judged]
    found = estimate.accuracy(checks, population)
    return None if found.value is None else found


def population_of(group: Group, judged: int) -> estimate.Population | None:
    """The answers of programs among executions: those that may be chosen for checking. None where raw executions
    were judged that the rollup does not have."""
    answers = group.sources.get("program", 0) - group.errors - group.timeouts
    if answers < judged:
        return None
    # Abstaining is having too low a confidence: what is counted beyond the answers is the lowest of them.
    counts, beyond = list(group.confidence), sum(group.confidence) - answers
    for at, count in enumerate(counts):
        if beyond <= 0:
            break
        counts[at] -= min(count, beyond)
        beyond -= count
    return estimate.Population(answers, tuple(counts) if sum(counts) == answers else ())


@dataclass(frozen=True, slots=True)
class Day:
    """All tasks of an analysis together on one day."""

    day: str
    group: Group
    accuracy: Estimate | None


def by_day(analysis: Analysis) -> list[Day]:
    """Every day of the analysis, also those without an execution."""
    judged = [one for ones in analysis.checked.values() for one in ones]
    groups = {day: merged(one.counts.total() for one in on_day) for day, on_day in _days(analysis)}
    return [
        Day(day, group, accuracy_of([one for one in judged if one.day == day], group))
        for day, group in groups.items()
    ]


def label_mix(analysis: Analysis) -> dict[str, list[int]]:
    """How often each label was answered on each day, the most frequent label first."""
    mix: dict[str, list[int]] = {}
    for index, (_, on_day) in enumerate(_days(analysis)):
        for one in on_day:
            for label, group in one.counts.by_label.items():
                mix.setdefault(label, [0] * len(analysis.days))[index] += group.count
    return dict(sorted(mix.items(), key=lambda item: (-sum(item[1]), item[0])))


def _days(analysis: Analysis) -> Iterable[tuple[str, list[DayStats]]]:
    return ((day, [days[n] for days in analysis.stats.values()]) for n, day in enumerate(analysis.days))

"""What `/metrics` says of improving, from what is on disk: it is another process that improves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from loopai_runtime.errors import LoopaiError
from loopai_runtime.flows.improvements import Improvements
from loopai_runtime.tickets import Tickets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from loopai_runtime.layout import Layout


class ImprovementMetrics:
    """Remembers which attempts it has counted: of a task only the latest are kept."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._counts: Counter[tuple[str, str]] = Counter()
        self._counted: set[str] = set()
        self._read: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        try:
            for task_id in self._layout.tasks():
                self._count(task_id)
            waiting = Counter(ticket.task_id for ticket in Tickets(self._layout).list(status="open"))
        except LoopaiError:  # it cannot be read now, which is no reason to say nothing of the rest
            return
        made = CounterMetricFamily(
            "loopai_program_improvements",
            "Attempts to improve a task, ended.",
            labels=["task_id", "state"],
        )
        for (task_id, state), count in sorted(self._counts.items()):
            made.add_metric([task_id, state], count)
        tickets = GaugeMetricFamily("loopai_tickets_open", "Tickets that wait for a person.", labels=["task_id"])
        for task_id, count in sorted(waiting.items()):
            tickets.add_metric([task_id], count)
        yield from (made, tickets)

    def _count(self, task_id: str) -> None:
        path = self._layout.improvements(task_id)
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return
        if self._read.get(task_id) == changed:
            return
        for one in Improvements(self._layout, task_id).all():
            if one.ended_at is not None and one.id not in self._counted:
                self._counted.add(one.id)
                self._counts[task_id, one.state] += 1
        self._read[task_id] = changed

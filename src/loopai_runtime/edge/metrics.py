"""What `/metrics` says: Prometheus metrics under `loopai_`.

Executions are counted in plain numbers, as the library's own counters take a lock each time; a collector makes
metrics of them when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from loopai_runtime.errors import LoopaiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from loopai_runtime.datasets.live_log import LiveLog
    from loopai_runtime.edge.improvement_metrics import ImprovementMetrics
    from loopai_runtime.edge.link import Link
    from loopai_runtime.edge.rollout_metrics import RolloutMetrics
    from loopai_runtime.flows.execute import Result
    from loopai_runtime.flows.serve import Traffic
    from loopai_runtime.sandbox import Pool
    from loopai_runtime.telemetry.state import State

BUCKETS_MS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0)


@dataclass(slots=True)
class _Durations:
    """How many executions of a version fell between two bounds, and their time in all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_MS) + 1))
    total_ms: float = 0.0

    def since(self, earlier: _Durations) -> _Durations:
        """What came after an earlier copy."""
        counts = [now - then for now, then in zip(self.counts, earlier.counts, strict=True)]
        return _Durations(counts, self.total_ms - earlier.total_ms)

    def copy(self) -> _Durations:
        return _Durations(self.counts.copy(), self.total_ms)

    def quantile_ms(self, share: float) -> float:
        """Interpolated between the bounds it falls between; beyond the last bound, that bound."""
        wanted, before, lower = share * sum(self.counts), 0, 0.0
        for upper, count in zip(BUCKETS_MS, self.counts, strict=False):
            if count and before + count >= wanted:
                return round(lower + (upper - lower) * (wanted - before) / count, 4)
            before, lower = before + count, upper
        return BUCKETS_MS[-1]

    def buckets(self) -> list[tuple[str, float]]:
        bounds = [*(str(bound / 1000) for bound in BUCKETS_MS), "+Inf"]
        return list(zip(bounds, accumulate(map(float, self.counts)), strict=True))


class Metrics:
    """Counts executions as they happen; asks the other parts for their state when it is read."""

    def __init__(self) -> None:
        self.refused: Counter[int] = Counter()
        """Requests that executed nothing, by HTTP status."""
        self._executions: Counter[tuple[str, int, str]] = Counter()
        self._sampling: Counter[tuple[str, bool]] = Counter()
        self._abstained: Counter[tuple[str, int]] = Counter()
        self._deferred: Counter[tuple[str, int]] = Counter()
        self._durations: dict[tuple[str, int], _Durations] = {}
        self._told: dict[tuple[str, int], tuple[_Durations, int]] = {}
        """What `recent` has told of each version: its durations and its failures."""
        self.link: Link | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._parts: tuple[Traffic, Pool, LiveLog] | None = None
        self._telemetry: Callable[[], State] | None = None
        self._rollouts: RolloutMetrics | None = None
        self._improvements: ImprovementMetrics | None = None

    def watch(self, result: Result) -> None:
        """Count one execution."""
        record = result.record
        if record is None:
            return
        task_id, version, took_ms = record["task_id"], record["version"], record["latency_ms"]
        self._executions[task_id, version, record["status"]] += 1
        self._sampling[task_id, record["sampled"]] += 1
        durations = self._durations.get((task_id, version))
        if durations is None:
            durations = self._durations[task_id, version] = _Durations()
        durations.counts[bisect_left(BUCKETS_MS, took_ms)] += 1
        durations.total_ms += took_ms
        if record.get("abstained"):
            self._abstained[task_id, version] += 1
            if record["source"] == "oracle":
                self._deferred[task_id, version] += 1

    def recent(self) -> list[dict[str, Any]]:
        """What every version did since the last call, as the platform's `ReportMetrics` takes it."""
        found = []
        for (task_id, version), durations in self._durations.items():
            key = (task_id, version)
            failed = self._executions[(*key, "error")] + self._executions[(*key, "timeout")]
            told, told_failed = self._told.get(key, (_Durations(), 0))
            new = durations.since(told)
            if not (count := sum(new.counts)):
                continue
            self._told[key] = (durations.copy(), failed)
            found.append(
                {
                    "task_id": task_id,
                    "version": version,
                    "count": count,
                    "errors": failed - told_failed,
                    "p50_ms": new.quantile_ms(0.5),
                    "p99_ms": new.quantile_ms(0.99),
                }
            )
        return found

    def follow(
        self,
        traffic: Traffic,
        pool: Pool,
        kept: LiveLog,
        telemetry: Callable[[], State],
        rollouts: RolloutMetrics | None = None,
        improvements: ImprovementMetrics | None = None,
    ) -> None:
        """Whose state is part of what is said."""
        self._parts = (traffic, pool, kept)
        self._rollouts = rollouts
        self._improvements = improvements
        self._telemetry = telemetry

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """For the library."""
        executions = CounterMetricFamily(
            "loopai_program_executions", "Executions.", labels=["task_id", "version", "status"]
        )
        for (task_id, version, status), count in self._executions.items():
            executions.add_metric([task_id, str(version), status], count)
        yield executions
        durations = HistogramMetricFamily(
            "loopai_program_execution_duration_seconds", "Time in the program.", labels=["task_id", "version"]
        )
        for (task_id, version), took in self._durations.items():
            durations.add_metric([task_id, str(version)], took.buckets(), took.total_ms / 1000)
        yield durations
        sampling = CounterMetricFamily(
            "loopai_sampling_decisions", "Executions by whether they are checked.", labels=["task_id", "sampled"]
        )
        for (task_id, sampled), count in self._sampling.items():
            sampling.add_metric([task_id, "true" if sampled else "false"], count)
        yield sampling
        for name, text, counts in (
            ("loopai_abstained", "Answers that a program withheld.", self._abstained),
            ("loopai_deferred", "Of those, answered by the oracle.", self._deferred),
        ):
            counter = CounterMetricFamily(name, text, labels=["task_id", "version"])
            for (task_id, version), count in counts.items():
                counter.add_metric([task_id, str(version)], count)
            yield counter
        refused = CounterMetricFamily(
            "loopai_requests_refused", "Requests that executed nothing.", labels=["status"]
        )
        for code, count in self.refused.items():
            refused.add_metric([str(code)], count)
        yield refused
        if self._parts is not None:
            yield from _state(*self._parts)
        if self._telemetry is not None:
            yield from _reporting(self._telemetry)
        if self._rollouts is not None:
            yield from self._rollouts.collect()
        if self._improvements is not None:
            yield from self._improvements.collect()
        if self.link is not None:
            yield from _platform(self.link)


def _state(traffic: Traffic, pool: Pool, kept: LiveLog) -> Iterator[Metric]:
    troubled = len(traffic.troubles) + sum(lane.trouble is not None for lane in traffic.lanes.values())
    yield GaugeMetricFamily("loopai_in_flight", "Executions under way.", traffic.in_flight)
    yield GaugeMetricFamily("loopai_waiting_for_oracle", "Requests that wait for an oracle.", traffic.deferred)
    yield GaugeMetricFamily("loopai_queue_depth", "Calls that wait for an executor.", pool.waiting)
    yield GaugeMetricFamily("loopai_active_tasks", "Tasks that are served.", len(traffic.lanes))
    yield GaugeMetricFamily("loopai_tasks_in_trouble", "Tasks whose active version does not load.", troubled)
    yield CounterMetricFamily("loopai_executor_restarts", "Executors that were replaced.", pool.restarts)
    yield CounterMetricFamily("loopai_log_bytes", "Bytes of execution log written.", kept.bytes)
    yield CounterMetricFamily("loopai_log_dropped", "Executions that were answered but not kept.", kept.dropped)
    yield CounterMetricFamily("loopai_log_torn_bytes", "Bytes that a crash had torn.", kept.torn_bytes)
    versions = GaugeMetricFamily("loopai_program_versions", "The version that serves.", labels=["task_id"])
    rates = GaugeMetricFamily("loopai_sampling_rate", "Share of executions checked.", labels=["task_id"])
    for task_id, lane in traffic.lanes.items():
        versions.add_metric([task_id], lane.artifact.version)
        rates.add_metric([task_id], lane.service.sampling_rate)
    yield versions
    yield rates


def _reporting(telemetry: Callable[[], State]) -> Iterator[Metric]:
    try:
        state = telemetry()
    except LoopaiError:  # it cannot be read now, which is no reason to say nothing of the rest
        return
    dropped = CounterMetricFamily(
        "loopai_telemetry_dropped", "Records that will never reach the platform.", labels=["reason"]
    )
    for reason, count in sorted({"quota": 0, **state.dropped}.items()):
        dropped.add_metric([reason], count)
    yield dropped
    yield CounterMetricFamily("loopai_telemetry_sent_records", "Records that arrived.", state.sent_records)
    yield GaugeMetricFamily("loopai_telemetry_failed_attempts", "Uploads that failed in a row.", state.attempts)


def _platform(link: Link) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "loopai_platform_connected", "1: the platform's hub is listened to.", float(link.is_connected)
    )
    yield GaugeMetricFamily(
        "loopai_platform_last_poll_timestamp_seconds", "When the platform last answered a poll.", link.last_poll
    )
    yield CounterMetricFamily("loopai_platform_pulled", "Versions that came from the platform.", link.pulled)

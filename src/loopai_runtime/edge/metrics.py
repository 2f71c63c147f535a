"""What `/metrics` says: Prometheus metrics under `loopai_`, labels bound once a task and version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.datasets.live_log import LiveLog
    from loopai_runtime.flows.execute import Result
    from loopai_runtime.flows.serve import Traffic
    from loopai_runtime.sandbox import Pool

BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LABELS = ("task_id", "version")


class Metrics:
    """Counts executions as they happen; asks the others for their state when it is read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._executions = Counter(
            "loopai_program_executions", "Executions.", (*_LABELS, "status"), registry=self.registry
        )
        self._duration = Histogram(
            "loopai_program_execution_duration_seconds",
            "Time in the program.",
            _LABELS,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._sampling = Counter(
            "loopai_sampling_decisions", "Executions by whether they are checked.", ("task_id", "sampled"),
            registry=self.registry,
        )  # fmt: skip
        self._abstained = Counter("loopai_abstained", "Answers withheld.", _LABELS, registry=self.registry)
        self.refused = Counter(
            "loopai_requests_refused", "Requests that executed nothing.", ("status",), registry=self.registry
        )
        self._bound: dict[tuple[str, int, str, bool], tuple[Callable[[], None], ...]] = {}
        self._observe: dict[tuple[str, int], Callable[[float], None]] = {}

    def watch(self, result: Result) -> None:
        """Count one execution."""
        record = result.record
        if record is None:
            return
        task, version, status, sampled = record["task_id"], record["version"], record["status"], record["sampled"]
        key = (task, version, status, sampled)
        bound = self._bound.get(key)
        if bound is None:
            name = str(version)
            bound = self._bound[key] = (
                self._executions.labels(task, name, status).inc,
                self._sampling.labels(task, "true" if sampled else "false").inc,
            )
            self._observe[task, version] = self._duration.labels(task, name).observe
        for count in bound:
            count()
        self._observe[task, version](record["latency_ms"] / 1000)
        if record.get("abstained"):
            self._abstained.labels(task, str(version)).inc()

    def follow(self, traffic: Traffic, pool: Pool, kept: LiveLog) -> None:
        """Gauges that are read from the parts themselves."""
        for name, text, read in (
            ("loopai_in_flight", "Executions under way.", lambda: traffic.in_flight),
            ("loopai_queue_depth", "Calls that wait for an executor.", lambda: pool.waiting),
            ("loopai_executor_restarts_total", "Executors that were replaced.", lambda: pool.restarts),
            ("loopai_log_bytes_total", "Bytes of execution log written.", lambda: kept.bytes),
            ("loopai_log_dropped_total", "Executions answered but not kept.", lambda: kept.dropped),
            ("loopai_log_torn_bytes_total", "Bytes that a crash had torn.", lambda: kept.torn_bytes),
            ("loopai_active_tasks", "Tasks that are served.", lambda: len(traffic.lanes)),
            ("loopai_tasks_in_trouble", "Tasks whose active version does not load.", lambda: _troubled(traffic)),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)
        self._versions = Gauge(
            "loopai_program_versions", "The version that serves.", ("task_id",), registry=self.registry
        )
        self._traffic = traffic

    def text(self) -> bytes:
        self._versions.clear()
        for task_id, lane in self._traffic.lanes.items():
            self._versions.labels(task_id).set(lane.artifact.version)
        return generate_latest(self.registry)


def _troubled(traffic: Traffic) -> int:
    return len(traffic.troubles) + sum(lane.trouble is not None for lane in traffic.lanes.values())

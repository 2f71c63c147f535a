"""What the platform's `/metrics` says. No label names a tenant or a task: one page is for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from loopai_runtime.central.platform import Platform


_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def latencies() -> Histogram:
    """Seconds to an answer, by operation: its path is the template, so that names of tasks stay out."""
    name, said = "loopai_central_request_duration_seconds", "Time to an answer."
    return Histogram(name, said, ["method", "path"], buckets=_BUCKETS_S, registry=None)


class Metrics:
    """Asks the parts for their state when it is read."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """For the library."""
        platform = self._platform
        requests = CounterMetricFamily("loopai_central_requests", "Requests, by status.", labels=["status"])
        for code, count in platform.requests.items():
            requests.add_metric([str(code)], count)
        yield requests
        yield from platform.latencies.collect()
        yield CounterMetricFamily("loopai_central_telemetry_records", "Records kept.", platform.records)
        executions = CounterMetricFamily("loopai_central_executions", "Executions.", labels=["status"])
        for status, count in platform.execution.executions.items():
            executions.add_metric([status], count)
        yield executions
        in_flight = platform.execution.in_flight
        yield GaugeMetricFamily("loopai_central_in_flight", "Executions under way.", in_flight)
        connections = len(platform.news.hub.connections)
        yield GaugeMetricFamily("loopai_central_hub_connections", "Clients of the hub.", connections)
        waiting, restarts = platform.pool.waiting, platform.pool.restarts
        yield GaugeMetricFamily("loopai_central_queue_depth", "Calls that wait for an executor.", waiting)
        yield CounterMetricFamily("loopai_central_executor_restarts", "Executors that were replaced.", restarts)

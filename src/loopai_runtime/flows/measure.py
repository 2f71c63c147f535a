"""How a program behaves on inputs, in the sandbox that will run it: its answers and its latency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime.models import new_id
from loopai_runtime.sandbox import Program, SyncPool, run_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.sandbox import Outcome


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of program time a call, over `n` calls."""

    p50: float
    p99: float
    mean: float
    n: int

    def as_dict(self) -> dict[str, float]:
        return {"p50": round(self.p50, 4), "p99": round(self.p99, 4), "mean": round(self.mean, 4), "n": self.n}


def latency_of(times: Sequence[float]) -> Latency:
    """The latency of at least one call, from the milliseconds of each; a timeout is as slow as it was."""
    return Latency(percentile(times, 0.5), percentile(times, 0.99), sum(times) / len(times), len(times))


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of `values` (not empty, any order); `share` in [0, 1]."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def open_pool(config: Config, workers: int | None = None) -> SyncPool:
    """A sandbox pool as the configuration wants it; use it in a `with`."""
    return SyncPool(workers=workers or config.execution.worker_count, require=config.sandbox.require)


def run_inputs(
    pool: SyncPool,
    program: Program,
    inputs: Iterable[Any],
    advance: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """The outcome of each input, in order. Raises PolicyRefused if the program is not let in."""
    pool.load(program)
    outcomes = []
    for outcome in pool.map(program.key, inputs):
        outcomes.append(outcome)
        if advance is not None and len(outcomes) % 100 == 0:
            advance(len(outcomes))
    return outcomes


def run_loose(
    source: str, value: Any, wall: Literal["full", "policy", "cage"], config: Config
) -> tuple[dict[str, Any], int]:
    """Run a program that belongs to no task; its result object, and the exit code that its end asks for."""
    outcome = run_program(
        source,
        value,
        wall=wall,
        require=config.sandbox.require,
        timeout_ms=config.execution.timeout_ms,
        memory_mb=config.execution.memory_mb,
    )
    line: dict[str, Any] = {"output": outcome.output, "status": outcome.status}
    if outcome.confidence is not None:
        line["confidence"] = outcome.confidence
    line |= {"version": None, "latency_ms": round(outcome.wall_ms, 4), "execution_id": new_id()}
    if outcome.error is not None:
        line["error"] = {"type": outcome.error.type, "message": outcome.error.message}
    line |= {
        "stopped_by": outcome.stopped_by,
        "line": outcome.error.line if outcome.error else None,
        "cpu_ms": round(outcome.cpu_ms, 4),
        "wall_ms": round(outcome.wall_ms, 4),
        "peak_kb": outcome.peak_kb,
    }
    if outcome.status == "success":
        return line, 0
    if outcome.status == "timeout":
        return line, 124
    return line, 2 if outcome.stopped_by == "policy" else 1

"""The first run of a new program, where it will live: how fast it is, and what it is unsure of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopai_runtime.errors import ProgramError
from loopai_runtime.flows.measure import latency_of, open_pool, run_inputs
from loopai_runtime.flows.survey import of_examples, of_unlabelled
from loopai_runtime.sandbox import Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.flows.measure import Latency
    from loopai_runtime.flows.survey import Survey
    from loopai_runtime.models import TaskSpecification
    from loopai_runtime.synthesis.examples import ExampleSet
    from loopai_runtime.synthesis.strategy import Synthesis

# Enough inputs for a p99; more would only cost time.
MEASURED_INPUTS = 2000
MEASURED_AGAIN = 3
"""Times that inputs over the latency target are measured again, each keeping its best where too many of them are:
what a busy machine adds is not the program's."""


def measure(
    synthesis: Synthesis, spec: TaskSpecification, examples: ExampleSet, unlabelled: list[Any], config: Config
) -> tuple[Latency, Survey]:
    """Run the program where it will live, on examples and on inputs that nobody has answered.

    Raises PolicyRefused or ProgramError if it does not run there.
    """
    inputs = [example.input for example in examples.examples]
    measured = inputs[:MEASURED_INPUTS]
    program = Program(
        key=spec.task_id,
        source=synthesis.code,
        timeout_ms=config.timeout_ms(spec.timeout_ms),
        memory_mb=config.execution.memory_mb,
    )
    with open_pool(config, workers=1) as pool:
        outcomes = run_inputs(pool, program, [*measured, *unlabelled])
        outcomes, others = outcomes[: len(measured)], outcomes[len(measured) :]
        times = [outcome.wall_ms for outcome in outcomes]
        latency = _latency(times, spec.latency_target_ms, lambda at: pool.call(program.key, measured[at]).wall_ms)
    failed = next((outcome for outcome in outcomes if outcome.status == "error"), None)
    if failed is not None and failed.error is not None:
        raise ProgramError(
            f"the program that was written does not run: {failed.error.message}",
            type=failed.error.type,
            line=failed.error.line,
        )
    are_labels = bool(examples.label_counts)
    if others:
        return latency, of_unlabelled(unlabelled, others, inputs, are_labels, synthesis.disputed)
    return latency, of_examples(synthesis.predictions, are_labels, inputs)


def _latency(times: list[float], target_ms: float, again: Callable[[int], float]) -> Latency:
    """The latency of calls; `again` calls with the input at a place again. Changes `times`."""
    for _ in range(MEASURED_AGAIN):
        if latency_of(times).p99 <= target_ms:
            break
        for at, ms in enumerate(times):
            if ms > target_ms:
                times[at] = min(ms, again(at))
    return latency_of(times)

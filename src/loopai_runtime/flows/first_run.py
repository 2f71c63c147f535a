"""The first run of a new program, where it will live: how fast it is, and what it is unsure of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopai_runtime.errors import ProgramError
from loopai_runtime.flows.measure import latency_of, open_pool, run_inputs
from loopai_runtime.flows.survey import of_examples, of_unlabelled
from loopai_runtime.sandbox import Program

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.flows.measure import Latency
    from loopai_runtime.flows.survey import Survey
    from loopai_runtime.models import TaskSpecification
    from loopai_runtime.synthesis.examples import ExampleSet
    from loopai_runtime.synthesis.strategy import Synthesis

# Enough inputs for a p99; more would only cost time.
MEASURED_INPUTS = 2000
MEASURED_AGAIN = 2
"""Times that a p99 over the target is measured again: what a busy machine adds is not the program's."""


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
        latency = latency_of(outcomes)
        for _ in range(MEASURED_AGAIN):
            if latency.p99 > spec.latency_target_ms:
                latency = min(latency, latency_of(run_inputs(pool, program, measured)), key=lambda one: one.p99)
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

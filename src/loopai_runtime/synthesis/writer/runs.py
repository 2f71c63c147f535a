"""A model's program in the sandbox: what it answers to many inputs, and what it dies of."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.sandbox import Program
from loopai_runtime.synthesis.writer import voting
from loopai_runtime.synthesis.writer.kinds import declared
from loopai_runtime.synthesis.writer.source import Source, tidy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loopai_runtime.sandbox import Outcome, SyncPool
    from loopai_runtime.synthesis.strategy import JSON, Problem

MOST_STOPPED = 3
"""Calls that the clock or the memory limit may end before a program is given up."""
_SLICE = 20

_HARNESS = """

from typing import Any


{opinion}

def run(input_data):
    output, sure, why = opinion({entry}(input_data))
    return [output, sure, why[:200]]
"""
_RESERVED = {"run": None, "score": None, "explain": None, "opinion": None, "Any": "typing.Any"}


@dataclass(frozen=True)
class Bench:
    """Where programs run. `accepts` says whether the task's output schema allows an output."""

    pool: SyncPool
    accepts: Callable[[JSON], bool]
    timeout_ms: int = 1000
    memory_mb: int = 256

    def runner(self, problem: Problem) -> Runner:
        """One that also refuses what is none of the labels that the schema lists."""
        known = declared(problem)

        def accepts(output: JSON) -> bool:
            return self.accepts(output) and (known is None or any(jsonl.equal(output, one) for one in known))

        return Runner(self.pool, accepts, self.timeout_ms, self.memory_mb)


class Opinion(NamedTuple):
    """A program's answer to one input; `error` says why there is none."""

    output: JSON
    sure: float = 0.0
    why: str = ""
    error: str | None = None


@dataclass
class Runner:
    """Runs programs on inputs. `accepts` says whether the task's schema allows an output."""

    pool: SyncPool
    accepts: Callable[[JSON], bool]
    timeout_ms: int = 1000
    memory_mb: int = 256
    _programs: int = field(default=0, init=False)

    def read(self, text: str) -> Source:
        """Let a program in. Raises PolicyRefused with every fault."""
        text = tidy(text)
        self.pool.check(text)
        return Source.of(text)

    def opinions(self, source: Source, inputs: Sequence[JSON]) -> list[Opinion]:
        """What it says of each input, in order. Raises PolicyRefused where it cannot even be loaded."""
        own = source.beside(_RESERVED, "_0")
        text = own.text + _HARNESS.format(opinion=inspect.getsource(voting.opinion), entry=own.entry)
        return [self._opinion(outcome) for outcome in self.outcomes(text, inputs)]

    def outcomes(self, text: str, inputs: Sequence[JSON]) -> list[Outcome]:
        """How a whole program ends on each input; one that has to be stopped again and again is given up."""
        self._programs += 1
        key = f"candidate-{self._programs}"
        self.pool.load(Program(key, text, self.timeout_ms, self.memory_mb))
        try:
            return self._outcomes(key, inputs)
        finally:
            self.pool.unload(key)

    def _outcomes(self, key: str, inputs: Sequence[JSON]) -> list[Outcome]:
        found: list[Outcome] = []
        for start in range(0, len(inputs), _SLICE):
            found += self.pool.map(key, inputs[start : start + _SLICE], entry="run")
            stopped = [outcome for outcome in found if outcome.stopped_by]
            if len(stopped) >= MOST_STOPPED:
                return found + [stopped[-1]] * (len(inputs) - len(found))
        return found

    def _opinion(self, outcome: Outcome) -> Opinion:
        if outcome.status != "success":
            return Opinion(None, error=_reason(outcome))
        output, sure, why = outcome.output
        if not self.accepts(output):
            return Opinion(output, 0.0, why, "the output schema does not allow this output")
        return Opinion(output, sure, why)


def _reason(outcome: Outcome) -> str:
    if outcome.stopped_by == "timeout":
        return "stopped: it took too long"
    if outcome.stopped_by:
        return f"stopped by the {outcome.stopped_by} limit"
    fault = outcome.error
    if fault is None:
        return "failed"
    return f"{fault.type}: {fault.message}" + (f" (line {fault.line})" if fault.line else "")


def errors(opinions: Iterable[Opinion]) -> list[str]:
    """The distinct reasons for which there was no answer."""
    return list(dict.fromkeys(one.error for one in opinions if one.error))

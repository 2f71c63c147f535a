"""One request, from input to logged answer: check -> run in the sandbox -> abstain, defer -> record -> answer.

An answer is handed out only after its record has been appended, so nothing that anybody saw is missing from
the log.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime.errors import (
    InputError,
    LoopaiError,
    OracleError,
    ProgramError,
    ProgramKilled,
    ProgramTimeout,
)
from loopai_runtime.models import new_id, utc_now
from loopai_runtime.sampling import NEVER, Sampler, Seen
from loopai_runtime.sandbox import Program
from loopai_runtime.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.config import Config
    from loopai_runtime.datasets.execution_log import ExecutionLog
    from loopai_runtime.flows.defer import Deferral
    from loopai_runtime.models import ProgramArtifact
    from loopai_runtime.sandbox import Outcome, SyncPool
    from loopai_runtime.validation.oracle import Answer

_DEFERRED_AHEAD = 8
"""Inputs of a batch that may stand behind one which waits for the oracle, for each of its calls."""
ENVELOPE_KEYS = frozenset({"input", "id", "key", "output", "expected"})


class Request(NamedTuple):
    """An input as it came, with the id its sender gave it; requests of one `key` meet one version of a rollout."""

    input: Any
    id: Any = None
    key: Any = None


class Result(NamedTuple):
    """What became of a request: the line of its execution, or the fault that kept it from running."""

    version: int
    request: Request | None = None
    record: dict[str, Any] | None = None
    refused: InputError | None = None
    failure: ProgramError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def error(self) -> LoopaiError | None:
        return self.refused or self.failure

    @property
    def output(self) -> Any:
        return self.record["output"] if self.record else None

    @property
    def abstained(self) -> bool:
        return bool(self.record and self.record.get("abstained"))

    @property
    def latency_ms(self) -> float:
        return self.record["latency_ms"] if self.record else 0.0

    def line(self) -> dict[str, Any]:
        """The result object of `run`, its keys in the contract's order."""
        line: dict[str, Any] = {}
        if self.request is not None and self.request.id is not None:
            line["id"] = self.request.id
        record = self.record or {"output": None, "status": "error", "latency_ms": 0.0, "execution_id": new_id()}
        line["output"] = record["output"]
        line["status"] = record["status"]
        for name in ("confidence", "abstained"):
            if name in record:
                line[name] = record[name]
        if record.get("source") == "oracle":
            line["source"] = "oracle"
        line["version"] = self.version
        line["latency_ms"] = record["latency_ms"]
        line["execution_id"] = record["execution_id"]
        if "error" in record:
            line["error"] = {k: v for k, v in record["error"].items() if k in ("type", "message", "path")}
        elif self.refused:
            error = {"type": type(self.refused).__name__, "message": self.refused.message}
            line["error"] = error | ({"path": self.refused.path} if self.refused.path else {})
        return line


class Service:
    """One version as it answers: what it accepts, when it abstains, what is recorded. It runs nothing itself."""

    def __init__(self, artifact: ProgramArtifact, deployment_id: str, sampling: Sampler | None = None) -> None:
        self.artifact = artifact
        self.key = f"{artifact.task_id}@{artifact.version}"
        self._deployment_id = deployment_id
        self._sampling = sampling
        self._inputs = Schema(artifact.input_schema)
        self._outputs = Schema(artifact.output_schema)

    @property
    def sampling_rate(self) -> float:
        """The share of executions that are chosen for checking."""
        return self._sampling.rate if self._sampling else 0.0

    def program(self, code: str, config: Config) -> Program:
        """The version's program and its limits, as a pool loads it."""
        timeout_ms = config.timeout_ms(self.artifact.timeout_ms)
        return Program(self.key, code, timeout_ms, self.artifact.memory_mb)

    def accepts(self, value: Any) -> bool:
        return self._inputs.accepts(value)

    def check(self, value: Any) -> None:
        """Raises InputError with the JSON path of the first fault."""
        if not self._inputs.accepts(value):
            fault = self._inputs.faults(value)[0]
            raise InputError(fault.message, path=fault.path)

    def deferred(self, result: Result, answer: Answer, waited_ms: float) -> Result:
        """The result of an abstained input once its oracle was asked: with its answer, or as it was."""
        record = result.record
        if record is None or isinstance(answer, OracleError) or not self._outputs.accepts(answer.output):
            return result
        record["output"] = answer.output
        record["source"] = "oracle"
        record["latency_ms"] = round(record["latency_ms"] + waited_ms, 4)
        return result

    def queued(self, result: Result, outcome: Outcome) -> dict[str, Any] | None:
        """The line by which an input that nobody has answered waits for a person; None where none does."""
        record, policy = result.record, self.artifact.abstain
        if policy is None or policy.on_abstain is None or record is None or not result.abstained:
            return None
        if record["source"] == "oracle":
            return None
        return {
            "input": record["input"],
            "output": outcome.output,
            "confidence": outcome.confidence,
            "version": record["version"],
            "execution_id": record["execution_id"],
            "timestamp": record["timestamp"],
            "source": "abstained",
        }

    def finish(self, request: Request, outcome: Outcome) -> Result:
        """What the outcome of running `request` is to its sender and to the log."""
        failure = failure_of(outcome) or self._wrong_output(outcome)
        return Result(self.artifact.version, request, self._record(request, outcome, failure), failure=failure)

    def _wrong_output(self, outcome: Outcome) -> ProgramError | None:
        if self._outputs.accepts(outcome.output):
            return None
        fault = self._outputs.faults(outcome.output)[0]
        return ProgramError(f"the output is not what the schema promises: {fault}", type="OutputError")

    def _record(self, request: Request, outcome: Outcome, failure: ProgramError | None) -> dict[str, Any]:
        """The execution's line, as `ExecutionRecord.line` would have it; built here, as it is built for each."""
        abstained = self._abstains(outcome) if failure is None else None
        execution_id = new_id()
        line: dict[str, Any] = {
            "schema": 1,
            "execution_id": execution_id,
            "task_id": self.artifact.task_id,
            "version": self.artifact.version,
            "input": request.input,
            "output": None if failure or abstained else outcome.output,
        }
        if failure is None:
            if outcome.confidence is not None:
                line["confidence"] = outcome.confidence
            if abstained is not None:
                line["abstained"] = abstained
        line["source"] = "none" if abstained else "program"
        line["status"] = "success" if failure is None else "timeout" if outcome.status == "timeout" else "error"
        if failure is not None:
            line["error"] = {"type": failure.type, "message": failure.message}
            if failure.line is not None:
                line["error"]["line"] = failure.line
        line["latency_ms"] = round(outcome.wall_ms, 4)
        line["timestamp"] = utc_now()
        line["sampled"] = False
        if self._sampling is not None:
            line["sampled"], line["pi"] = (
                NEVER
                if failure or abstained
                else self._sampling.choose(
                    Seen(execution_id, request.input, outcome.output, outcome.confidence, time.time())
                )
            )
        line["deployment_id"] = self._deployment_id
        return line

    def _abstains(self, outcome: Outcome) -> bool | None:
        """Whether the answer is withheld; None where the version never abstains."""
        policy = self.artifact.abstain
        if policy is None:
            return None
        return policy.threshold is None or outcome.confidence is None or outcome.confidence < policy.threshold


class Executor:
    """A version loaded into a pool: answers inputs, and records each execution before its answer leaves.

    `log=None` records nothing; `deferral=None` asks no oracle about what the version abstains on.
    """

    def __init__(
        self,
        pool: SyncPool,
        stored: Stored,
        config: Config,
        *,
        deployment_id: str = "",
        sampling: Sampler | None = None,
        log: ExecutionLog | None = None,
        deferral: Deferral | None = None,
    ) -> None:
        self.artifact = stored.artifact
        self._deferral = deferral
        self._service = Service(stored.artifact, deployment_id, sampling)
        self._pool = pool
        self._log = log
        self._key = self._service.key
        pool.load(self._service.program(stored.code, config))

    @property
    def input_schema(self) -> dict[str, Any]:
        return self.artifact.input_schema

    def run(self, request: Request) -> Result:
        """Execute one request. Raises InputError where the schema refuses the input."""
        self._service.check(request.input)
        return self._settled(self._begun(request, self._pool.call(self._key, request.input)))

    def explain(self, value: Any) -> Any:
        """What decided the answer, in the program's own words; None where it cannot say. Records nothing.

        Raises InputError, ProgramError.
        """
        self._service.check(value)
        outcome = self._pool.call(self._key, value, entry="explain")
        if outcome.error is not None and outcome.error.type == "MissingEntry":
            return None
        if failure := failure_of(outcome):
            raise failure
        return outcome.output

    def run_all(self, requests: Iterable[Request | InputError]) -> Iterator[Result]:
        """Execute many on all workers; results come in the order of the requests.

        A request that could not even be read comes in, and goes out, as its InputError.
        """
        # What was read but not yet answered. Inputs that are refused wait here for those before them.
        waiting: deque[Request | Result] = deque()

        def inputs() -> Iterator[Any]:
            for request in requests:
                refused = request if isinstance(request, InputError) else self._refusal(request)
                if refused is None and isinstance(request, Request):
                    waiting.append(request)
                    yield request.input
                else:
                    sent = None if isinstance(request, InputError) else request
                    waiting.append(Result(self.artifact.version, sent, refused=refused))

        def begun() -> Iterator[_Begun]:
            for outcome in self._pool.map(self._key, inputs()):
                while isinstance(first := waiting.popleft(), Result):
                    yield _Begun(first)
                yield self._begun(first, outcome)
            yield from (_Begun(left) for left in waiting if isinstance(left, Result))

        yield from map(self._settled, self._in_order(begun()))

    def _in_order(self, begun: Iterable[_Begun]) -> Iterator[_Begun]:
        """The same in the same order, read on while the oracle is at work on some, as far as it can be."""
        under_way: deque[_Begun] = deque()
        ahead = _DEFERRED_AHEAD * self._deferral.at_once if self._deferral else 0
        for one in begun:
            under_way.append(one)
            while under_way and (len(under_way) > ahead or under_way[0].is_done):
                yield under_way.popleft()
        yield from under_way

    def _refusal(self, request: Request) -> InputError | None:
        try:
            self._service.check(request.input)
        except InputError as exc:
            return exc
        return None

    def _begun(self, request: Request, outcome: Outcome) -> _Begun:
        """What the program made of a request; where it abstains, the oracle sets to work."""
        result = self._service.finish(request, outcome)
        if self._deferral is None or not result.abstained or result.record is None:
            return _Begun(result, outcome)
        answer = self._deferral.ask(request.input, result.record["execution_id"])
        return _Begun(result, outcome, answer, time.monotonic())

    def _settled(self, begun: _Begun) -> Result:
        """Wait for the oracle where it was asked, and record."""
        result, outcome = begun.result, begun.outcome
        if outcome is None:
            return result
        if begun.answer is not None:
            answer = self._pool.wait_for(begun.answer)
            result = self._service.deferred(result, answer, (time.monotonic() - begun.since) * 1000)
        if self._log is not None and result.record is not None:
            self._log.append([result.record])
            if (waiting := self._service.queued(result, outcome)) is not None:
                self._log.enqueue(self.artifact.task_id, waiting)
        return result


class _Begun(NamedTuple):
    """A result that may still wait for the oracle's answer; without an outcome it is one that ran nothing."""

    result: Result
    outcome: Outcome | None = None
    answer: Future[Answer] | None = None
    since: float = 0.0

    @property
    def is_done(self) -> bool:
        return self.answer is None or self.answer.done()


def failure_of(outcome: Outcome) -> ProgramError | None:
    """The error that a failed outcome is, with the exit code that its cause asks for."""
    if outcome.status == "success":
        return None
    fault = outcome.error
    message, kind, line = (fault.message, fault.type, fault.line) if fault else ("failed", "Error", None)
    if outcome.status == "timeout":
        return ProgramTimeout(message, type=kind, line=line)
    if outcome.stopped_by in ("cage", "memory"):
        return ProgramKilled(message, type=kind, line=line)
    return ProgramError(message, type=kind, line=line)


def envelope_reader(input_schema: dict[str, Any]) -> Callable[[Any], Request]:
    """How a line of a batch is read: an envelope `{"input": …, "id"?…}` where it can only be one, else bare."""
    if "input" in input_schema.get("properties", {}):
        return Request

    def read(value: Any) -> Request:
        if isinstance(value, dict) and "input" in value and value.keys() <= ENVELOPE_KEYS:
            return Request(value["input"], value.get("id"))
        return Request(value)

    return read

"""The oracle: asked for right answers, many at once, and never in anybody's way.

`Remote` is every oracle that is reached by a call (a model, a service, a command): what may not leave is
hidden, equal inputs are asked once and looked up in the cache, calls go out together as fast as they may, and
one that has stopped answering is left alone for a while. Where the answers come from is a `Source`, a file each.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from loopai_runtime import jsonl
from loopai_runtime.errors import CapReached, LoopaiError, OracleError, UnusableAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.schemas import Schema
    from loopai_runtime.validation.answers import Answers
    from loopai_runtime.validation.pace import Breaker, Pace
    from loopai_runtime.validation.veil import Hidden, Veil


class Verdict(NamedTuple):
    """The right output; what it cost in US dollars and milliseconds; the share of the votes that agreed."""

    output: Any
    usd: float = 0.0
    latency_ms: float = 0.0
    share: float = 1.0


Answer = Verdict | OracleError


class Oracle(Protocol):
    """`name` says who it is in records: the kind, and its model or address."""

    kind: str
    name: str

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        """One answer for each input, in order. What goes wrong with one is its answer, and never raised."""


class Source(Protocol):
    """Where a remote oracle's answers come from; `batch` is how many inputs go into one call at most."""

    batch: int

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        """One answer for each input, in order. Raises OracleError where all have failed alike."""


class Remote:
    """An oracle behind a call. Safe to use from several threads."""

    def __init__(
        self,
        kind: str,
        name: str,
        source: Source,
        *,
        outputs: Schema,
        veil: Veil,
        cache: Answers | None,
        breaker: Breaker,
        pace: Pace,
        concurrency: int,
        before_first: Callable[[Any], None],
    ) -> None:
        """`before_first` hears, once, what is about to be sent first. `cache=None` asks every time."""
        self.kind = kind
        self.name = name
        self._source = source
        self._outputs = outputs
        self._veil = veil
        self._cache = cache
        self._breaker = breaker
        self._pace = pace
        self._concurrency = concurrency
        self._before_first = before_first
        self._first = threading.Lock()
        self._announced = False

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        """One answer for each input, in order; equal inputs share one, and only the first of them was paid for."""
        hidden = [self._veil.hide(value) for value in inputs]
        keys = [jsonl.canonical(one.sent) for one in hidden]
        sent = {key: one.sent for key, one in zip(keys, hidden, strict=True)}
        answers = self._known(sent)
        missing = [key for key in sent if key not in answers]
        size = self._source.batch
        batches = [missing[at : at + size] for at in range(0, len(missing), size)]
        for batch, given in zip(batches, self._call_all([[sent[k] for k in b] for b in batches]), strict=True):
            answers |= zip(batch, given, strict=True)
        result: list[Answer] = []
        for key, one in zip(keys, hidden, strict=True):
            answer = answers[key]
            result.append(self._usable(answer, one))
            if isinstance(answer, Verdict) and answer.usd:
                answers[key] = answer._replace(usd=0.0)
        return result

    def _known(self, sent: dict[bytes, Any]) -> dict[bytes, Answer]:
        if self._cache is None:
            return {}
        found = {key: self._cache.get(key) for key in sent}
        return {key: answer for key, answer in found.items() if answer is not None}

    def _call_all(self, batches: list[list[Any]]) -> list[list[Answer]]:
        if len(batches) < 2 or self._concurrency == 1:
            return [self._call(batch) for batch in batches]
        with ThreadPoolExecutor(min(self._concurrency, len(batches)), "oracle") as threads:
            return list(threads.map(self._call, batches))

    def _call(self, batch: list[Any]) -> list[Answer]:
        try:
            self._breaker.enter()
            self._pace.wait()
        except OracleError as error:
            return [error] * len(batch)
        try:
            self._announce(batch[0])
            answers = self._source.ask(batch)
        except LoopaiError as error:
            answers = [as_oracle_error(error)] * len(batch)
        except BaseException:
            self._breaker.leave(answered=False)
            raise
        self._breaker.leave(answered=not all(map(_unreached, answers)))
        if self._cache is not None:
            for value, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Verdict):
                    self._cache.put(jsonl.canonical(value), answer)
        return answers

    def _announce(self, value: Any) -> None:
        with self._first:
            if not self._announced:
                self._before_first(value)
                self._announced = True

    def _usable(self, answer: Answer, hidden: Hidden) -> Answer:
        """The answer with what was hidden put back, where it then is what the schema asks for."""
        if isinstance(answer, OracleError):
            return answer
        try:
            output = hidden.restore(answer.output)
        except OracleError as error:
            return error
        if self._outputs.accepts(output):
            return answer._replace(output=output)
        fault = self._outputs.faults(output)[0]
        return OracleError(f"the oracle's answer is not what output_schema promises: {fault}", why="answer")


def as_oracle_error(error: LoopaiError) -> OracleError:
    """The same, as what it means to whoever asks an oracle."""
    if isinstance(error, OracleError):
        return error
    why: Literal["money", "answer", "unreachable"] = "unreachable"
    if isinstance(error, CapReached):
        why = "money"
    elif isinstance(error, UnusableAnswer):
        why = "answer"
    return OracleError(error.message, why=why, where=error.where, hint=error.hint)


def _unreached(answer: Answer) -> bool:
    return isinstance(answer, OracleError) and answer.why == "unreachable"

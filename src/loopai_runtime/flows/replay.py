"""A version over the traffic that was logged: every answer that would change, grouped, and who is right.

Nothing is recorded, and no oracle is asked: what it said of these executions before decides where it is known.
Inputs that are the same to the byte run once. Memory is bounded, whatever the log's size, but for the oracle's
answers, which are few.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.compare import compare, config_for
from loopai_runtime.datasets import logged, validations
from loopai_runtime.errors import GateMissed, ProgramError
from loopai_runtime.flows.changes import Answer, Change, Replayed, Verdict
from loopai_runtime.flows.execute import Executor, Request
from loopai_runtime.models import CompareConfig
from loopai_runtime.synthesis import specfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.config import Config
    from loopai_runtime.flows.execute import Result
    from loopai_runtime.layout import Layout
    from loopai_runtime.sandbox import SyncPool

_CHUNK = 1000  # executions that are looked at together
_CHUNK_BYTES = 16 << 20  # of their inputs
_REMEMBERED_BYTES = 64 << 20  # of answers to inputs that may come again
_OVERHEAD = 300  # bytes of an answer that is remembered, beside its text


class _Known(NamedTuple):
    """What an oracle said of an execution: the right output, and whether the one given was it."""

    right: Any
    match: bool


class _Logged(NamedTuple):
    """An execution of the log, and the digest of its input."""

    record: dict[str, Any]
    key: bytes


def replay(
    pool: SyncPool,
    stored: Stored,
    layout: Layout,
    config: Config,
    *,
    since_s: float,
    limit: int | None = None,
    changed: Callable[[Change], None] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Replayed:
    """Run a version on what its task was asked in the last `since_s` seconds; at most `limit` executions.

    The latest day comes first. `changed` is given every execution whose answer would be another, as it is found.
    Raises GateMissed where nothing is logged, StorageError, PolicyRefused.
    """
    runner = _Runner(pool, stored, layout, config)
    start = datetime.fromtimestamp(max(0.0, time.time() - since_s), UTC)
    days = [day for day in validations.days(layout, stored.artifact.task_id) if day >= start.date().isoformat()]
    known = _known(layout, stored.artifact.task_id, days)
    done = Replayed(stored.artifact.task_id, stored.artifact.version, start)
    records = _records(layout, stored.artifact.task_id, days, start.timestamp(), limit)
    for chunk in _chunks(records, done):
        for record, answer in runner.answers(chunk, done):
            change = runner.change(record, answer, known)
            if done.add(change) and changed is not None:
                changed(change)
        if advance is not None:
            advance(done.executions)
    if not done.executions:
        kept = "the inputs are not" if done.without_input else "nothing is"
        raise GateMissed(f"{kept} in the log of what {stored.artifact.task_id} was asked since {done.since}")
    return done


def _known(layout: Layout, task_id: str, days: Iterable[str]) -> dict[str, _Known]:
    """What oracles said of the executions of some days, by the execution's id."""
    found = validations.read(layout, task_id, frozenset(days))
    return {one.record.execution_id: _Known(one.record.oracle_output, one.record.match) for one in found}


def _records(
    layout: Layout, task_id: str, days: Iterable[str], start: float, limit: int | None
) -> Iterator[dict[str, Any]]:
    left = limit
    for day in days:
        for record in logged.records(layout, task_id, [day]):
            if left is not None and left <= 0:
                return
            if logged.at_of(record) >= start:
                left = None if left is None else left - 1
                yield record


def _chunks(records: Iterable[dict[str, Any]], done: Replayed) -> Iterator[list[_Logged]]:
    """Executions some at a time; one whose input was not kept is counted and passed over."""
    chunk: list[_Logged] = []
    size = 0
    for record in records:
        if "input" not in record:
            done.without_input += 1
            continue
        text = jsonl.compact(record["input"])
        chunk.append(_Logged(record, blake2b(text, digest_size=16).digest()))
        size += len(text)
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class _Runner:
    """The version loaded, and what it answered so far."""

    def __init__(self, pool: SyncPool, stored: Stored, layout: Layout, config: Config) -> None:
        artifact = stored.artifact
        self._executor = Executor(pool, stored, config)
        has_spec = layout.spec(artifact.task_id).exists()
        spec = specfile.load_saved(layout, artifact.task_id).spec if has_spec else None
        self._compare = config_for(spec.compare if spec else CompareConfig(), artifact.output_schema)
        self._remembered: dict[bytes, Answer] = {}
        self._bytes = 0

    def answers(self, chunk: list[_Logged], done: Replayed) -> Iterator[tuple[dict[str, Any], Answer]]:
        """Each execution of a chunk with the version's answer, as it comes; one may be vast, so few are kept."""
        new: dict[bytes, list[dict[str, Any]]] = {}
        for record, key in chunk:
            if key in self._remembered:
                yield record, self._remembered[key]
            else:
                new.setdefault(key, []).append(record)
        results = self._executor.run_all(Request(records[0]["input"]) for records in new.values())
        for (key, records), result in zip(new.items(), results, strict=True):
            answer = _answer(result)
            self._remember(key, answer)
            done.ran(records[0], result)
            yield from ((record, answer) for record in records)

    def _remember(self, key: bytes, answer: Answer) -> None:
        self._remembered[key] = answer
        self._bytes += len(answer.token) + _OVERHEAD
        while self._bytes > _REMEMBERED_BYTES:  # the oldest goes: traffic repeats itself soon or not at all
            oldest = self._remembered.pop(next(iter(self._remembered)))
            self._bytes -= len(oldest.token) + _OVERHEAD

    def change(self, record: dict[str, Any], new: Answer, known: dict[str, _Known]) -> Change:
        """One execution as it was and as it would be, and who is right where that is known."""
        old, said = _as_logged(record), known.get(record["execution_id"])
        if said is None and record.get("source") == "oracle":
            said = _Known(record.get("output"), match=False)  # the program withheld, and the oracle was asked
        change = Change(record["execution_id"], record["timestamp"], record["input"], old, new)
        if said is None:
            return change
        was_right = said.match and old.kind == "answer"
        if change.is_same:
            return change._replace(checked=True, right=said.right)
        is_right = new.kind == "answer" and compare(new.output, said.right, self._compare).match
        return change._replace(checked=True, right=said.right, verdict=_verdict(old, was_right, new, is_right))


def _verdict(old: Answer, was_right: bool, new: Answer, is_right: bool) -> Verdict:
    """To withhold an answer is neither right nor wrong; to give a wrong one where none was given breaks."""
    if was_right != is_right:
        return "fixed" if is_right else "broken"
    if was_right:
        return "both_right"
    return "broken" if old.kind != "answer" and new.kind == "answer" else "both_wrong"


def _as_logged(record: dict[str, Any]) -> Answer:
    if record["status"] != "success":
        error = record.get("error")
        return Answer.failed(str(error.get("type", "Error")) if isinstance(error, dict) else "Error")
    return Answer.withheld() if record.get("abstained") else Answer.given(record.get("output"))


def _answer(result: Result) -> Answer:
    if (error := result.error) is not None:
        return Answer.failed(error.type if isinstance(error, ProgramError) else type(error).__name__)
    return Answer.withheld() if result.abstained else Answer.given(result.output)

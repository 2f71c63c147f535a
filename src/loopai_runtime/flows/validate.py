"""Sampled executions are put to the oracle, and compared; what it says of itself on gold labels is measured.

Killed at any moment it can be run again: what was recorded is not asked again, and what was answered is in the
cache.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.compare import compare
from loopai_runtime.datasets import validations
from loopai_runtime.errors import GateMissed, NotFound, OracleError, UsageError
from loopai_runtime.flows import oracles
from loopai_runtime.flows.audit_oracle import audit_oracle, last_audit
from loopai_runtime.models import ValidationRecord, new_id, utc_now
from loopai_runtime.validation import error_rate, estimate
from loopai_runtime.validation.estimate import Checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from loopai_runtime.compare import Judge
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import CompareConfig
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.validation.error_rate import OracleAudit, Share
    from loopai_runtime.validation.estimate import Estimate
    from loopai_runtime.validation.oracle import Answer, Oracle

AT_ONCE = 32
"""Inputs that are asked together and recorded together: what a kill may make the oracle be asked again, but for
its cache."""
MOST_TROUBLES = 5


@dataclass(slots=True)
class Validation:
    """What a run did, and what is known of the task by now."""

    task_id: str
    oracle: str
    active: int | None
    asked: int = 0
    judged: int = 0
    matched: int = 0
    waiting: int = 0
    usd: float = 0.0
    troubles: Counter[str] = field(default_factory=Counter)
    agreement: Estimate | None = None
    versions: dict[int, Estimate] = field(default_factory=dict)
    audit: OracleAudit | None = None

    def note(self, error: OracleError) -> None:
        """Count what stood against an answer; of different troubles only the first few."""
        said = f"{error} ({error.hint})" if error.hint else str(error)
        if said in self.troubles or len(self.troubles) < MOST_TROUBLES:
            self.troubles[said] += 1

    @property
    def accuracy(self) -> Estimate | None:
        """Agreement with the oracle of the version that serves, where it was judged, else of all."""
        return self.versions.get(self.active or 0, self.agreement)

    @property
    def corrected(self) -> Share | None:
        """The same, with the oracle's own errors taken out, where it has been audited."""
        if self.accuracy is None or self.accuracy.value is None or self.audit is None:
            return None
        found = error_rate.corrected(*self._counts, self.audit)
        return found._replace(n=self.accuracy.n) if found else None

    @property
    def uncorrectable(self) -> str | None:
        """Why an audit does not tell how accurate the program is."""
        if self.accuracy is None or self.audit is None:
            return None
        return error_rate.uncorrectable(*self._counts, self.audit)

    @property
    def _counts(self) -> tuple[float, float]:
        """How many of how many agree, as if every execution had been as likely to be chosen as any other."""
        accuracy = self.accuracy or estimate.NOTHING
        return (accuracy.value or 0.0) * accuracy.effective, accuracy.effective

    def require(self, least: float | None) -> None:
        """Raises GateMissed where nothing was judged, or the accuracy (as corrected, where it is) is below."""
        accuracy = self.accuracy
        if accuracy is None:
            why = f"; {self.waiting} inputs wait for a person" if self.waiting else ""
            raise GateMissed(f"no sampled execution of {self.task_id} has been judged{why}", hint=self._way_out())
        best = self.corrected or accuracy
        if least is not None and best.value is not None and best.value < least:
            raise GateMissed(f"the accuracy is {best.value:.1%}, below the {least:.1%} asked for")

    def _way_out(self) -> str:
        if self.waiting:
            return f"loopai label {self.task_id}"
        if self.troubles:
            return next(iter(self.troubles))
        return "sampling.rate is the share of executions that are sampled; loopai run and start log them"

    def as_dict(self) -> dict[str, Any]:
        """What `validate -o json` prints."""
        audit, corrected = self.audit, self.corrected
        return {
            "task_id": self.task_id,
            "oracle": self.oracle,
            "asked": self.asked,
            "judged": self.judged,
            "matched": self.matched,
            "waiting": self.waiting,
            "usd": round(self.usd, 9),
            "troubles": dict(self.troubles),
            "active_version": self.active,
            "accuracy": self.accuracy.as_dict() if self.accuracy else None,
            "corrected": corrected.as_dict() if corrected else None,
            "versions": {str(version): share.as_dict() for version, share in sorted(self.versions.items())},
            "oracle_accuracy": audit.accuracy.as_dict() if audit and audit.accuracy else None,
        }


def validate(
    layout: Layout,
    config: Config,
    task_id: str,
    *,
    version: int | None = None,
    limit: int | None = None,
    audit: bool = False,
    lock_timeout_s: float = 0.0,
    tell: Callable[[str], None] = lambda _line: None,
    advance: Callable[[int], None] = lambda _done: None,
) -> Validation:
    """Ask the oracle about at most `limit` sampled executions that it was not asked about, the newest first.

    `version`: of this version alone. `audit`: first measure the oracle on gold labels. Raises UsageError where the
    task has no oracle, NotFound, Busy, SpecError, StorageError, OracleError where gold labels are none.
    """
    loaded, active = _task(layout, task_id)
    with layout.lock(task_id, lock_timeout_s, what="validating"):
        oracle = oracles.oracle_of(loaded, layout, config, purpose="validate", tell=tell)
        if oracle is None:
            raise UsageError(
                f"{task_id} has no oracle",
                hint=f"write one under `oracle` in {layout.spec(task_id)}, or loopai config set oracle.kind KIND",
            )
        judge = oracles.judge_of(loaded, layout, config, tell)
        result = Validation(task_id, oracle.name, version or active)
        if audit:
            result.usd += audit_oracle(loaded, layout, config, tell)
        result.audit = last_audit(layout, task_id, oracle)
        checker = _Checker(oracle, oracles.comparing(loaded), judge, result)
        for day, records in _to_ask(layout, task_id, version, limit):
            advance(result.asked)
            validations.append(layout, task_id, day, checker.check(records))
            if checker.is_hopeless:
                break
        _summarise(result, validations.read(layout, task_id), version)
        return result


def _task(layout: Layout, task_id: str) -> tuple[Loaded, int | None]:
    """The task's specification, and the version that serves. Raises NotFound."""
    layout.require_task(task_id)
    store = ArtifactStore(layout)
    state = store.state(task_id)
    if not state.versions:
        raise NotFound(f"{task_id} has no version", hint="loopai generate SPEC makes one")
    newest = state.active or max(state.versions)
    return oracles.task_spec(layout, store.read(f"{task_id}@{newest}").artifact), state.active


def _to_ask(
    layout: Layout, task_id: str, version: int | None, limit: int | None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Executions to ask about, a few at a time, each lot of one day."""
    left = limit
    for day in validations.days(layout, task_id):
        done = {judged.record.execution_id for judged in validations.read(layout, task_id, [day])}
        todo = [
            record
            for record in validations.sampled(layout, task_id, day)
            if record["execution_id"] not in done
            and _is_answer(record)
            and (version is None or record.get("version") == version)
        ]
        if left is not None:
            todo = todo[:left]
            left -= len(todo)
        for at in range(0, len(todo), AT_ONCE):
            yield day, todo[at : at + AT_ONCE]


def _is_answer(record: dict[str, Any]) -> bool:
    """Whether a program answered: an error is no answer, and what the oracle has said it need not be asked."""
    return record.get("status") == "success" and not record.get("abstained") and record.get("source") != "oracle"


@dataclass
class _Checker:
    """Asks and compares, and notes in `result` what came of it."""

    oracle: Oracle
    compare: CompareConfig
    judge: Judge | None
    result: Validation
    is_hopeless: bool = False
    """Whether the last lot got no answer because the oracle cannot be reached, or paid."""

    def check(self, records: Sequence[dict[str, Any]]) -> list[ValidationRecord]:
        answers = self.oracle.ask([record["input"] for record in records])
        self.result.asked += len(records)
        made = [self._judged(record, answer) for record, answer in zip(records, answers, strict=True)]
        found = [one for one in made if one is not None]
        stopped = [a for a in answers if isinstance(a, OracleError) and a.why in ("unreachable", "money")]
        self.is_hopeless = len(stopped) == len(answers)
        return found

    def _judged(self, record: dict[str, Any], answer: Answer) -> ValidationRecord | None:
        result = self.result
        try:
            if isinstance(answer, OracleError):
                raise answer
            compared = compare(record["output"], answer.output, self.compare, self.judge)
        except OracleError as error:
            if error.why == "pending":
                result.waiting += 1
            else:
                result.note(error)
            return None
        result.judged += 1
        result.matched += compared.match
        result.usd += answer.usd
        return ValidationRecord(
            validation_id=new_id(),
            execution_id=record["execution_id"],
            task_id=record["task_id"],
            version=record["version"],
            output=record["output"],
            oracle_output=answer.output,
            oracle_cost=answer.usd,
            oracle_latency_ms=round(answer.latency_ms, 3),
            match=compared.match,
            similarity_score=compared.score,
            comparison_method=compared.method,
            pi=record.get("pi"),
            confidence=record.get("confidence"),
            timestamp=utc_now(),
            oracle=self.oracle.name,
            fields=compared.fields,
        )


def _summarise(result: Validation, judged: Iterable[validations.Judged], version: int | None) -> None:
    """Agreement by all validations that are kept, each weighted by how unlikely it was to be made."""
    checks: dict[int, list[Checked]] = {}
    for _, record in judged:
        if version is None or record.version == version:
            # One without pi is from a log that chose nothing: as likely as any other of those.
            check = Checked(record.match, 1.0 if record.pi is None else record.pi, record.confidence)
            checks.setdefault(record.version, []).append(check)
    for number, some in checks.items():
        if (found := estimate.accuracy(some)).value is not None:
            result.versions[number] = found
    everything = estimate.accuracy(check for some in checks.values() for check in some)
    result.agreement = None if everything.value is None else everything

"""Whether a task's traffic is still what its version was made for: the last days against `judged.reference`."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets import logged
from loopai_runtime.errors import GateMissed
from loopai_runtime.synthesis.examples import load_saved
from loopai_runtime.synthesis.vocabulary import words
from loopai_runtime.validation.drift import Alarm, Check, Fall, Shift, fall, length_bin, shift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact

MOST_EXECUTIONS = 5000
EXAMPLES = 3
_BINS = 10
_KNOWN, _UNKNOWN = "known", "unknown"


@dataclass(slots=True)
class Drift:
    """What was compared, and what is an alarm. `fall` is where errors rose above what they were."""

    task_id: str
    version: int
    executions: int
    shifts: list[Shift]
    checks: int
    fall: Fall | None
    alarms: list[Alarm] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "version": self.version,
            "executions": self.executions,
            "checks": self.checks,
            "shifts": [one._asdict() | {"alarm": one.is_alarm} for one in self.shifts],
            "alarms": [alarm.as_dict() for alarm in self.alarms],
        }

    def require_none(self) -> None:
        """Raises GateMissed where there is an alarm, or nothing to judge on."""
        if self.alarms:
            reasons = "; ".join(alarm.reason for alarm in self.alarms)
            raise GateMissed(
                f"{self.task_id} v{self.version} has drifted: {reasons}",
                hint=f"label some of these (loopai label {self.task_id}) and generate a new version",
            )
        if not self.shifts and not self.checks:
            raise GateMissed(
                f"{self.executions} executions of {self.task_id} v{self.version} are too few to judge drift on"
            )


def drift(layout: Layout, reference: str, days: int, checks: Iterable[tuple[bool, str]] = ()) -> Drift:
    """Compare a version's executions of the last days (today, UTC, and those before it) with its reference.

    `checks` are its validations: whether the answer matched, and the execution's id. Raises NotFound,
    StorageError.
    """
    artifact = ArtifactStore(layout).read(reference).artifact
    matches = {execution_id: match for match, execution_id in checks}
    some, checked = _read(layout, artifact, days, matches)
    shifts, alarms = _shifts(layout, artifact, some)
    error_rate = 1 - (artifact.accuracy or {}).get("value", artifact.accuracy_target)
    rows = [Check(matches[one["execution_id"]], one.get("confidence"), one) for one in checked]
    fallen = fall(rows, error_rate, _doubt(artifact))
    if fallen is not None:
        alarms.append(_fallen(fallen))
    return Drift(artifact.task_id, artifact.version, len(some), shifts, len(rows), fallen, alarms)


def _read(
    layout: Layout, artifact: ProgramArtifact, days: int, matches: Mapping[str, bool]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """At most 5,000 of the version's executions, each as likely as any other, and all that were checked, in the
    order of time."""
    today = datetime.now(UTC).date()
    wanted = {(today - timedelta(days=back)).isoformat() for back in range(days)}
    draw = random.Random(0)  # noqa: S311  a sample that is the same again, not a secret
    kept: list[dict[str, Any]] = []
    checked: list[dict[str, Any]] = []
    count = 0
    for record in logged.records(layout, artifact.task_id, wanted):
        if record.get("version") != artifact.version or record.get("status") != "success":
            continue
        count += 1
        if len(kept) < MOST_EXECUTIONS:
            kept.append(record)
        elif (at := draw.randrange(count)) < MOST_EXECUTIONS:
            kept[at] = record
        if record["execution_id"] in matches:
            checked.append(record)
    return kept, sorted(checked, key=lambda record: record["timestamp"])


def _shifts(
    layout: Layout, artifact: ProgramArtifact, records: list[dict[str, Any]]
) -> tuple[list[Shift], list[Alarm]]:
    """Every spread that the reference has, compared, and alarms with executions of the bin that grew most."""
    reference = artifact.judged.get("reference") or {}
    size = reference.get("inputs", 0)
    answered = [record for record in records if not record.get("abstained")]
    tenths = {str(at): share for at, share in enumerate(reference.get("confidence") or [])}
    lengths = {str(at): share for at, share in enumerate(reference.get("lengths") or [])}
    measured: list[tuple[str, dict[str, float], list[dict[str, Any]], Callable[[dict[str, Any]], str]]] = [
        ("outputs", reference.get("labels") or {}, answered, lambda record: jsonl.dumps(record["output"])),
        ("confidence", tenths, [r for r in records if r.get("confidence") is not None], _tenth),
        ("input length", lengths, records, lambda record: str(length_bin(len(jsonl.dumps(record["input"]))))),
    ]
    shifts, alarms = [], []
    for what, shares, rows, bin_of in measured:
        placed = [(bin_of(record), record) for record in rows]
        found = shift(what, shares, size, Counter(name for name, _ in placed))
        if found is None:
            continue
        shifts.append(found)
        if found.is_alarm:
            there = [record for name, record in placed if name == found.worst or name not in shares]
            alarms.append(Alarm(what, _reason(found), there[:EXAMPLES]))
    novel, alarm = _novelty(layout, artifact, reference, records)
    shifts += [novel] if novel else []
    alarms += [alarm] if alarm else []
    return shifts, alarms


def _novelty(
    layout: Layout, artifact: ProgramArtifact, reference: Mapping[str, Any], records: list[dict[str, Any]]
) -> tuple[Shift | None, Alarm | None]:
    """The share of words that no example has. That it fell is no alarm."""
    usual = reference.get("unknown_words")
    if usual is None or not records:
        return None, None
    vocabulary = {word for example in load_saved(layout, artifact.task_id) for word in words(example.input)}
    shares, unknown, total = [], 0, 0
    for record in records:
        met = words(record["input"])
        new = sum(word not in vocabulary for word in met)
        unknown, total = unknown + new, total + len(met)
        shares.append((new / len(met) if met else 0.0, record))
    now = unknown / max(1, total)
    # Words come together in inputs, so it is inputs that count as evidence.
    counts = {_UNKNOWN: round(now * len(records)), _KNOWN: len(records) - round(now * len(records))}
    spread = {_UNKNOWN: usual, _KNOWN: 1 - usual}
    found = shift("unknown words", spread, reference.get("inputs", 0), counts)
    if found is None or not found.is_alarm or now <= usual:
        return found, None
    most = sorted(shares, key=lambda item: -item[0])[:EXAMPLES]
    reason = f"{now:.1%} of words are in no example, {usual:.1%} were (PSI {found.psi:.2f})"
    return found, Alarm("unknown words", reason, [record for _, record in most])


def _doubt(artifact: ProgramArtifact) -> float | None:
    """What the confidences of the reference lack of 1, on average; None where there are none."""
    shares = (artifact.judged.get("reference") or {}).get("confidence") or []
    lacking = sum(share * (1 - (at + 0.5) / len(shares)) for at, share in enumerate(shares))
    return lacking / sum(shares) if sum(shares) else None


def _reason(found: Shift) -> str:
    named = {"outputs": f"output {found.worst}", "confidence": f"confidence {_tenth_name(found.worst)}"}
    what = named.get(found.what, f"inputs of {_length_name(found.worst)} characters")
    if found.worst == "…":
        what = f"{found.what} that the reference does not have"
    return f"{what}: {found.now:.1%}, was {found.was:.1%} (PSI {found.psi:.2f}, limit {found.limit:.2f})"


def _fallen(fallen: Fall) -> Alarm:
    first = fallen.keys[0]["timestamp"] if fallen.keys else ""
    reason = (
        f"{fallen.errors} of the last {fallen.checks} checked answers are wrong where {fallen.expected:.1f} were "
        f"to be expected (Page-Hinkley; from about {first} on)"
    )
    return Alarm("matches", reason, fallen.keys[-EXAMPLES:])


def _tenth(record: Mapping[str, Any]) -> str:
    return str(min(_BINS - 1, int(record["confidence"] * _BINS)))


def _tenth_name(name: str) -> str:
    return f"{int(name) / _BINS:.1f}–{(int(name) + 1) / _BINS:.1f}" if name.isdigit() else name


def _length_name(name: str) -> str:
    return f"{2 ** int(name)} to {2 ** (int(name) + 1) - 1}" if name.isdigit() else name

"""What the platform knows of a task that may have to be improved, and what it can learn and judge from."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.central import checked, improvements, tickets
from loopai_runtime.errors import NotFound
from loopai_runtime.flows.evidence import weigh
from loopai_runtime.synthesis import specfile
from loopai_runtime.synthesis.examples import Example
from loopai_runtime.validation import estimate

if TYPE_CHECKING:
    from loopai_runtime.central.checked import Row
    from loopai_runtime.central.platform import Platform
    from loopai_runtime.flows.evidence import Evidence
    from loopai_runtime.synthesis.specfile import Loaded

_LATEST = 1000
_LEFT_OUT = 3  # of so many checks one
_ELSEWHERE = ("oracle", "examples", "examples_from", "unlabelled_from")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a task now."""

    tenant_id: str
    task_id: str
    loaded: Loaded
    own: list[Example]
    """The specification's examples."""
    digest: str
    rows: list[Row]
    evidence: Evidence
    past: list[dict[str, Any]]
    waiting: dict[str, Any] | None
    resolved_at: str

    @property
    def base(self) -> int:
        return self.evidence.version

    @property
    def failed(self) -> list[dict[str, Any]]:
        return improvements.failed_in_a_row(self.past, self.digest, self.resolved_at)


def known_of(platform: Platform, tenant_id: str, task_id: str) -> Known:
    """Raises NotFound, InputError, SpecError."""
    spec, limits = platform.generations.spec(tenant_id, task_id), platform.config.improvement
    kept = {name: value for name, value in spec.items() if name not in _ELSEWHERE} | {"name": task_id}
    loaded = specfile.parse(text := jsonl.dumps(kept), "spec", Path("/"))
    with platform.db.read() as connection:
        rows = checked.rows_of(connection, tenant_id, task_id, limits.window_days)
        if not rows:
            raise NotFound(f"no execution of {task_id} was checked in the last {limits.window_days} days")
        base, _ = Counter(row.version for row in rows[-_LATEST:]).most_common(1)[0]
        ran = checked.counts_of(connection, tenant_id, task_id, base, limits.window_days)
        past = improvements.of_task(connection, tenant_id, task_id)
        waiting = tickets.waiting(connection, tenant_id, task_id)
        resolved_at = tickets.last_resolved(connection, tenant_id, task_id)
    checks = [estimate.Checked(row.match, row.pi) for row in rows if row.version == base]
    evidence = weigh(base, checks, ran, limits, loaded.spec.accuracy_target)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Known(tenant_id, task_id, loaded, _examples(spec), digest, rows, evidence, past, waiting, resolved_at)


def _examples(spec: dict[str, Any]) -> list[Example]:
    """Those in a specification; whether they are sound is for whoever writes the program."""
    given = spec.get("examples")
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    return [Example(row["input"], row["output"], "spec") for row in rows if {"input", "output"} <= set(row)]


def divided(known: Known) -> tuple[list[Example], list[tuple[Example, bool]]]:
    """What is learned from, and what is left out to judge by, with whether the base version had it right.

    Each input once, with the answer that was given to it last.
    """
    turn = len(known.past)
    latest = {jsonl.canonical(row.ran["input"]): row for row in known.rows if row.teaches}
    taught: list[Example] = []
    held: list[tuple[Example, bool]] = []
    for canonical, row in latest.items():
        right = row.payload["oracle_output"]
        if not (known.loaded.input_schema.accepts(row.ran["input"]) and known.loaded.output_schema.accepts(right)):
            continue  # what redaction has made of it is no input any more
        example = Example(row.ran["input"], right, "telemetry", "oracle")
        place = int.from_bytes(hashlib.sha256(canonical).digest()[:4])
        if row.version == known.base and (place + turn) % _LEFT_OUT == 0:
            held.append((example, row.match))
        else:
            taught.append(example)
    return taught, held

"""Failures become a better version: see whether a task fails too often, learn from what the oracle said, let only
a better program through.

    checks -> evidence -> patterns -> hypothesis -> the oracle's answers become labels -> a version is written
           -> regression gate -> stored as validated, and never activated here

One attempt at a time for a task, with a cool-down, a number a day and a limit of money. After some attempts in a
row that came to nothing a ticket asks a person; the loop waits until it is resolved, or the specification changes.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loopai_runtime.artifacts.state import require_active
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets import labels
from loopai_runtime.errors import (
    GateMissed,
    LoopaiError,
    ModelError,
    PolicyRefused,
    ProgramError,
    SpecError,
    StorageError,
)
from loopai_runtime.flows import generate, oracles, roll_out
from loopai_runtime.flows.announce import announce
from loopai_runtime.flows.checked_inputs import judged, new_labels
from loopai_runtime.flows.evidence import evidence_of
from loopai_runtime.flows.failures import failure_patterns
from loopai_runtime.flows.gather import gather_here
from loopai_runtime.flows.hypothesis import hypothesis_of
from loopai_runtime.flows.improvements import Improvement, Improvements
from loopai_runtime.flows.measure import open_pool
from loopai_runtime.flows.regression import Regression, answers, answers_of, chosen, flips_of, gain_of, rightness
from loopai_runtime.models import utc_now
from loopai_runtime.synthesis.examples import NoExamples
from loopai_runtime.tickets import Ticket, Tickets

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.config import Config
    from loopai_runtime.flows.evidence import Evidence
    from loopai_runtime.flows.failures import Pattern
    from loopai_runtime.flows.generated import Written
    from loopai_runtime.flows.regression import Gain
    from loopai_runtime.layout import Layout
    from loopai_runtime.synthesis.examples import ExampleSet
    from loopai_runtime.synthesis.specfile import Loaded

_NOTHING_WRITTEN = (SpecError, ProgramError, PolicyRefused, ModelError)
"""What ends an attempt as failed: no program came of it. Anything else is no verdict on the task."""
_STORE_WAIT_S = 60.0
_SHOWN_FLIPS = 50


def improve(
    layout: Layout,
    config: Config,
    task_id: str,
    *,
    dry_run: bool = False,
    force: bool = False,
    lock_timeout_s: float = 0.0,
    tell: Callable[[str], None] = lambda _line: None,
    progress: Callable[[str, float | None], None] = lambda _what, _share: None,
) -> Improvement:
    """Improve a task where its serving version is shown to fail too often, and say what came of it.

    `dry_run` does all of it but asks no language model and keeps nothing. `force` goes on without evidence, during
    a cool-down, and past a ticket. Raises NotFound without a serving version, GateMissed where nothing was
    checked, Busy while another process improves the task, SpecError, StorageError.
    """
    layout.require_task(task_id)
    with layout.lock(task_id, lock_timeout_s, what="improving"):
        return _Attempt(layout, config, task_id, dry_run, force, tell, progress).run()


@dataclass(frozen=True, slots=True)
class _Known:
    """What an attempt starts from."""

    base: Stored
    loaded: Loaded
    digest: str
    evidence: Evidence
    patterns: list[Pattern]


@dataclass
class _Attempt:
    layout: Layout
    config: Config
    task_id: str
    dry_run: bool
    force: bool
    tell: Callable[[str], None]
    show: Callable[[str, float | None], None]
    history: Improvements = field(init=False)
    tickets: Tickets = field(init=False)

    def __post_init__(self) -> None:
        self.history = Improvements(self.layout, self.task_id)
        self.tickets = Tickets(self.layout)

    def run(self) -> Improvement:
        self.show("reading the checks", None)
        if not self.dry_run:
            self.history.mend()
        known = self._known()
        made = self._described(known)
        if not known.evidence.accuracy.n and not known.evidence.errors and not self.force:
            raise GateMissed(known.evidence.why_not, hint=f"loopai validate {self.task_id} has some checked")
        if not self.force and self._holds(known, made):
            return made
        made.state, made.reason = "running", known.evidence.why or "it was asked for"
        self._begin(made)
        try:
            self._try(known, made)
        except _NOTHING_WRITTEN as error:
            made.state, made.reason = "failed", f"no program was written: {type(error).__name__}"
            self.tell(f"no program was written: {error}")
        self._end(known, made)
        return made

    # --- whether

    def _known(self) -> _Known:
        store = ArtifactStore(self.layout)
        active = require_active(store.state(self.task_id), self.task_id)
        base = store.read(f"{self.task_id}@{active}")
        loaded = oracles.task_spec(self.layout, base.artifact)
        target = loaded.spec.accuracy_target
        evidence, analysis = evidence_of(self.layout, self.config, self.task_id, active, target)
        digest = hashlib.sha256(loaded.text.encode()).hexdigest()
        return _Known(base, loaded, digest, evidence, failure_patterns(self.layout, analysis))

    def _described(self, known: _Known) -> Improvement:
        try:
            learned = gather_here(known.loaded, self.layout).examples
        except NoExamples:
            learned = []
        return Improvement(
            self.task_id,
            known.base.artifact.version,
            known.digest,
            dry_run=self.dry_run,
            evidence=known.evidence.as_dict(),
            patterns=[pattern.as_dict() for pattern in known.patterns],
            hypothesis=hypothesis_of(known.evidence, known.patterns, learned),
        )

    def _holds(self, known: _Known, made: Improvement) -> bool:
        """Whether nothing is to be done now; `made` then says why."""
        ticket = self._waiting(known)
        if ticket is not None:
            made.state, made.ticket_id = "waiting", ticket.id
            made.reason = f"the ticket {ticket.id[:8]} waits for a person, or for another specification"
        elif (waits := self.history.pending()) is not None:
            made.state, made.version = "waiting", waits.version
            made.reason = f"v{waits.version} was made for this and does not serve yet"
        elif known.evidence.why is None:
            made.state, made.reason = "idle", known.evidence.why_not
        elif (pause := self._pause(known)) is not None and not self.dry_run:
            made.state, made.reason = "idle", pause
        else:
            return False
        return True

    def _waiting(self, known: _Known) -> Ticket | None:
        """The ticket that stands in the way; one of another specification is over."""
        ticket = self.tickets.waiting(self.task_id)
        if ticket is None or ticket.body.get("spec_digest") == known.digest:
            return ticket
        if not self.dry_run:
            resolve(self.layout, self.config, ticket.id, "the specification was changed")
        return None

    def _pause(self, known: _Known) -> str | None:
        limits, past = self.config.improvement, [one for one in self.history.all() if one.state != "interrupted"]
        if len(self.history.today()) >= limits.max_per_day:
            return f"it was tried {limits.max_per_day} times today; improvement.max_per_day"
        last = next((one for one in reversed(past) if one.spec_digest == known.digest), None)
        if last is None or last.ended_at is None:
            return None
        hours = (time.time() - datetime.fromisoformat(last.ended_at).timestamp()) / 3600
        if hours < limits.cooldown_hours:
            return (
                f"it was last tried {hours:.1f} hours ago; improvement.cooldown_hours is {limits.cooldown_hours:g}"
            )
        if last.base == known.base.artifact.version and last.evidence.get("checked") == known.evidence.accuracy.n:
            return "nothing was checked since it was last tried"
        return None

    # --- trying

    def _try(self, known: _Known, made: Improvement) -> None:
        rows = judged(self.layout, self.task_id)
        added = new_labels(self.layout, self.task_id, rows)
        made.labels = len(added)
        if not self.dry_run:
            labels.append(self.layout, self.task_id, added)
            added = []
        written = self._written(known, made, gather_here(known.loaded, self.layout, added))
        made.accuracy, made.learner = written.artifact.accuracy, written.artifact.learner
        self.show("replaying what was right", None)
        right = rightness(known.loaded)
        found = self._regression(known, written, gain_of(known.base, rows, written, self.layout, right))
        made.regression = found.as_dict()
        made.regression["flips"] = made.regression["flips"][:_SHOWN_FLIPS]
        if found.refused is not None:
            made.state, made.reason = "refused", found.refused
        elif self.dry_run:
            made.state, made.reason = ("made", "it would be kept") if written.gate.met else ("missed", "a draft")
        else:
            self._keep(known, made, written)

    def _written(self, known: _Known, made: Improvement, examples: ExampleSet) -> Written:
        spec = known.loaded.spec
        # Another seed than the attempts before it had: what they tried came to nothing.
        seed = spec.generate.seed + len(self.history.failed_in_a_row(known.digest, self._since()))
        spent = sum(one.usd for one in self.history.today())
        most = min(spec.generate.max_cost_usd, max(0.0, self.config.improvement.max_usd_per_day - spent))
        ask = generate.Ask(seed=seed, max_cost_usd=most, tell=self.tell)
        writer = None if self.dry_run else generate.writer_of(spec, self.layout, self.config, ask)
        written = generate.write(known.loaded, self.layout, self.config, ask, examples, writer, self.show)
        made.usd = written.artifact.generation_cost or 0.0
        return written

    def _regression(self, known: _Known, written: Written, gain: Gain) -> Regression:
        gold = chosen(written.examples.examples)
        timeout_ms = self.config.timeout_ms(known.loaded.spec.timeout_ms)
        with open_pool(self.config, workers=1) as pool:
            old = answers(pool, known.base, self.config, gold)
            new = answers_of(pool, written.synthesis.code, timeout_ms, self.config, gold)
        return Regression(len(gold), flips_of(gold, old, new, rightness(known.loaded)), gain)

    def _keep(self, known: _Known, made: Improvement, written: Written) -> None:
        made.artifact_id = written.artifact.id
        self.history.save(made)  # before the version is there, so that a kill in between is understood
        with self.layout.lock(self.task_id, _STORE_WAIT_S):
            if ArtifactStore(self.layout).active_version(self.task_id) != known.base.artifact.version:
                made.state, made.reason = "interrupted", "another version serves by now"
                return
            stored = generate.keep(written, known.loaded, self.layout, may_serve=False)
        made.version = stored.artifact.version
        if written.gate.met:
            made.state, made.reason = "made", f"v{made.version} is better than v{made.base}"
        else:
            missed = "accuracy_target" if not written.gate.accuracy_met else "latency_target_ms"
            made.state, made.reason = "missed", f"v{made.version} misses its {missed}: kept as a draft"

    # --- telling

    def _begin(self, made: Improvement) -> None:
        if self.dry_run:
            return
        self.history.save(made)
        seen = {name: made.evidence[name] for name in ("checked", "failed", "executions", "errors")}
        self._announce("improvement.started", made, patterns=len(made.patterns), **seen)

    def _end(self, known: _Known, made: Improvement) -> None:
        made.ended_at = utc_now()
        if self.dry_run:
            return
        self.history.save(made)
        refused = made.state == "refused"
        facts: dict[str, Any] = {
            "state": made.state,
            "reason": made.reason,
            "usd": made.usd,
            "labels": made.labels,
        }
        if made.regression is not None:
            facts |= {"flips": len(made.flips), **made.regression["gain"]}
        self._announce("improvement.refused" if refused else "improvement.finished", made, **facts)
        if made.was_a_failure:
            self._escalate(known, made)
        if made.state == "made":
            start_rollout(self.layout, self.config, self.task_id, made.version, self.tell)

    def _escalate(self, known: _Known, made: Improvement) -> None:
        """After so many attempts in a row that came to nothing, ask a person."""
        tried = self.history.failed_in_a_row(known.digest, self._since())
        if len(tried) < self.config.improvement.max_failed:
            return
        body = {
            "spec_digest": known.digest,
            "evidence": made.evidence,
            "patterns": made.patterns,
            "hypothesis": made.hypothesis,
            "flips": made.flips,
            "tried": [_tried(one) for one in tried],
        }
        title = f"{self.task_id}: improving it came to nothing, {len(tried)} times in a row"
        ticket, is_new = self.tickets.open(self.task_id, title, body)
        made.ticket_id = ticket.id
        self.history.save(made)
        if is_new:
            facts = {"ticket_id": ticket.id, "failures": len(tried), "patterns": len(made.patterns)}
            announce(self.layout, self.config, "ticket.opened", self.task_id, **facts)
            alert = {"alert_id": ticket.id, "alert_kind": "escalation", "severity": "warning", "message": title}
            announce(self.layout, self.config, "alert", self.task_id, **alert)

    def _since(self) -> str:
        """When a person last resolved a ticket: what was tried before does not count."""
        return max((one.updated_at for one in self.tickets.list(self.task_id, "resolved")), default="")

    def _announce(self, event: str, made: Improvement, **facts: Any) -> None:
        known = {"improvement_id": made.id, "base": made.base, "version": made.version}
        announce(self.layout, self.config, event, self.task_id, **known, **facts)


def _tried(one: Improvement) -> dict[str, Any]:
    names = ("id", "base", "state", "reason", "started_at", "labels", "accuracy", "learner", "version", "usd")
    shown = {name: getattr(one, name) for name in names}
    if one.regression is not None:
        shown |= {"gain": one.regression["gain"], "flips": len(one.flips)}
    return shown


def resolve(layout: Layout, config: Config, ticket_id: str, resolution: str) -> Ticket:
    """Close a ticket, so that the task's loop goes on. Raises NotFound, UsageError, StorageError."""
    ticket, is_new = Tickets(layout).resolve(ticket_id, resolution)
    if is_new:
        announce(layout, config, "ticket.resolved", ticket.task_id, ticket_id=ticket.id)
    return ticket


def start_rollout(
    layout: Layout, config: Config, task_id: str, version: int | None, tell: Callable[[str], None]
) -> bool:
    """Try a version beside the one that serves, where rollouts start by themselves; True if one was started."""
    if not config.rollout.auto or version is None:
        return False
    try:
        roll_out.start(layout, config, f"{task_id}@{version}", by="improvement")
    except StorageError:
        raise
    except LoopaiError as error:
        tell(f"no rollout of v{version} was started: {error}")
        return False
    return True

"""A new version beside the one that serves: first in shadow, then with a growing share, at last in its place.

    start -> shadow -> 10 % -> 50 % -> 100 % -> it is active, and watched -> promoted
                 \\________\\_______\\______________\\-> rolled back, or aborted

A server tells what it has seen of both (`observe`), and an oracle's words on where they part are in a file
beside; `rollout.decide` is asked, and what it says is done. Every change is announced before it is kept, so that
one which was interrupted is told twice rather than never.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import rollouts
from loopai_runtime.artifacts.state import require_active
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets import shadow, shadow_labels
from loopai_runtime.errors import Busy, GateMissed, UsageError
from loopai_runtime.flows import report
from loopai_runtime.flows.announce import announce
from loopai_runtime.models import VersionStatus, new_id, utc_now
from loopai_runtime.rollout import Failures, decide
from loopai_runtime.rollouts import Rollout, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_LOCK_S = 30.0
_UNBOUNDED = 1 << 60  # labels


class Trial(NamedTuple):
    """Which versions answer a task's requests, and the percent that the candidate serves."""

    rollout_id: str
    candidate: int
    incumbent: int
    stage: int


def start(layout: Layout, config: Config, reference: str, *, by: str = "cli", force: bool = False) -> Rollout:
    """Try a version (`task@v`) beside the one that serves. `force` takes a draft, which missed its targets, too.

    Raises NotFound without either version, UsageError where it serves already, GateMissed for a draft, Busy where
    another rollout of the task is under way, TamperedArtifact, StorageError.
    """
    store = ArtifactStore(layout)
    stored = store.read(reference)
    task_id, version = stored.artifact.task_id, stored.artifact.version
    state = store.state(task_id)
    active = require_active(state, task_id)
    if version == active:
        raise UsageError(f"{task_id} v{version} serves already", hint=f"loopai versions {task_id}")
    entry = state.versions.get(version)
    if not force and (entry is None or entry.status is not VersionStatus.VALIDATED):
        status = entry.status.value if entry else "a draft"
        raise GateMissed(f"{task_id} v{version} is {status}, and only a validated version is tried")
    now, limits = utc_now(), config.rollout
    made = Rollout(
        new_id(),
        task_id,
        version,
        active,
        *(now, now, now),
        stages=limits.stages,
        delta=limits.delta,
        alpha=limits.alpha,
        min_labels=limits.min_labels,
        min_dwell_s=limits.min_dwell_sec,
        max_labels=limits.max_labels,
        watch_s=limits.watch_hours * 3600,
    ).changed("started", f"v{version} is tried beside v{active}", by)
    with rollouts.only_change(layout, task_id) as keep:
        there = rollouts.load(layout, task_id)
        # One that is only watched has replaced the incumbent already: what is tried next ends the watch.
        if there is not None and there.state == "running":
            raise Busy(
                f"a rollout of {task_id} v{there.candidate} is under way ({there.stage} %)",
                hint=f"loopai rollout abort {task_id} --reason … ends it",
            )
        _tell(layout, config, made)
        keep(made)
    return made


def status(layout: Layout, task_id: str) -> Rollout:
    """The rollout under way, or the last. Raises NotFound, StorageError."""
    layout.require_task(task_id)
    return rollouts.require(layout, task_id)


def promote(layout: Layout, config: Config, task_id: str, reason: str, *, by: str = "cli") -> Rollout:
    """Go to the next stage whatever the evidence says. Raises UsageError where no rollout can, NotFound."""
    return _change(layout, config, task_id, lambda found: _promoted(layout, found, reason, by), "running")


def abort(layout: Layout, config: Config, task_id: str, reason: str, *, by: str = "cli") -> Rollout:
    """End it: the incumbent serves alone. Raises UsageError where none is under way, NotFound."""
    return _change(layout, config, task_id, lambda found: _ended(layout, found, "aborted", reason, by))


def roll_back(
    layout: Layout, config: Config, task_id: str, rollout_id: str, reason: str, *, by: str = "evidence"
) -> Rollout | None:
    """The same for a candidate that was found to be bad; None where that rollout is over."""
    with rollouts.only_change(layout, task_id) as keep:
        found = rollouts.load(layout, task_id)
        if found is None or found.rollout_id != rollout_id or not found.is_under_way:
            return None
        after = _ended(layout, found, "rolled_back", reason, by)
        _tell(layout, config, after)
        keep(after)
    return after


def observe(layout: Layout, config: Config, task_id: str, rollout_id: str, seen: Seen) -> Rollout | None:
    """Add what a server has seen since it told last, look at all the evidence, and do what it says.

    Returns the task's rollout as it is now, which may be another one; None where there is none.
    """
    with rollouts.only_change(layout, task_id) as keep:
        found = rollouts.load(layout, task_id)
        if found is None or not found.is_under_way or found.rollout_id != rollout_id:
            return found
        after = _moved(layout, _with_labels(layout, _with(found, seen)))
        if after.history != found.history:
            _tell(layout, config, after)
        keep(after)
    return after


def trial(layout: Layout, task_id: str) -> Trial | None:
    """What a server is to try, None where there is nothing. Raises StorageError."""
    found = rollouts.load(layout, task_id)
    if found is None or not found.is_under_way:
        return None
    return Trial(found.rollout_id, found.candidate, found.incumbent, found.stage)


def disagreements(layout: Layout, rollout: Rollout, limit: int = 20) -> list[dict[str, Any]]:
    """The last requests on which the versions part, the newest first: what each answered, and who is right."""
    seen = shadow.Reader(layout, rollout.task_id, rollout.rollout_id)
    seen.read()
    said = {one.execution_id: one for one in shadow_labels.read(layout, rollout.task_id, rollout.rollout_id)}
    shown = []
    for pair in seen.pairs[-limit:][::-1] if limit else []:
        one = said.get(pair.execution_id)
        shown.append(
            {
                "execution_id": pair.execution_id,
                "at": pair.timestamp,
                "input": pair.input,
                "incumbent": pair.incumbent.get("output"),
                "candidate": pair.candidate.get("output"),
                "oracle": one.right if one else None,
                "label": one.label if one else None,
            }
        )
    return shown


def report_of(layout: Layout, config: Config, rollout: Rollout) -> None:
    """Have its counts told to the platform, where telemetry is on. Raises StorageError."""
    body = {
        "task_id": rollout.task_id,
        "version": rollout.candidate,
        "rollout_id": rollout.rollout_id,
        "state": rollout.state,
        "share": rollout.share,
        "shadowed": rollout.shadowed,
        "differed": rollout.differed,
        "labels": len(rollout.labelled),
        "e_value": round(min(rollout.e_value, 1e12), 6),
    }
    report.rollout(layout, config, body)


# --- what may become of one


def _change(
    layout: Layout, config: Config, task_id: str, how: Callable[[Rollout], Rollout], only: str | None = None
) -> Rollout:
    layout.require_task(task_id)
    with rollouts.only_change(layout, task_id) as keep:
        found = rollouts.require(layout, task_id)
        if not found.is_under_way or (only is not None and found.state != only):
            raise UsageError(f"the rollout of {task_id} v{found.candidate} is over: it is {found.state}")
        after = how(_with_labels(layout, found))
        _tell(layout, config, after)
        keep(after)
    return after


def _with(rollout: Rollout, seen: Seen) -> Rollout:
    return replace(
        rollout,
        updated_at=utc_now(),
        dwell_s=rollout.dwell_s + max(0.0, seen.seconds),
        shadowed=rollout.shadowed + seen.shadowed,
        differed=rollout.differed + seen.differed,
        dropped=rollout.dropped + seen.dropped,
        over_latency=rollout.over_latency + seen.over_latency,
        errors=Failures(
            rollout.errors.incumbent + seen.errors.incumbent, rollout.errors.candidate + seen.errors.candidate
        ),
    )


def _with_labels(layout: Layout, rollout: Rollout) -> Rollout:
    said = shadow_labels.read(layout, rollout.task_id, rollout.rollout_id)
    return replace(rollout, labelled=tuple(one.label for one in said)[: rollout.max_labels])


def _moved(layout: Layout, rollout: Rollout) -> Rollout:
    """What the evidence makes of a rollout, done."""
    active = ArtifactStore(layout).active_version(rollout.task_id)
    is_last = rollout.stage == rollout.stages[-1]
    if rollout.state == "running" and active == rollout.candidate and is_last:
        return _promoted(
            layout, rollout, "it was made active", "evidence"
        )  # by a process that was killed just then
    if active != (rollout.incumbent if rollout.state == "running" else rollout.candidate):
        now = f"v{active} serves" if active is not None else "no version serves"
        return _ended(layout, rollout, "aborted", f"{now} by somebody's hand", "evidence")
    state = rollout.decision_state()
    if rollout.state == "watching":
        state = replace(state, max_labels=_UNBOUNDED)
    decision = decide(state, rollout.evidence(), rollout.stages)
    rollout = replace(rollout, e_value=decision.e_value, reason=decision.reason)
    if decision.action == "roll_back":
        return _ended(layout, rollout, "rolled_back", decision.reason, "evidence")
    if rollout.state == "watching":
        over = rollout.dwell_s >= rollout.watch_s
        return replace(rollout, state="promoted", ended_at=utc_now()) if over else rollout
    return _promoted(layout, rollout, decision.reason, "evidence") if decision.action == "promote" else rollout


def _promoted(layout: Layout, rollout: Rollout, reason: str, by: str) -> Rollout:
    """At its next stage; from the last, in the incumbent's place."""
    now = utc_now()
    following = next((stage for stage in rollout.stages if stage > rollout.stage), None)
    if following is not None:
        changes: dict[str, Any] = {"stage": following, "stage_started_at": now, "dwell_s": 0.0}
        return rollout.changed("advanced", reason, by, **changes)
    _serve(layout, rollout.task_id, rollout.incumbent, rollout.candidate, f"rollout: {reason}")
    watched = rollout.watch_s > 0
    ended: dict[str, Any] = {} if watched else {"ended_at": now}
    state = "watching" if watched else "promoted"
    return rollout.changed("promoted", reason, by, state=state, stage_started_at=now, dwell_s=0.0, **ended)


def _ended(layout: Layout, rollout: Rollout, state: str, reason: str, by: str) -> Rollout:
    """Over, and the incumbent serves, unless somebody has chosen another version meanwhile."""
    if rollout.state == "watching":
        _serve(layout, rollout.task_id, rollout.candidate, rollout.incumbent, f"rollout: {reason}")
    return rollout.changed(state, reason, by, state=state, ended_at=utc_now())


def _serve(layout: Layout, task_id: str, now: int, then: int, reason: str) -> None:
    with layout.lock(task_id, _LOCK_S):
        store = ArtifactStore(layout)
        if store.active_version(task_id) == now:
            store.activate(task_id, then, reason=reason)


def _tell(layout: Layout, config: Config, rollout: Rollout) -> None:
    """Announce the last change, and have the counts reported."""
    change = rollout.history[-1]
    facts = {
        "rollout_id": rollout.rollout_id,
        "version": rollout.candidate,
        "incumbent": rollout.incumbent,
        "stage": change.stage,
        "share": rollout.share,
        "e_value": round(min(change.e_value, 1e12), 4),
        "labels": len(rollout.labelled),
        "reason": change.reason,
        "by": change.by,
    }
    announce(layout, config, f"rollout.{change.event}", rollout.task_id, **facts)
    report_of(layout, config, rollout)

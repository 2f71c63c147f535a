"""Failures of all deployments become a better version of a task: the platform's side of the loop.

    telemetry -> evidence (bounds, as at an edge) -> the oracle's answers become examples -> a version is written
              -> regression gate -> published; every edge puts it to its own gold examples before it takes traffic

A third of the checked executions, another one at each attempt, is left out of the examples: what they say of the
new version is what it gains. Where edges report no inputs (strict privacy) nothing can be written here: they
improve themselves, and the platform says that it is time to.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loopai_runtime.central import checked, improvements, tickets
from loopai_runtime.central.access import Caller, Scope
from loopai_runtime.central.audit import PLATFORM
from loopai_runtime.central.gate import regression_of
from loopai_runtime.central.known import divided, known_of
from loopai_runtime.errors import GateMissed, LoopaiError
from loopai_runtime.flows import webhooks
from loopai_runtime.flows.announce import announce
from loopai_runtime.http.problem import Refused
from loopai_runtime.models import utc_now
from loopai_runtime.signalr.logs import report

if TYPE_CHECKING:
    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.central.known import Known
    from loopai_runtime.central.platform import Platform

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
_SHOWN_FLIPS = 50


class Coordinator:
    """Made on the loop that serves. `heard` may be called from it whenever a task's checks have come in."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._to_look: set[tuple[str, str]] = set()
        self._running: dict[tuple[str, str], dict[str, Any]] = {}
        self._said: dict[str, str] = {}
        self._watching: asyncio.Task[None] | None = None

    def heard(self, tenant_id: str, task_id: str) -> None:
        if self._platform.config.improvement.auto:
            self._to_look.add((tenant_id, task_id))

    def start(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching

    async def _watch(self) -> None:
        for row in await self._platform.thread(self._unfinished):
            self._running[row["tenant_id"], row["task_id"]] = row
        while True:
            looking, self._to_look = self._to_look, set()
            for tenant_id, task_id in sorted(looking | set(self._running)):
                try:
                    await self.look(tenant_id, task_id)
                except LoopaiError as error:
                    self._say(task_id, str(error))
                except Exception as error:
                    report(log, f"improving {task_id}", error)
            await self._deliver()
            await asyncio.sleep(LOOK_EVERY_S)

    def _say(self, task_id: str, what: str) -> None:
        """Once, until it is something else."""
        if self._said.get(task_id) != what:
            self._said[task_id] = what
            log.info("improving %s: %s", task_id, what)

    def _unfinished(self) -> list[dict[str, Any]]:
        with self._platform.db.read() as connection:
            return improvements.running(connection)

    async def _deliver(self) -> None:
        """Tell the webhooks what is due."""
        layout, config = self._platform.layout, self._platform.config

        def deliver() -> None:
            if webhooks.is_due(layout):
                webhooks.deliver(layout, config)

        try:
            if config.webhooks:
                await self._platform.thread(deliver)
        except Exception as error:
            report(log, "webhooks", error)

    async def look(self, tenant_id: str, task_id: str, *, force: bool = False) -> str:
        """Begin to improve a task where that is shown to be needed, or end what has begun; answers why not.

        `force` goes on without evidence, within the cool-down, and past a ticket. Raises NotFound, InputError.
        """
        if (row := self._running.get((tenant_id, task_id))) is not None:
            return await self._conclude(row)
        known = await self._platform.thread(known_of, self._platform, tenant_id, task_id)
        why_not = await self._why_not(known)
        if why_not is not None and not force:
            return why_not
        if not any(row.teaches and not row.match for row in known.rows):
            return await self._leave(known)
        await self._begin(known)
        return known.evidence.why or "it was asked for"

    # --- whether

    async def _why_not(self, known: Known) -> str | None:
        """Why nothing is to be done now."""
        if (ticket := known.waiting) is not None and ticket["body"]["spec_digest"] == known.digest:
            return f"the ticket {ticket['id'][:8]} waits for a person, or for another specification"
        if ticket is not None:
            await self.resolve(known.tenant_id, PLATFORM, ticket["id"], "the specification was changed")
        last = known.past[0] if known.past else None
        is_new = last is not None and last["state"] == "made" and last["version"] > known.base
        if last is not None and is_new and not await self._platform.thread(self._note_rolled_back, last):
            return f"v{last['version']} was made for this and does not serve yet"
        return known.evidence.why_not if known.evidence.why is None else self._pause(known)

    def _note_rolled_back(self, made: dict[str, Any]) -> bool:
        place = (made["tenant_id"], made["task_id"])
        with self._platform.db.write() as connection:
            if not improvements.was_rolled_back(connection, *place, made["version"]):
                return False
            reason = "it was no better on real traffic"
            improvements.change(connection, made, state="rolled_back", reason=reason)
            return True

    def _pause(self, known: Known) -> str | None:
        limits = self._platform.config.improvement
        if sum(one["started_at"][:10] == utc_now()[:10] for one in known.past) >= limits.max_per_day:
            return f"it was tried {limits.max_per_day} times today; improvement.max_per_day"
        last = next((one for one in known.past if one["spec_digest"] == known.digest and one["ended_at"]), None)
        if last is None:
            return None
        hours = (time.time() - datetime.fromisoformat(last["ended_at"]).timestamp()) / 3600
        if hours < limits.cooldown_hours:
            return f"it was last tried {hours:.1f} hours ago; improvement.cooldown_hours"
        if last["base"] == known.base and last["body"].get("checked") == known.evidence.accuracy.n:
            return "nothing was checked since it was last tried"
        return None

    # --- trying

    async def _begin(self, known: Known) -> None:
        examples, held = divided(known)
        evidence = known.evidence
        body = {
            "checked": evidence.accuracy.n, "evidence": evidence.as_dict(), "labels": len(examples),
            "patterns": checked.patterns_of(row for row in known.rows if row.version == known.base),
        }  # fmt: skip
        values = {"base": known.base, "spec_digest": known.digest, "body": body}
        row = await self._platform.thread(
            self._insert, known, state="running", reason=evidence.why or "it was asked for", **values
        )

        async def judge(written: Stored) -> None:
            """The regression gate, before anything is published."""
            found = await self._platform.thread(
                regression_of, self._platform, known.tenant_id, known.base, known.loaded, written,
                [*known.own, *examples], held,
            )  # fmt: skip
            shown = found.as_dict()
            shown["flips"] = shown["flips"][:_SHOWN_FLIPS]
            await self._platform.thread(self._change, row, body=row["body"] | {"regression": shown})
            if found.refused is not None:
                raise GateMissed(found.refused)

        self._announce(row, "improvement.started", checked=evidence.accuracy.n, failed=evidence.failed)
        caller = Caller(known.tenant_id, PLATFORM, None, frozenset({Scope.PUBLISH}))
        given = [{"input": one.input, "output": one.output} for one in examples]
        try:
            generation = await self._platform.generations.ask(caller, known.task_id, given, judge)
        except (LoopaiError, Refused) as error:
            why = error.detail if isinstance(error, Refused) else str(error)
            await self._end(row, "failed", f"no program was written: {why}", None)
            return
        await self._platform.thread(self._change, row, generation_id=generation["id"])
        self._running[known.tenant_id, known.task_id] = row

    def _insert(self, known: Known, **values: Any) -> dict[str, Any]:
        with self._platform.db.write() as connection:
            return improvements.begin(connection, known.tenant_id, known.task_id, **values)

    def _change(self, row: dict[str, Any], **values: Any) -> None:
        with self._platform.db.write() as connection:
            improvements.change(connection, row, **values)

    async def _conclude(self, row: dict[str, Any]) -> str:
        """End an attempt whose program is written, or was given up."""
        place = (row["tenant_id"], row["task_id"])
        if row["generation_id"] is None:  # the platform ended before it had asked for a program
            await self._end(row, "interrupted", "the platform ended before it did", None)
            return str(row["reason"])
        done = await self._platform.thread(self._platform.generations.read, *place, row["generation_id"])
        if done["state"] in ("queued", "running"):
            return "a version is being written"
        if done["state"] == "done":
            state, reason = "made", f"v{done['version']} is published"
            if done["status"] == "draft":
                state, reason = "missed", f"v{done['version']} misses its targets: published as a draft"
        elif (row["body"].get("regression") or {}).get("refused"):
            state, reason = "refused", row["body"]["regression"]["refused"]
        elif done["error"] == self._platform.generations.ENDED:
            state, reason = "interrupted", done["error"]
        else:
            state, reason = "failed", f"no program was written: {done['error']}"
        await self._end(row, state, reason, done["version"])
        return reason

    async def _end(self, row: dict[str, Any], state: str, reason: str, version: int | None) -> None:
        def write() -> None:
            with self._platform.db.write() as connection:
                improvements.end(connection, row, state, reason, version)

        await self._platform.thread(write)
        self._running.pop((row["tenant_id"], row["task_id"]), None)
        event = "improvement.refused" if state == "refused" else "improvement.finished"
        self._announce(row, event, state=state, version=version)
        if state in improvements.FAILED:
            await self._escalate(row)

    async def _leave(self, known: Known) -> str:
        """Nothing can be learned from here: tell the edges, once in a cool-down, that it is time to."""
        why = known.evidence.why or "it was asked for"
        reason = f"{why}; its failures are reported without inputs, so its deployments improve it themselves"
        body = {"checked": known.evidence.accuracy.n, "patterns": checked.patterns_of(known.rows)}
        values = {"base": known.base, "spec_digest": known.digest, "body": body}
        row = await self._platform.thread(self._insert, known, state="left", reason=reason, **values)
        await self._end(row, "left", reason, None)
        await self._alert(row, "failures", reason)
        return reason

    # --- asking a person

    async def _escalate(self, row: dict[str, Any]) -> None:
        """After so many attempts in a row that came to nothing, ask a person."""
        place = (row["tenant_id"], row["task_id"])

        def write() -> tuple[dict[str, Any], bool] | None:
            with self._platform.db.write() as connection:
                since = tickets.last_resolved(connection, *place)
                past = improvements.of_task(connection, *place)
                tried = improvements.failed_in_a_row(past, row["spec_digest"], since)
                if len(tried) < self._platform.config.improvement.max_failed:
                    return None
                title = f"{row['task_id']}: improving it came to nothing, {len(tried)} times in a row"
                body = row["body"] | {"spec_digest": row["spec_digest"], "tried": [_tried(one) for one in tried]}
                return tickets.open_(connection, row["tenant_id"], PLATFORM, row["task_id"], title, body)

        found = await self._platform.thread(write)
        if found is None or not found[1]:
            return
        ticket = found[0]
        self._announce(row, "ticket.opened", ticket_id=ticket["id"])
        await self._alert(row, "escalation", ticket["title"], ticket["id"])

    async def resolve(self, tenant_id: str, who: str, ticket_id: str, resolution: str) -> dict[str, Any]:
        """Close a ticket, so that the task's loop goes on. Raises NotFound."""

        def write() -> tuple[dict[str, Any], bool]:
            with self._platform.db.write() as connection:
                return tickets.resolve(connection, tenant_id, who, ticket_id, resolution)

        ticket, is_new = await self._platform.thread(write)
        if is_new:
            self._announce(ticket | {"tenant_id": tenant_id}, "ticket.resolved", ticket_id=ticket_id)
            self.heard(tenant_id, ticket["task_id"])
        return ticket

    async def _alert(self, row: dict[str, Any], kind: str, message: str, id_: str | None = None) -> None:
        alert = {
            "id": id_ or row["id"], "task_id": row["task_id"], "kind": kind, "severity": "warning",
            "message": message, "at": utc_now(),
        }  # fmt: skip
        self._platform.news.alert(row["tenant_id"], alert)
        self._announce(row, "alert", alert_kind=kind, severity="warning", message=message)

    def _announce(self, row: dict[str, Any], event: str, **facts: Any) -> None:
        layout, config = self._platform.layout, self._platform.config
        about = {name: row[name] for name in ("tenant_id", "base") if name in row}
        announce(layout, config, event, row["task_id"], **about, **facts)


def _tried(one: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "base", "state", "reason", "started_at", "version")
    return {name: one[name] for name in names}

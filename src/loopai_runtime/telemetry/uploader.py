"""Sending what the spool holds until the platform has it.

A batch's bytes are settled, written down and put into the audit before they first leave, and go out unchanged,
under one Idempotency-Key, until the platform says that it has them. An answer that is lost costs a repetition,
which the platform knows by the records' numbers. Nothing here gives up: a failure is tried again after a random
time of up to `MOST_WAIT_S`, or when the platform asked to be.

    202 with the counts   the platform has it        413   half as many records from then on
    400, 415, 422         it never will: quarantine  401, 403   nothing more until the key changes, or an hour
    anything else         later
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from loopai_runtime.events import Audit
from loopai_runtime.models import utc_now
from loopai_runtime.outbound import place_of
from loopai_runtime.telemetry import batch as batches
from loopai_runtime.telemetry import outbox
from loopai_runtime.telemetry.policy import Policy
from loopai_runtime.telemetry.state import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.telemetry.spool import Spool
    from loopai_runtime.telemetry.wire import Answer, Send

MOST_WAIT_S = 300.0
MOST_ASKED_S = 3600.0
"""Longer than this no platform can keep an edge waiting."""
PAUSE_S = 3600.0
_QUARANTINE_SHARE = 0.1  # of the spool's size
_NEVER = frozenset({400, 415, 422})


@dataclass(slots=True)
class Uploaded:
    """What one run came to."""

    batches: int = 0
    records: int = 0
    bytes: int = 0
    duplicates: int = 0
    trouble: str | None = None
    """Why there is something left."""
    refused: bool = False
    """Whether that is the key."""
    wait_s: float = 0.0


class Uploader:
    """Works on one spool under its lock. `clock` and `draw` (from 0 to 1) are for tests."""

    def __init__(
        self,
        spool: Spool,
        config: Config,
        policy: Policy,
        send: Send,
        *,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._spool, self._state, self._layout = spool, spool.state, spool.layout
        self._config, self._policy, self._send = config, policy, send
        self._clock, self._draw = clock, draw
        self._deployment_id = spool.layout.deployment_id(config)
        key = config.cloud.api_key.get_secret_value() if config.cloud.api_key else ""
        self._door = hashlib.sha256(f"{config.cloud.api_url}\n{key}".encode()).hexdigest()[:16]

    def run(self, *, now: bool = False) -> Uploaded:
        """Send all there is, until something stands against it. `now`: also before the time of the next attempt,
        unless the platform asked for it. Raises StorageError."""
        done = Uploaded()
        if (left := self._left(now)) is not None:
            done.trouble, done.wait_s = left, max(0.0, self._state.not_before - self._clock())
            done.refused = self._state.paused is not None
            return done
        self._unfreeze_what_may_not_leave()
        while done.trouble is None and self._freeze():
            self._send_once(done)
        return done

    def _left(self, now: bool) -> str | None:
        """Why this is not the time."""
        state = self._state
        if state.paused is not None and state.paused_key != self._door:
            state.paused, state.not_before = None, 0.0
        if self._clock() >= state.not_before or (now and not state.asked_to_wait):
            return None
        if state.not_before - self._clock() > max(MOST_ASKED_S, PAUSE_S):  # the clock was set back
            return None
        return state.paused or state.last_error or "waiting"

    # --- settling what leaves

    def _freeze(self) -> bool:
        """Have a batch whose bytes are settled; False where nothing is left to send."""
        state = self._state
        while state.frozen is None:
            limit = min(self._config.telemetry.batch_size, state.limit or self._config.telemetry.batch_size)
            batch = batches.next_batch(self._layout, state.acked, limit, self._policy)
            if batch.through == state.acked:
                return False
            if not batch.lines:
                self._settle(batch.through, batch.dropped)
                continue
            plain = batch.plain(self._deployment_id)
            body = batches.packed(plain)
            key = hashlib.sha256(body).hexdigest()
            frozen = Frozen(key, batch.through, batch.after, len(batch.lines), len(body), len(plain))
            frozen.kinds, frozen.dropped = dict(batch.kinds), dict(batch.dropped)
            frozen.policy, frozen.deployment_id = tuple(batch.policy), self._deployment_id
            outbox.put(self._layout, frozen, body)
            state.frozen = frozen
            state.save(self._layout)
        self._audit(state.frozen)
        return True

    def _audit(self, frozen: Frozen) -> None:
        """Say what leaves, before it does, once."""
        if frozen.audited:
            return
        Audit(self._layout).record(
            "telemetry",
            destination=place_of(self._config.cloud.api_url or ""),
            mode=str(self._config.telemetry.privacy_mode),
            records=frozen.records,
            kinds=frozen.kinds,
            bytes=frozen.plain_bytes,
            sent_bytes=frozen.bytes,
            sha256=frozen.key,
        )
        frozen.audited = True
        self._state.save(self._layout)

    def _unfreeze_what_may_not_leave(self) -> None:
        frozen = self._state.frozen
        if frozen is None:
            outbox.sweep(self._layout, None)
        elif not self._policy.allows(Policy(*frozen.policy)) or frozen.deployment_id != self._deployment_id:
            self._unfreeze()

    def _unfreeze(self) -> None:
        """Let the settled batch's records be batched anew; what did arrive of them is known by its numbers."""
        self._state.frozen = None
        self._state.save(self._layout)
        outbox.sweep(self._layout, None)

    # --- sending

    def _send_once(self, done: Uploaded) -> None:
        frozen = self._state.frozen
        assert frozen is not None
        body = outbox.get(self._layout, frozen)
        if body is None:
            self._unfreeze()
            return
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Idempotency-Key": frozen.key,
            "Loopai-Sent-At": utc_now(),
        }
        answer = self._send(body, headers)
        counts = _counts(answer, frozen.records)
        if counts is not None:
            self._arrived(frozen, done, counts["duplicates"])
        elif answer.status == 413 and frozen.records > 1:
            self._state.limit = frozen.records // 2
            self._unfreeze()
        elif answer.status == 413 or answer.status in _NEVER:
            self._quarantine(frozen, answer)
        else:
            self._later(answer, done)

    def _arrived(self, frozen: Frozen, done: Uploaded, duplicates: int) -> None:
        state, size = self._state, self._config.telemetry.batch_size
        done.batches += 1
        done.records += frozen.records
        done.bytes += frozen.bytes
        done.duplicates += duplicates
        state.attempts, state.not_before, state.asked_to_wait = 0, 0.0, False
        state.paused = state.last_error = None
        state.last_success = utc_now()
        state.sent_batches += 1
        state.sent_records += frozen.records
        state.sent_bytes += frozen.bytes
        if state.limit is not None:  # larger ones again, little by little
            state.limit = grown if (grown := state.limit + state.limit // 10 + 1) < size else None
        self._settle(frozen.through, frozen.dropped)

    def _settle(self, through: tuple[str, int], dropped: dict[str, int]) -> None:
        """The platform has all up to here that it will get."""
        for reason, n in dropped.items():
            self._state.drop(reason, n)
        self._state.acked = max(self._state.acked, through)
        self._state.frozen = None
        self._state.save(self._layout)
        outbox.sweep(self._layout, None)
        self._spool.forget()

    def _quarantine(self, frozen: Frozen, answer: Answer) -> None:
        """Keep on disk what the platform will not take, and go on."""
        most = int(self._config.telemetry.max_spool_mb * 1e6 * _QUARANTINE_SHARE)
        place = outbox.quarantine(self._layout, frozen, most)
        self._state.last_error = f"the platform refuses a batch: {said(answer)}; it is kept in {place}"
        self._settle(frozen.through, {**frozen.dropped, "quarantined": frozen.records})

    def _later(self, answer: Answer, done: Uploaded) -> None:
        state, now = self._state, self._clock()
        state.attempts += 1
        asked = _asked_s(answer.retry_after, now)
        wait = self._draw() * min(MOST_WAIT_S, 2.0 ** min(state.attempts, 20))
        state.last_error = said(answer)
        state.paused, state.asked_to_wait = None, asked is not None
        if answer.status in (401, 403):
            state.paused = f"paused, as the platform refuses the key ({said(answer)})"
            state.paused_key, state.asked_to_wait, wait = self._door, False, PAUSE_S
        wait = max(wait, min(asked or 0.0, MOST_ASKED_S))
        state.not_before = now + wait
        done.trouble, done.refused, done.wait_s = state.paused or state.last_error, state.paused is not None, wait
        state.save(self._layout)


def _counts(answer: Answer, records: int) -> dict[str, int] | None:
    """What the platform says it took, if it says so of every record: any server may answer 200 to anything."""
    if answer.status not in (200, 202):
        return None
    try:
        told = json.loads(answer.body)
        counts = {"accepted": told["accepted"], "duplicates": told["duplicates"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_whole = all(type(n) is int and n >= 0 for n in counts.values()) and sum(counts.values()) == records
    return counts if is_whole else None


def said(answer: Answer) -> str:
    """One line of what came back, for people."""
    if not answer.status:
        return answer.why
    try:
        told: Any = json.loads(answer.body)
        detail = str(told.get("detail") or told.get("title") or "")
    except (ValueError, AttributeError, RecursionError):
        detail = ""
    if answer.status in (200, 202):
        detail = "without saying how many records it took: is cloud.api_url a platform?"
    return f"answer {answer.status}{f': {detail[:200]}' if detail else ''}"


def _asked_s(retry_after: str | None, now: float) -> float | None:
    """Seconds that the platform asks to wait."""
    if retry_after is None:
        return None
    with suppress(ValueError, TypeError, OverflowError):
        if retry_after.strip().isdecimal():
            return float(min(int(retry_after[:9]), MOST_ASKED_S))
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    return None

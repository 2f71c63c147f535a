"""What would leave, shown before it does; and how reporting stands."""

from __future__ import annotations

import gzip
import itertools
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime.errors import Busy
from loopai_runtime.flows import report
from loopai_runtime.models import utc_now
from loopai_runtime.telemetry import batch as batches
from loopai_runtime.telemetry import outbox
from loopai_runtime.telemetry import spool as spools
from loopai_runtime.telemetry import state as states
from loopai_runtime.telemetry.batch import Batch
from loopai_runtime.telemetry.policy import policy_of
from loopai_runtime.telemetry.spool import Block, Spool

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_ALL = 10**9


@dataclass(slots=True)
class Preview:
    """The next upload: its bytes as JSON and as they go out, and how many records are left for later ones."""

    plain: bytes
    packed: bytes
    records: int
    kinds: dict[str, int]
    withheld: dict[str, int]
    more: int


def preview(layout: Layout, config: Config) -> Preview | None:
    """What would leave now; None where there is nothing. Nothing is sent.

    Where telemetry is on, what is new is put into the spool, so that these are the very bytes that `flush` sends.
    Where it is off nothing is written down. Raises StorageError.
    """
    if config.telemetry_on:
        with suppress(Busy), spools.lock(layout):  # else somebody is about it
            _spool_what_is_new(layout, config)
        return _of_spool(layout, config)
    return _of_logs(layout, config)


def _spool_what_is_new(layout: Layout, config: Config) -> None:
    teller = report.teller_of(layout, config)
    with Spool(layout, report.quota(config), policy=teller.policy) as spool:
        report.report(spool, teller)


def _of_spool(layout: Layout, config: Config) -> Preview | None:
    policy, state = policy_of(config), states.load(layout)
    if state.frozen is not None and (body := outbox.get(layout, state.frozen)) is not None:
        frozen = state.frozen
        more = len(batches.next_batch(layout, frozen.through, _ALL, policy).lines)
        return Preview(gzip.decompress(body), body, frozen.records, frozen.kinds, frozen.dropped, more)
    size = config.telemetry.batch_size
    batch = batches.next_batch(layout, state.acked, min(size, state.limit or size), policy)
    more = len(batches.next_batch(layout, batch.through, _ALL, policy).lines)
    return _preview(layout, config, batch, more)


def _of_logs(layout: Layout, config: Config) -> Preview | None:
    """As a spool begun now would have it."""
    teller, boot = report.teller_of(layout, config), f"{1:08}-{0:08}"
    batch, more = Batch(states.NOTHING, states.NOTHING), 0
    started = {"kind": "started", "at": utc_now(), "data": {"previous": None}}
    new = (record for fresh in report.fresh(layout, teller, {}) for record in fresh.records)
    for number, record in enumerate(itertools.chain([started], new), 1):
        line = spools.line_of(boot, number, record)
        if len(batch.lines) < config.telemetry.batch_size:
            batch.add(Block(boot, number, teller.policy, (line,)), number, line, teller.policy)
        else:
            more += 1
    return _preview(layout, config, batch, more)


def _preview(layout: Layout, config: Config, batch: Batch, more: int) -> Preview | None:
    if not batch.lines:
        return None
    plain = batch.plain(layout.deployment_id(config))
    kinds, withheld = dict(batch.kinds), dict(batch.dropped)
    return Preview(plain, batches.packed(plain), len(batch.lines), kinds, withheld, more)


def status(layout: Layout, config: Config) -> dict[str, Any]:
    """Where reports go, what waits, what went, what was lost. Raises StorageError."""
    state, policy = states.load(layout), policy_of(config)
    spools.recover(layout, state)
    pending = batches.next_batch(layout, state.acked, _ALL, policy)
    return {
        "on": config.telemetry_on,
        "mode": str(config.telemetry.privacy_mode),
        "leaves": "; ".join(policy.words()),
        "destination": config.cloud.api_url,
        "deployment_id": layout.deployment_id(config),
        "pending_records": len(pending.lines),
        "spool_bytes": spools.used_bytes(layout),
        "spool_limit_bytes": report.quota(config),
        "sent_records": state.sent_records,
        "sent_batches": state.sent_batches,
        "sent_bytes": state.sent_bytes,
        "dropped": state.dropped,
        "quarantined_batches": sum(1 for _ in (layout.telemetry / "quarantine").glob("*.gz")),
        "last_success": state.last_success,
        "last_error": state.last_error,
        "paused": state.paused,
        "failed_attempts": state.attempts,
    }

"""What the next upload holds, and its bytes."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.telemetry import spool
from loopai_runtime.telemetry.policy import CONTENT, Policy

if TYPE_CHECKING:
    from loopai_runtime.layout import Layout
    from loopai_runtime.telemetry.spool import Block
    from loopai_runtime.telemetry.state import Number

MAX_PLAIN_BYTES = 8 * 2**20
_KIND = re.compile(rb'"kind":"([a-z]+)"')
_LEVEL = 6  # of gzip


@dataclass(slots=True)
class Batch:
    """Records that follow `after`; with those that may not leave or are lost, they settle all up to `through`."""

    after: Number
    through: Number
    lines: list[bytes] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    policy: Policy = Policy(False, False, False, False)  # noqa: RUF009  a value
    """What was allowed where the loosest of the records was written down."""
    plain_bytes: int = 0

    def add(self, block: Block, seq: int, line: bytes, policy: Policy) -> None:
        self.through = (block.boot, seq)
        if not line:
            self.dropped["erased"] += 1
            return
        kind = kind_of(line)
        if kind in CONTENT and not policy.allows(block.policy):
            self.dropped["privacy"] += 1
            return
        self.lines.append(line)
        self.kinds[kind] += 1
        self.plain_bytes += len(line) + 1
        self.policy = Policy(*(mine or theirs for mine, theirs in zip(self.policy, block.policy, strict=True)))

    def plain(self, deployment_id: str) -> bytes:
        """A `TelemetryBatch` as JSON."""
        head = b'{"schema":1,"deployment_id":' + jsonl.compact(deployment_id) + b',"records":['
        return head + b",".join(self.lines) + b"]}"


def kind_of(line: bytes) -> str:
    """The kind of a record: it stands before anything that could look like it."""
    match = _KIND.search(line)
    return match[1].decode("ascii") if match else ""


def packed(plain: bytes) -> bytes:
    """The same bytes for the same batch."""
    return gzip.compress(plain, _LEVEL, mtime=0)


def next_batch(layout: Layout, after: Number, limit: int, policy: Policy) -> Batch:
    """Up to `limit` records, and so many bytes, of what follows `after` and may leave. Raises StorageError."""
    batch = Batch(after, after)
    found = spool.segments(layout)
    for at, segment in enumerate(found):
        if at + 1 < len(found) and found[at + 1].start <= after:
            continue
        for block in spool.blocks(layout, segment):
            if block.last <= after:
                continue
            boot, last = batch.through
            if block.boot == boot and block.first > last + 1:
                batch.dropped["damaged"] += block.first - last - 1
            for seq, line in enumerate(block.lines, block.first):
                if (block.boot, seq) <= after:
                    continue
                if len(batch.lines) >= limit or batch.plain_bytes + len(line) > MAX_PLAIN_BYTES:
                    return batch
                batch.add(block, seq, line, policy)
    return batch

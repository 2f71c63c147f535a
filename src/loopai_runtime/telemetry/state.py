"""How far reporting has come: what was read, what was given a number, what the platform has.

One small file, replaced as a whole. What it says of reading may lag behind the spool, whose blocks say it too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError
from loopai_runtime.files import make_dir, replace_file, storage_errors

if TYPE_CHECKING:
    from loopai_runtime.layout import Layout

Number = tuple[str, int]
"""(boot, seq) of a record; numbers compare as records happened."""
NOTHING: Number = ("", 0)
_NAME = "state.json"


@dataclass(slots=True)
class Frozen:
    """An upload whose bytes are settled: they go out unchanged however often it takes."""

    key: str
    """Its Idempotency-Key: SHA-256 over the bytes."""
    through: Number
    """The last record that it settles, and the one before its first."""
    after: Number
    records: int
    bytes: int
    plain_bytes: int
    kinds: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    """Records between its first and its last that are not in it."""
    policy: tuple[bool, ...] = (False, False, False, False)
    deployment_id: str = ""
    audited: bool = False


@dataclass(slots=True)
class State:
    """All of it; times are seconds since 1970."""

    life: str = ""
    """Whose boot it is: this start of the machine, this directory."""
    boot: str = ""
    last: int = 0
    """The last number given in this boot."""
    read: Number = NOTHING
    """Up to which block `cursors` are brought up to date."""
    cursors: dict[str, Any] = field(default_factory=dict)
    acked: Number = NOTHING
    """Up to here the platform has what it will get."""
    frozen: Frozen | None = None
    limit: int | None = None
    """Records an upload, where the platform found more to be too large."""
    attempts: int = 0
    not_before: float = 0.0
    asked_to_wait: bool = False
    """Whether it was the platform that named the time."""
    paused: str | None = None
    """Why nothing is sent: the platform refuses the key."""
    paused_key: str = ""
    last_success: str | None = None
    last_error: str | None = None
    sent_records: int = 0
    sent_bytes: int = 0
    sent_batches: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Records that will not arrive, by reason."""
    dropped_told: dict[str, int] = field(default_factory=dict)
    """What of that was reported."""

    def drop(self, reason: str, n: int) -> None:
        if n:
            self.dropped[reason] = self.dropped.get(reason, 0) + n

    def save(self, layout: Layout) -> None:
        """Raises StorageError."""
        path = make_dir(layout.telemetry) / _NAME
        replace_file(path, jsonl.compact(asdict(self)))

    def enter(self, life: str, highest: int) -> bool:
        """Begin a boot where this is another life than before; `highest` boot is known of. Answers whether so."""
        if self.life == life and self.boot:
            return False
        number = max(highest, int(self.boot[:8] or 0)) + 1
        self.life, self.boot, self.last = life, f"{number:08}-{secrets.token_hex(4)}", 0
        return True


def load(layout: Layout) -> State:
    """What was saved; a new state where there is none that can be used. Raises StorageError."""
    path = layout.telemetry / _NAME
    with suppress(FileNotFoundError, InputError, TypeError, KeyError), storage_errors(path):
        return _of(jsonl.loads(path.read_bytes()))
    return State()


def _of(data: dict[str, Any]) -> State:
    known = {name.name for name in fields(State)}
    made = State(**{name: value for name, value in data.items() if name in known})
    made.read, made.acked = _number(made.read), _number(made.acked)
    if data.get("frozen"):
        frozen = Frozen(**data["frozen"])
        frozen.through, frozen.after = _number(frozen.through), _number(frozen.after)
        made.frozen = frozen
    return made


def _number(pair: Any) -> Number:
    boot, seq = pair
    return (boot, seq)


def life_of(layout: Layout) -> str:
    """One name for this start of the machine and this directory: a copy of either has another.

    So two machines made of one disk image never give the same number twice. Raises StorageError.
    """
    place = make_dir(layout.telemetry)
    kernel = ""
    with suppress(OSError):
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    with storage_errors(place):
        status = os.stat(place)  # noqa: PTH116  both numbers of one look
    return hashlib.blake2b(f"{kernel}/{status.st_dev}/{status.st_ino}".encode(), digest_size=8).hexdigest()

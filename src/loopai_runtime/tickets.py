"""Tickets: what the loop could not settle by itself and a person has to look at; a file each, below `tickets/`.

A ticket has whole inputs in it, so it stays on this machine; what leaves of one is its id and its counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import InputError, NotFound, StorageError, UsageError
from loopai_runtime.files import make_dir, only_one
from loopai_runtime.models import new_id, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

Status = Literal["open", "resolved"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """`body` says what was seen and tried: `spec_digest`, `evidence`, `patterns`, `hypothesis`, `tried`."""

    id: str
    task_id: str
    title: str
    status: Status
    created_at: str
    updated_at: str
    resolution: str | None = None
    body: dict[str, Any] = field(default_factory=dict)

    def as_dict(self, *, whole: bool = True) -> dict[str, Any]:
        """As the API shows it; in a list without the body."""
        shown = asdict(self)
        if not whole:
            del shown["body"]
        return shown


class Tickets:
    """The tickets of one data directory; safe across processes. Raises StorageError."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._place = layout.tickets

    def open(self, task_id: str, title: str, body: dict[str, Any]) -> tuple[Ticket, bool]:
        """The task's open ticket, made where there is none; True with it if it was made now."""
        make_dir(self._place)
        with only_one(self._place):
            if (there := self.waiting(task_id)) is not None:
                return there, False
            now = utc_now()
            ticket = Ticket(new_id(), task_id, title, "open", now, now, None, body)
            self._write(ticket)
            return ticket, True

    def list(self, task_id: str | None = None, status: Status | None = None) -> list[Ticket]:
        """The tickets, the oldest first."""
        found = [ticket for _, ticket in self._read()]
        found = [one for one in found if task_id in (None, one.task_id) and status in (None, one.status)]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def waiting(self, task_id: str) -> Ticket | None:
        """The ticket for which a task's loop waits."""
        return next(iter(self.list(task_id, "open")), None)

    def show(self, ticket_id: str) -> Ticket:
        """The ticket of this id, or of the only one that begins so. Raises NotFound, UsageError."""
        found = [one for one in self.list() if one.id.startswith(ticket_id)] if ticket_id else []
        if len(found) > 1 and (same := [one for one in found if one.id == ticket_id]):
            found = same
        if len(found) > 1:
            raise UsageError(f"{len(found)} tickets begin with {ticket_id!r}", hint="give more of the id")
        if not found:
            raise NotFound(f"no ticket {ticket_id[:64]!r}", hint="loopai tickets lists them")
        return found[0]

    def resolve(self, ticket_id: str, resolution: str) -> tuple[Ticket, bool]:
        """Close a ticket: the loop goes on. False with it if it was closed already. Raises as `show`."""
        make_dir(self._place)
        with only_one(self._place):
            ticket = self.show(ticket_id)
            if ticket.status == "resolved":
                return ticket, False
            ticket = replace(ticket, status="resolved", resolution=resolution, updated_at=utc_now())
            self._write(ticket)
            return ticket, True

    def paths(self, task_id: str) -> Sequence[Path]:
        """The files of a task's tickets."""
        return [path for path, ticket in self._read() if ticket.task_id == task_id]

    def _write(self, ticket: Ticket) -> None:
        content = jsonl.compact({"schema": 1, **ticket.as_dict()})
        at_rest.replace(self._layout, self._place / f"{ticket.id}.json", content)

    def _read(self) -> Iterator[tuple[Path, Ticket]]:
        for path in sorted(self._place.glob("*.json")):
            try:
                found = jsonl.loads(at_rest.read(self._layout, path))
                found.pop("schema")
                yield path, Ticket(**found)
            except FileNotFoundError:
                continue
            except (InputError, TypeError, KeyError, AttributeError):
                raise StorageError("is damaged", where=str(path), hint="move it away") from None

"""Stateful reconnect: what lets a conversation go on over another socket without losing or repeating a word.

Each side numbers what it sends from 1, keeps it until the other acknowledges it, and after a reconnect says
where it starts again. Both sides use this class.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from loopai_runtime.signalr.errors import ProtocolError
from loopai_runtime.signalr.protocol.messages import NUMBERED, Ack, Close, Sequence

if TYPE_CHECKING:
    from loopai_runtime.signalr.protocol.messages import Message

_OVERDUE = 32 * 1024  # bytes


class Sequencer:
    """The counters and the unacknowledged frames of one side of one connection."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes kept."""
        self._kept: deque[bytes] = deque()
        self._sent = 0  # the number of the last message sent
        self._received = 0  # the highest number processed
        self._next = 1  # the number that the next arriving message has
        self._told = 0  # the last number acknowledged
        self._untold = 0  # bytes that arrived since
        self._waiting = False  # for the other side's Sequence, after a reconnect
        self._settling = False
        self._withheld = 0  # an acknowledgement that came while settling

    def keep(self, frame: bytes) -> None:
        """A numbered message is being sent, or would be if there were a socket."""
        self._sent += 1
        self._kept.append(frame)
        self.size += len(frame)

    def unacknowledged(self) -> list[bytes]:
        """Frames that may not have arrived, in order."""
        return list(self._kept)

    def resume(self) -> tuple[Sequence, list[bytes]]:
        """What to send first over a new socket; what arrives is ignored until the other side's Sequence."""
        self._waiting = self._settling = True
        self._told = 0  # the acknowledgement may have been lost with the old socket
        return Sequence(self._sent - len(self._kept) + 1), self.unacknowledged()

    def settle(self) -> None:
        """The new socket has stood for a while: what was acknowledged over it may be forgotten now.

        Until then it may not. Others acknowledge right after a reconnect what had arrived before it, and when they
        lose that socket too, they refuse to go on from behind what they have seen on it.
        """
        self._settling = False
        self._forget(self._withheld)

    def accepts(self, message: Message, size: int = 0) -> bool:
        """Whether to process an arriving message: no duplicate, and none of those that are meant for this class.

        `size` is its payload's. Raises ProtocolError for numbers that cannot be.
        """
        self._untold += size
        if isinstance(message, Sequence):
            self._restart(message.sequence_id)
            return False
        if self._waiting:
            return isinstance(message, Close)
        if isinstance(message, Ack):
            self._release(message.sequence_id)
            return False
        if not isinstance(message, NUMBERED):
            return True
        number, self._next = self._next, self._next + 1
        if number <= self._received:
            return False
        self._received = number
        return True

    @property
    def overdue(self) -> bool:
        """Whether so much arrived that the other side may be waiting for its acknowledgement."""
        return self._untold > _OVERDUE and self._told != self._received

    def due(self) -> Ack | None:
        """The acknowledgement to send now, if anything arrived since the last."""
        if self._told == self._received:
            return None
        self._told, self._untold = self._received, 0
        return Ack(self._received)

    def _restart(self, number: int) -> None:
        if number > max(self._next, self._received + 1):
            raise ProtocolError("Sequence ID greater than amount of messages we've received.")
        if number < 1:
            raise ProtocolError("Sequence IDs start at 1.")
        self._next = number
        self._waiting = False

    def _release(self, number: int) -> None:
        if number > self._sent:
            raise ProtocolError("Acknowledged more messages than were sent.")
        if self._settling:
            self._withheld = max(self._withheld, number)
        else:
            self._forget(number)

    def _forget(self, number: int) -> None:
        while self._kept and self._sent - len(self._kept) < number:
            self.size -= len(self._kept.popleft())

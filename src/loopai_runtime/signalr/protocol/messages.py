"""What a hub and its client say to each other once they have shaken hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol, TypeAlias


class Type(IntEnum):
    """The number by which each encoding names a message."""

    INVOCATION = 1
    STREAM_ITEM = 2
    COMPLETION = 3
    STREAM_INVOCATION = 4
    CANCEL_INVOCATION = 5
    PING = 6
    CLOSE = 7
    ACK = 8
    SEQUENCE = 9


@dataclass(frozen=True, slots=True)
class Invocation:
    """Call `target`; an answer is expected where there is an id. `stream_ids`: what the caller will upload."""

    target: str
    arguments: list[Any]
    invocation_id: str | None = None
    stream_ids: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamInvocation:
    """Call `target`, which answers with any number of items."""

    invocation_id: str
    target: str
    arguments: list[Any]
    stream_ids: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One item of the stream of that id."""

    invocation_id: str
    item: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of an invocation or of a stream: an error, a result, or neither."""

    invocation_id: str
    result: Any = None
    error: str | None = None
    has_result: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelInvocation:
    """The caller wants no more of it."""

    invocation_id: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ping:
    """Still here."""


@dataclass(frozen=True, slots=True)
class Close:
    """The last message of a connection."""

    error: str | None = None
    allow_reconnect: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to that number has arrived."""

    sequence_id: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """After a reconnect: the number of the next message."""

    sequence_id: int


Numbered: TypeAlias = Invocation | StreamInvocation | StreamItem | Completion | CancelInvocation
"""What stateful reconnect counts, keeps and sends again."""
NUMBERED = (Invocation, StreamInvocation, StreamItem, Completion, CancelInvocation)

Message: TypeAlias = Numbered | Ping | Close | Ack | Sequence


class Codec(Protocol):
    """One encoding of the messages."""

    name: str
    binary: bool

    def encode(self, message: Message) -> bytes:
        """A whole frame. Raises ValueError for values that the encoding cannot carry."""

    def decode(self, payload: bytes) -> Message | None:
        """The message in a frame's payload; None for a type of the future. Raises ProtocolError."""

"""The frames between the front and its processes. Both sides; the front distrusts what arrives.

A frame is a little-endian `u32` length, a kind, and a body of that length. The front talks to an executor in
frames of `To`, an executor answers in frames of `From`, in the order of the requests. The template that forks
executors speaks in fixed messages (`ORDER`, `REPORT`), so that a descriptor always arrives with its order.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("<IB")
PROGRAM = struct.Struct("<IIQ")  # handle, memory limit in MiB, output cap in bytes; then the code
CALL = struct.Struct("<QIB")  # request, handle, entry; then the input as JSON
LOADED = struct.Struct("<I")  # handle; then nothing, or a fault as JSON
ANSWER = struct.Struct("<QBdddI")  # request, status, confidence or NaN, wall ms, cpu ms, peak KiB; then JSON

ORDER = struct.Struct("<BBxxIqqqq")  # kind, walls, executor, memory ceiling (MiB), cpu seconds, 0, 0
REPORT = struct.Struct("<BxxxIqqqq")  # kind, executor, wait status or pid, peak KiB, user µs, system µs

MAX_CODE = 64 * 1024 * 1024
MAX_INPUT = 16 * 1024 * 1024
MAX_OUTPUT = 64 * 1024 * 1024
MAX_SOURCE = 4 * 1024 * 1024
MAX_DEPTH = 128
"""How deep an output may be nested."""


class To(IntEnum):
    """Frames to an executor."""

    COMPILE = 1  # a flag byte (1: under the policy), then the source
    PROGRAM = 2
    FORGET = 3  # a handle
    CALL = 4


class From(IntEnum):
    """Frames from an executor."""

    READY = 1  # text: which walls of the cage are missing
    COMPILED = 2  # the code
    REFUSED = 3  # JSON: [[message, line or null], ...]
    LOADED = 4
    ANSWER = 5
    BROKEN = 6  # text: why it cannot serve


class Status(IntEnum):
    """How a call ended, seen from within."""

    SUCCESS = 0
    ERROR = 1
    MEMORY = 2


class Entry(IntEnum):
    """Which function of a program a call is for."""

    SCORE = 0
    RUN = 1
    EXPLAIN = 2


class Order(IntEnum):
    """What the template is told."""

    FORK = 1
    KILL = 2


class Report(IntEnum):
    """What the template tells."""

    HELLO = 1
    FORKED = 2
    EXITED = 3


class Walls:
    """Bits of an order: which walls an executor stands behind."""

    POLICY = 1
    CAGE = 2
    LENIENT = 4  # put up what this kernel offers of the cage, and go on without the rest


class ProtocolError(Exception):
    """The other side sent what it must not."""


class Frame(NamedTuple):
    kind: int
    body: bytes


def frame(kind: int, *parts: bytes) -> bytes:
    """One frame, ready to send."""
    body = b"".join(parts)
    return HEADER.pack(len(body), kind) + body


class Decoder:
    """Cuts a stream into frames; never holds more than one frame of `limit` bytes and the last read."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Raises ProtocolError on one that is longer than the limit."""
        whole: bytes | bytearray = data  # nearly always: nothing was left over
        if self._buffer:
            self._buffer += data
            whole = self._buffer
        start, size = 0, len(whole)
        try:
            while size - start >= HEADER.size:
                length, kind = HEADER.unpack_from(whole, start)
                if length > self.limit:
                    raise ProtocolError(f"a frame of {length} bytes, the limit is {self.limit}")
                end = start + HEADER.size + length
                if size < end:
                    break
                body = bytes(whole[start + HEADER.size : end])
                start = end
                yield Frame(kind, body)
        finally:
            if whole is data:
                self._buffer += data[start:]
            else:
                del self._buffer[:start]

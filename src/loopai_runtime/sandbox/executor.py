"""The front's view of one executor: what it was sent, what it must answer next, whether it keeps to it."""

from __future__ import annotations

import json
import math
import re
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from loopai_runtime.sandbox import protocol
from loopai_runtime.sandbox.protocol import ANSWER, CALL, LOADED, Decoder, From, ProtocolError, Status, To
from loopai_runtime.sandbox.records import Outcome, ProgramFault, StoppedBy

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from loopai_runtime.sandbox.reactor import Loop

_MAY_OVERFLOW = re.compile(rb"\d[eE]|\d{300}")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[\]{}]")
_READ = 256 * 1024
UNKNOWN_COST_MS = 100.0
LOAD_COST_MS = 1.0
_SHORT, _MOST_LABELS = 64, 1000
_SLACK = 64 * 1024
"""Room in a frame beside the output: the head of an answer, or a fault."""


@dataclass(slots=True, eq=False)
class Job:
    """A program that the front has compiled: opaque code and limits, under the number executors know it by."""

    handle: int
    key: str
    code: bytes
    timeout_s: float
    memory_mb: int
    max_output: int
    cost_ms: float = UNKNOWN_COST_MS
    """What a call of it is expected to take, a running mean; a program never called may take any time."""
    preload: bool = False
    """Whether executors get it before they are asked for it: once it has loaded well in one of them."""
    tried: bool = False

    def took(self, wall_ms: float) -> None:
        cost = self.cost_ms
        self.cost_ms = wall_ms if cost == UNKNOWN_COST_MS else cost + (wall_ms - cost) / 10


@dataclass(slots=True, eq=False)
class Call:
    """One request: input, and who waits for the outcome."""

    number: int
    job: Job
    entry: int
    payload: bytes
    done: Callable[[Outcome], None]
    ends: int = 0
    """How many executors ended while they were on it."""
    ahead: int = 0
    """How many calls waited before it when it came, at `since`."""
    since: float = 0.0


@dataclass(slots=True, eq=False)
class Turn:
    """Something an executor was sent and has to answer in its turn; `call` is None once it was moved away."""

    expects: From
    handle: int
    timeout_s: float
    cost_ms: float
    call: Call | None = None
    number: int = 0


class Events(Protocol):
    """Who is told what an executor does."""

    def ready(self, executor: Executor) -> None: ...
    def compiled(self, executor: Executor, code: bytes | None, faults: list[ProgramFault]) -> None: ...
    def loaded(self, executor: Executor, handle: int, fault: ProgramFault | None) -> None: ...
    def answered(self, executor: Executor, turn: Turn, outcome: Outcome) -> None: ...
    def failed(self, executor: Executor, reason: str) -> None: ...
    def closed(self, executor: Executor) -> None: ...


@dataclass(slots=True, eq=False)
class Executor:
    """One socket, the turns that were sent over it and not yet answered, oldest first."""

    number: int
    socket: socket.socket
    loop: Loop
    events: Events
    max_output: int
    turns: deque[Turn] = field(default_factory=deque)
    known: set[int] = field(default_factory=set)
    is_ready: bool = False
    dying: str | None = None
    """Why it is to die, or that it went by itself; such an executor gets no more work."""
    died: float = 0.0
    started: float = 0.0
    """When its oldest turn began, as far as the front can know; before it is ready, when it was ordered."""
    backlog_ms: float = 0.0
    """How long its turns are expected to take."""
    slow: bool = False
    """Its oldest turn runs long, and what waited behind it was moved away."""
    retiring: bool = False
    """It finishes what it has and is then replaced."""
    cpu_ms: float = 0.0
    peak_kb: int = 0
    missing: str = ""
    """The walls of the cage that it goes without, as it says before it gets a program."""
    _decoder: Decoder = field(init=False)
    _out: bytearray = field(default_factory=bytearray)
    _flushing: bool = False
    _writing: bool = False
    _open: bool = True
    _labels: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._decoder = Decoder(self.max_output + _SLACK)
        self.loop.add_reader(self.socket.fileno(), self.pump)

    # -- sending --------------------------------------------------------------------------------------------

    def compile(self, source: bytes, *, under_policy: bool, timeout_s: float) -> None:
        self._decoder.limit = protocol.MAX_CODE
        self._take(Turn(From.COMPILED, 0, timeout_s, 0.0), To.COMPILE, bytes([under_policy]), source)

    def load(self, job: Job, timeout_s: float) -> None:
        self.known.add(job.handle)
        self._decoder.limit = max(self._decoder.limit, job.max_output + _SLACK)
        head = protocol.PROGRAM.pack(job.handle, job.memory_mb, job.max_output)
        self._take(Turn(From.LOADED, job.handle, timeout_s, LOAD_COST_MS), To.PROGRAM, head, job.code)

    def forget(self, handle: int) -> None:
        if handle in self.known:
            self.known.discard(handle)
            self._send(protocol.frame(To.FORGET, LOADED.pack(handle)))

    def call(self, call: Call) -> None:
        job = call.job
        head = CALL.pack(call.number, job.handle, call.entry)
        turn = Turn(From.ANSWER, job.handle, job.timeout_s, job.cost_ms, call, call.number)
        self._take(turn, To.CALL, head, call.payload)

    def _take(self, turn: Turn, kind: To, *parts: bytes) -> None:
        if not self.turns:
            self.started = self.loop.time()
        self.turns.append(turn)
        self.backlog_ms += turn.cost_ms
        self._send(protocol.frame(kind, *parts))

    def _send(self, data: bytes) -> None:
        """Collect what one round of the event loop wants to send, for one write."""
        self._out += data
        if not self._flushing and not self._writing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self._open:
            return
        try:
            sent = self.socket.send(self._out)
            del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()  # it is gone; the reader learns of it
        if self._out and not self._writing:
            self._writing = True
            self.loop.add_writer(self.socket.fileno(), self._flush)
        elif not self._out and self._writing:
            self._writing = False
            self.loop.remove_writer(self.socket.fileno())

    # -- receiving: everything that arrives may have been written by an attacker -----------------------------

    def pump(self) -> bool:
        """Read once from the socket; True if there may be more."""
        if not self._open:
            return False
        try:
            data = self.socket.recv(_READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            self.events.closed(self)
            return False
        try:
            for kind, body in self._decoder.feed(data):
                self._received(kind, body)
        except (ProtocolError, ValueError, TypeError, KeyError, RecursionError, struct.error) as error:
            self.events.failed(self, f"it broke the protocol: {error}")
        return True

    def close(self) -> None:
        if self._open:
            self._open = False
            self.loop.remove_reader(self.socket.fileno())
            if self._writing:
                self.loop.remove_writer(self.socket.fileno())
            self.socket.close()

    def _received(self, kind: int, body: bytes) -> None:
        if kind == From.BROKEN:
            self.events.failed(self, body[:500].decode("utf-8", "replace"))
        elif kind == From.READY:
            if self.is_ready:
                raise ProtocolError("it was ready twice")
            self.is_ready = True
            self.missing = body[:500].decode("utf-8", "replace")
            self.started = self.loop.time()
            self.events.ready(self)
        elif kind == From.ANSWER:
            self._answered(body)
        elif kind == From.LOADED:
            (handle,) = LOADED.unpack_from(body)
            turn = self._turn(From.LOADED)
            if turn.handle != handle:
                raise ProtocolError(f"it loaded {handle} in place of {turn.handle}")
            rest = body[LOADED.size :]
            self.events.loaded(self, handle, _fault(json.loads(rest)) if rest else None)
        elif kind == From.COMPILED:
            self._turn(From.COMPILED)
            self.events.compiled(self, body, [])
        elif kind == From.REFUSED:
            self._turn(From.COMPILED)
            faults = [_fault({"type": "PolicyRefused", "message": m, "line": n}) for m, n in json.loads(body)]
            self.events.compiled(self, None, faults)
        else:
            raise ProtocolError(f"a frame of unknown kind {kind}")

    def _turn(self, expected: From) -> Turn:
        """The oldest turn, which the frame at hand must be the answer to."""
        if not self.turns or self.turns[0].expects is not expected:
            raise ProtocolError(f"{expected.name} out of turn")
        turn = self.turns.popleft()
        self.backlog_ms = self.backlog_ms - turn.cost_ms if self.turns else 0.0
        self.started = self.loop.time()
        self.slow = False
        return turn

    def _answered(self, body: bytes) -> None:
        number, status, confidence, wall_ms, cpu_ms, peak_kb = ANSWER.unpack_from(body)
        if not self.turns or self.turns[0].number != number or self.turns[0].expects is not From.ANSWER:
            raise ProtocolError("an answer to something else")
        if not (0 <= wall_ms < 1e9 and 0 <= cpu_ms < 1e9):
            raise ProtocolError("impossible times")
        outcome = self._outcome(Status(status), confidence, body[ANSWER.size :], (wall_ms, cpu_ms, peak_kb))
        self.cpu_ms += cpu_ms
        self.peak_kb = peak_kb
        turn = self._turn(From.ANSWER)
        self.events.answered(self, turn, outcome)

    def _read(self, raw: bytes) -> Any:
        """The value of an output; labels come again and again, and are read once."""
        if len(raw) > _SHORT or raw[:1] != b'"':
            return strict_json(raw)
        output = self._labels.get(raw)
        if output is None:
            output = strict_json(raw)
            if len(self._labels) < _MOST_LABELS:
                self._labels[raw] = output
        return output

    def _outcome(self, status: Status, confidence: float, raw: bytes, used: tuple[float, float, int]) -> Outcome:
        if status is Status.SUCCESS:
            output = self._read(raw)
            sure = None if math.isnan(confidence) else confidence
            if sure is not None and not 0 <= sure <= 1:
                raise ProtocolError(f"a confidence of {sure}")
            return Outcome("success", output, sure, None, None, *used, raw)
        fault = _fault(strict_json(raw))
        stopped_by: StoppedBy | None = "memory" if status is Status.MEMORY else None
        return Outcome("error", None, None, fault, stopped_by, *used)


def strict_json(raw: bytes) -> Any:
    """A JSON value from an executor's bytes. Raises ValueError unless it is strict JSON of real text on one line,
    of finite numbers, nested no deeper than an executor may answer."""
    if b"\n" in raw or b"\r" in raw:
        raise ValueError("more than one line")
    if raw.count(b"[") + raw.count(b"{") > protocol.MAX_DEPTH and _depth(raw) > protocol.MAX_DEPTH:
        raise ValueError("nested too deeply")
    value = (_CAREFUL if _MAY_OVERFLOW.search(raw) else _PLAIN).decode(raw.decode())
    if b"\\u" in raw:
        json.dumps(value, ensure_ascii=False).encode()  # an escaped lone surrogate is no text
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


_PLAIN = json.JSONDecoder(parse_constant=_finite)
_CAREFUL = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _fault(value: Any) -> ProgramFault:
    kind, message, line = value["type"], value["message"], value["line"]
    if not isinstance(kind, str) or not isinstance(message, str) or not (line is None or type(line) is int):
        raise ProtocolError("a malformed fault")
    return ProgramFault(kind[:100], message[:2000], line)

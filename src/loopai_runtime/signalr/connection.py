"""One client of a hub: from its negotiation over whatever transports it comes with to its end.

    negotiated --attach--> shaking hands --> open --> closed
                                             |  ^
                         the socket is lost  v  |  attach, within the window (stateful reconnect)
                                             lost

Transports bring bytes (`feed`) and carry off what the `Link` holds. Everything runs on one event loop; a method
gets the connection as its first argument.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime.signalr import greeting
from loopai_runtime.signalr.calls import Calls
from loopai_runtime.signalr.errors import ConnectionLost, HubException, ProtocolError, Refused
from loopai_runtime.signalr.link import Link
from loopai_runtime.signalr.logs import report
from loopai_runtime.signalr.options import LONG_POLLING, SERVER_SENT_EVENTS, WEBSOCKETS, Options
from loopai_runtime.signalr.protocol import handshake
from loopai_runtime.signalr.protocol.messages import (
    CancelInvocation,
    Close,
    Codec,
    Completion,
    Invocation,
    Message,
    Ping,
    StreamInvocation,
    StreamItem,
)
from loopai_runtime.signalr.protocol.sequence import Sequencer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    from loopai_runtime.signalr.methods import Methods
    from loopai_runtime.signalr.transports.polling import Polls

_log = logging.getLogger(__name__)
_now = time.monotonic
_SETTLED_S = 2.0
_TURN = 100


@dataclass(frozen=True, slots=True)
class Home:
    """What a connection has from its hub."""

    options: Options
    methods: Methods
    tasks: set[asyncio.Task[None]]
    """Every method that runs, of whatever connection."""
    opened: Callable[[Connection], Awaitable[None]]
    closed: Callable[[Connection, str | None], None]


class Connection:
    """`id` may be shown; `token` is a secret between the client and the hub; `items` are the application's."""

    def __init__(
        self, home: Home, principal: Hashable, *, stateful: bool = False, public_token: bool = False
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.token = self.id if public_token else secrets.token_urlsafe(24)
        self.principal = principal
        self.items: dict[str, Any] = {}
        self.groups: set[str] = set()
        self.transport: str | None = None
        self.codec: Codec | None = None
        self.closed = False
        self.polling = False
        self.polls: Polls | None = None
        self.welcomed = asyncio.Event()
        """Set when `on_connect` has ended, one way or the other."""
        self._home = home
        self._options = home.options
        self._calls = Calls(self, self.write, home.methods, home.options, home.tasks)
        self.link: Link | None = None
        self._sequencer = Sequencer() if stateful else None
        self._flowing = False
        self._feeding = asyncio.Lock()
        self._drained = asyncio.Event()
        self._asked: dict[str, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._since = self._heard = self._spoke = _now()

    @property
    def open(self) -> bool:
        """Whether hands are shaken and the end has not come; a lost socket may still come back."""
        return self.codec is not None and not self.closed

    # --- what the application does

    async def send(self, target: str, *arguments: Any) -> None:
        """Call a client's function without an answer; waits while the client is behind. Lost on a closed one.

        Raises ValueError for arguments that the connection's encoding cannot carry.
        """
        await self.write(Invocation(target, list(arguments)))

    async def invoke(self, target: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        """Call a client's function and wait for what it returns.

        Raises HubException with the client's error, ConnectionLost, TimeoutError, ValueError as `send`.
        """
        if not self.open:
            raise ConnectionLost("The connection is closed.")
        number = f"s{next(self._numbers)}"
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            await self.write(Invocation(target, list(arguments), number))
            async with asyncio.timeout(timeout_s or self._options.result_timeout_s):
                return await answer
        finally:
            del self._asked[number]

    def close(self, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """Say goodbye and end; what is queued is still sent."""
        if self.closed:
            return
        if self.link and self.codec:
            self.link.put(self.codec.encode(Close(error, allow_reconnect)))
        self._end(error)

    # --- what the hub does

    def post(self, frame: bytes) -> None:
        """Queue a numbered message without waiting. A client for whom too much is queued is cut."""
        if not self.open:
            return
        if self._sequencer:
            self._sequencer.keep(frame)
            if self._sequencer.size > self._options.stateful_buffer_bytes:
                self._cut("more was kept for it than it acknowledges")
                return
        if self._flowing:
            self._put(frame)

    async def write(self, message: Message) -> None:
        """Queue a message; waits while the client is behind. Raises ValueError, see `send`."""
        while self.open and self._crowded():
            self._drained.clear()
            await self._drained.wait()
        if self.open and self.codec:
            self.post(self.codec.encode(message))

    def tick(self, now: float) -> None:
        """Once a second: pings, acknowledgements, and everything that has a time."""
        options = self._options
        if self.link is None:
            limit = options.reconnect_window_s if self.codec else options.disconnect_timeout_s
            if now - self._since > limit:
                self._end("The connection was not used in time.")
        elif (
            self.transport == LONG_POLLING
            and not self.polling
            and now - self._since > options.disconnect_timeout_s
        ):
            self._cut("no poll came in time")
        elif self.codec is None:
            if now - self._since > options.handshake_timeout_s:
                self._refuse("Handshake was canceled.")
        else:
            if now - self._since > _SETTLED_S:
                self._flow()
                if self._sequencer:
                    self._sequencer.settle()
                    self._drained.set()
            self._keep_alive(self.link, now)

    def attach(self, transport: str) -> Link:
        """A transport has come for this connection. Raises Refused (400, 404, 409)."""
        if self.closed:
            raise Refused(404, "No Connection with that ID")
        if self.transport not in (None, transport):
            raise Refused(400, "Cannot change transports mid-connection")
        if self.link and not (self.codec and self._sequencer and transport == WEBSOCKETS):
            raise Refused(409, "")
        if self.link:
            self.link.cut()
        if transport != WEBSOCKETS:
            self._sequencer = None
        options = self._options
        limit = options.send_buffer_bytes + (options.stateful_buffer_bytes if self._sequencer else 0)
        link = Link(transport, limit, options.max_message_bytes, self._drained.set)
        self.transport, self.link, self._since = transport, link, _now()
        self._heard = self._since
        if self.codec:
            self._resume(link, self.codec)
        return link

    def detach(self, link: Link, *, gone: bool) -> None:
        """The transport has ended; `gone`: the client is sure not to come back."""
        link.cut()
        if link is not self.link:
            return
        self.link, self._flowing, self._since = None, False, _now()
        if gone or self._sequencer is None or self.codec is None:
            self._end(None)

    def hang_up(self) -> None:
        """The client has asked for the end."""
        if self.link:
            self.link.cut()
        self._end(None)

    def lingers(self, now: float | None = None) -> bool:
        """Whether a closed connection has last words that its client has yet to poll for."""
        late = now is not None and now - self._since > self._options.disconnect_timeout_s
        return bool(self.transport == LONG_POLLING and self.link and self.link.size and not late)

    def poll_ended(self) -> None:
        """The client has an answer to its poll, or left it."""
        self.polling, self._since = False, _now()

    async def feed(self, link: Link, data: bytes) -> None:
        """Bytes from the client. Waits while the client calls faster than its methods run."""
        async with self._feeding:
            if link is not self.link or self.closed:
                return
            self._heard = _now()
            link.deframer.feed(data)
            try:
                for number, payload in enumerate(link.deframer.payloads(), 1):
                    if number % _TURN == 0:
                        await asyncio.sleep(0)  # one frame may hold a million pings
                    if self.codec is None:
                        await self._shake_hands(link, payload)
                    else:
                        await self._receive(self.codec, payload)
                    self._heard = _now()
                    if link is not self.link:
                        return
            except ProtocolError as exc:
                self._protocol_error(exc)

    # ---

    async def _shake_hands(self, link: Link, payload: bytes) -> None:
        text_only = link.transport == SERVER_SENT_EVENTS
        try:
            codec = greeting.choose(payload, text_only=text_only, detailed=self._options.detailed_errors)
        except ProtocolError as exc:
            self._refuse(str(exc))
            return
        link.binary = link.deframer.binary = codec.binary
        link.put(handshake.write_response())
        self.codec, self._since = codec, _now()
        # The official client counts messages only from a moment after it has read this answer. With stateful
        # reconnect nothing numbered may come before that: it flows once the client has spoken, or in a while.
        self._flowing = self._sequencer is None
        await self._open()

    async def _open(self) -> None:
        try:
            await self._home.opened(self)
        except Exception as exc:
            if not isinstance(exc, HubException):
                report(_log, "on_connect", exc)
            said = isinstance(exc, HubException) or self._options.detailed_errors
            name = "HubException" if isinstance(exc, HubException) else type(exc).__name__
            self.close("Connection closed with an error." + (f" {name}: {exc}" if said else ""))
        finally:
            self.welcomed.set()

    async def _receive(self, codec: Codec, payload: bytes) -> None:
        message = codec.decode(payload)
        self._flow()
        if message is None:
            return
        if self._sequencer and not self._sequenced(self._sequencer, message, len(payload), codec):
            return
        match message:
            case Invocation() | StreamInvocation():
                await self._calls.begin(message)
            case StreamItem():
                await self._calls.item(message)
            case CancelInvocation():
                await self._calls.cancel(message.invocation_id)
            case Completion():
                self._completed(message)
            case Close():
                self._end(None)

    def _sequenced(self, sequencer: Sequencer, message: Message, size: int, codec: Codec) -> bool:
        accepted = sequencer.accepts(message, size)
        if sequencer.overdue and (ack := sequencer.due()):
            self._put(codec.encode(ack))
        self._drained.set()  # perhaps it was an acknowledgement
        return accepted

    def _completed(self, message: Completion) -> None:
        answer = self._asked.get(message.invocation_id)
        if answer is None:
            self._calls.complete(message)
        elif not answer.done():
            if message.error is None:
                answer.set_result(message.result)
            else:
                answer.set_exception(HubException(message.error))

    def _protocol_error(self, exc: ProtocolError) -> None:
        _log.warning("a client of %s broke the protocol: %s", self.transport, exc)
        if self.codec is None:
            self._refuse(greeting.FAILED)
            return
        detail = f" InvalidDataException: {exc}" if self._options.detailed_errors else ""
        self.close("Connection closed with an error." + detail)

    def _refuse(self, error: str) -> None:
        if self.link:
            self.link.put(handshake.write_response(error))
        self._end(error)

    def _flow(self) -> None:
        """Let numbered messages out that waited for the client to be ready."""
        if not self._flowing and self._sequencer:
            self._flowing = True
            self._put_all(self._sequencer.unacknowledged())

    def _resume(self, link: Link, codec: Codec) -> None:
        assert self._sequencer is not None
        link.binary = link.deframer.binary = codec.binary
        self._flowing = True
        sequence, frames = self._sequencer.resume()
        self._put_all([codec.encode(sequence), *frames])

    def _put_all(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self._put(frame)

    def _put(self, frame: bytes) -> None:
        self._spoke = _now()
        if self.link and not self.link.put(frame):
            self._cut("it takes too slowly what it is sent")

    def _keep_alive(self, link: Link, now: float) -> None:
        if self.transport == LONG_POLLING or self.codec is None:
            return
        if self._feeding.locked():
            self._heard = now  # it is not read from: its methods are behind
        if now - self._heard > self._options.client_timeout_s:
            self.detach(link, gone=False)
            return
        if self._sequencer and (ack := self._sequencer.due()):
            self._put(self.codec.encode(ack))
        if not link.size and now - self._spoke >= self._options.keep_alive_s:
            self._put(self.codec.encode(Ping()))

    def _crowded(self) -> bool:
        if self.link and self.link.size > self._options.high_water_bytes:
            return True
        # What is not read from cannot acknowledge either: nobody waits for that then.
        most = self._options.stateful_buffer_bytes // 2
        return bool(self._sequencer and self._sequencer.size > most and not self._feeding.locked())

    def _cut(self, why: str) -> None:
        _log.warning("a client of %s is cut: %s", self.transport, why)
        if self.link:
            self.link.cut()
        self._end("The connection was cut by the server.")

    def _end(self, error: str | None) -> None:
        if self.closed:
            return
        self.closed = True
        if self.link:
            self.link.finish()
        self._calls.end()
        self._drained.set()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionLost("The connection was closed."))
        self._home.closed(self, error)

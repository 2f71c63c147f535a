"""A client's side of one conversation with a hub, over one socket or, with stateful reconnect, over several."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from loopai_runtime.signalr.dial import Backoff, open_socket
from loopai_runtime.signalr.errors import ConnectionLost, ProtocolError, Refused
from loopai_runtime.signalr.protocol import handshake
from loopai_runtime.signalr.protocol.framing import Deframer
from loopai_runtime.signalr.protocol.messages import NUMBERED, Close, Message, Ping
from loopai_runtime.signalr.protocol.sequence import Sequencer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from websockets.asyncio.client import ClientConnection

    from loopai_runtime.signalr.dial import Address, Ticket
    from loopai_runtime.signalr.protocol.messages import Codec

_log = logging.getLogger(__name__)
_HANDSHAKE_S = 15.0
_RESUME_S = 30.0
_TICK_S = 1.0
_SETTLED_S = 2.0
_HIGH_WATER = 100_000
_FRUITLESS = 8


class Line:
    """`write` and `listen`; `times`: seconds after which to ping, and to give up on a hub that says nothing."""

    def __init__(self, address: Address, ticket: Ticket, codec: Codec, times: tuple[float, float]) -> None:
        self.ticket = ticket
        self._address = address
        self._codec = codec
        self._keep_alive_s, self._server_timeout_s = times
        self._socket: ClientConnection | None = None
        self._sequencer = Sequencer() if ticket.stateful else None
        self._deframer = Deframer(address.max_message_bytes, binary=codec.binary)
        self._sending = asyncio.Lock()
        self._acknowledged = asyncio.Event()
        self._spoke = self._since = time.monotonic()
        self._ended = False
        self._backoff = Backoff(0.05, 2.0)
        self._fruitless = 0
        self._ticking: asyncio.Task[None] | None = None
        self._replaying: asyncio.Task[None] | None = None

    async def shake_hands(self, socket: ClientConnection) -> None:
        """Raises ProtocolError with the hub's reason, ConnectionLost."""
        version = 2 if self._sequencer else 1
        self._socket = socket
        self._deframer.binary = False
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                await self._push(handshake.write_request(handshake.HandshakeRequest(self._codec.name, version)))
                while (payload := next(self._deframer.payloads(), None)) is None:
                    self._deframer.feed(_bytes(await socket.recv()))
        except (ConnectionClosed, TimeoutError):
            raise ConnectionLost("The hub did not shake hands.") from None
        if error := handshake.read_response(payload):
            raise ProtocolError(error)
        self._deframer.binary = self._codec.binary
        await self._push(self._codec.encode(Ping()))  # the hub knows now that messages are counted
        self._ticking = asyncio.create_task(self._tick())

    async def write(self, message: Message) -> None:
        """Send, or keep for the next socket. Raises ConnectionLost, ValueError for what cannot be encoded."""
        frame = self._codec.encode(message)
        if self._sequencer and isinstance(message, NUMBERED):
            while self._sequencer.size > _HIGH_WATER and not self._ended:
                self._acknowledged.clear()
                await self._acknowledged.wait()
        async with self._sending:
            if self._ended:
                raise ConnectionLost("The connection was lost.")
            if self._sequencer and isinstance(message, NUMBERED):
                self._sequencer.keep(frame)
            await self._push(frame)

    async def listen(self, heard: Callable[[Message], Awaitable[None]]) -> None:
        """Hand every message to `heard`, until the conversation is over. Raises SignalRError, always."""
        while True:
            try:
                await self._read(heard)
            except (ConnectionClosed, TimeoutError) as exc:
                if self._sequencer is None or self._ended:
                    raise ConnectionLost(
                        f"The connection was lost: {str(exc) or 'the hub says nothing'}"
                    ) from None
                await self._resume()

    async def say_goodbye(self) -> None:
        """The client goes for good."""
        with contextlib.suppress(ConnectionLost, ConnectionClosed, TimeoutError):
            async with asyncio.timeout(2):
                await self.write(Close())
        self._ended = True
        if self._socket:
            await self._socket.close()
        self.end()

    def end(self) -> None:
        """Nothing is sent any more."""
        self._ended = True
        self._acknowledged.set()
        for task in (self._ticking, self._replaying):
            if task is not None:
                task.cancel()
        if self._socket:
            self._socket.transport.close()

    # ---

    async def _read(self, heard: Callable[[Message], Awaitable[None]]) -> None:
        assert self._socket is not None
        while True:
            for payload in self._deframer.payloads():
                await self._process(payload, heard)
            async with asyncio.timeout(self._server_timeout_s):
                data = await self._socket.recv()
            self._deframer.feed(_bytes(data))

    async def _process(self, payload: bytes, heard: Callable[[Message], Awaitable[None]]) -> None:
        message = self._codec.decode(payload)
        self._fruitless = 0
        if message is None:
            return
        if self._sequencer:
            accepted = self._sequencer.accepts(message, len(payload))
            self._acknowledged.set()
            if self._sequencer.overdue and not self._sending.locked() and (ack := self._sequencer.due()):
                await self.write(ack)
            if not accepted:
                return
        if isinstance(message, Close):
            raise ConnectionLost(f"The hub closed the connection: {message.error or 'without saying why'}")
        await heard(message)

    async def _push(self, frame: bytes) -> None:
        self._spoke = time.monotonic()
        try:
            if self._socket:
                await self._socket.send(frame if self._deframer.binary else frame.decode("utf-8"))
        except ConnectionClosed:
            if self._sequencer is None:
                raise ConnectionLost("The connection was lost.") from None

    async def _resume(self) -> None:
        """Go on over another socket. Raises Refused, ConnectionLost when the hub has given up waiting."""
        assert self._sequencer is not None
        if self._fruitless == 0:
            self._backoff.reset()
        self._fruitless += 1
        if self._fruitless > _FRUITLESS:
            raise ConnectionLost("The connection was lost again and again, without a message in between.")
        if self._socket:
            self._socket.transport.abort()  # whoever still sends over it lets go of the lock
        await self._sending.acquire()
        try:
            self._socket = None
            self._deframer.reset()
            self._socket, self._since = await self._redial(), time.monotonic()
            sequence, frames = self._sequencer.resume()
        except BaseException:
            self._sending.release()
            raise
        # Beside the reading: both sides may have more to repeat than goes into their sockets.
        self._replaying = asyncio.create_task(self._replay([self._codec.encode(sequence), *frames]))
        _log.info("the conversation with the hub goes on over another socket")

    async def _replay(self, frames: list[bytes]) -> None:
        """Send before anything else is: the lock is held already."""
        try:
            for frame in frames:
                await self._push(frame)
        finally:
            self._sending.release()

    async def _redial(self) -> ClientConnection:
        ends = time.monotonic() + _RESUME_S
        while True:
            await asyncio.sleep(self._backoff.next_s())
            try:
                return await open_socket(self._address, self.ticket)
            except Refused as exc:
                if exc.status < 500:
                    raise
            except ConnectionLost:
                if time.monotonic() > ends:
                    raise

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(min(_TICK_S, self._keep_alive_s))
            with contextlib.suppress(ConnectionLost):
                if self._sequencer and time.monotonic() - self._since > _SETTLED_S:
                    self._sequencer.settle()
                    self._acknowledged.set()
                if self._sequencer and self._socket and (ack := self._sequencer.due()):
                    await self.write(ack)
                elif time.monotonic() - self._spoke >= self._keep_alive_s:
                    await self.write(Ping())


def _bytes(data: str | bytes) -> bytes:
    return data.encode("utf-8") if isinstance(data, str) else data

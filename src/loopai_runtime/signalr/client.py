"""A client of a SignalR hub that keeps itself connected.

    client = HubClient("https://platform/hubs/news", token=key)
    client.on("OnNews", handler)
    async with client:
        await client.connected()
        await client.invoke("Subscribe", "sports")

It speaks over WebSockets, pings, and reconnects for as long as it lives: after a lost socket, a refused login, a
hub that closed it. With `stateful=True` the conversation survives a lost socket; else what was under way fails
with ConnectionLost, and `on_connected` is the place to subscribe again.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from loopai_runtime.errors import MissingExtra
from loopai_runtime.signalr.dial import Address, Backoff, negotiate, open_socket
from loopai_runtime.signalr.errors import ConnectionLost, HubException, ProtocolError, SignalRError
from loopai_runtime.signalr.incoming import Incoming
from loopai_runtime.signalr.line import Line
from loopai_runtime.signalr.logs import report
from loopai_runtime.signalr.protocol.codecs import codec_named
from loopai_runtime.signalr.protocol.messages import (
    CancelInvocation,
    Completion,
    Invocation,
    Message,
    StreamInvocation,
    StreamItem,
)

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from loopai_runtime.signalr.protocol.messages import Codec

Handler = Callable[..., Any]
Hook = Callable[[], Awaitable[None]]

_log = logging.getLogger(__name__)
_STREAM_ITEMS = _CALLS_WAITING = 10_000
_PATIENCE_S = 30.0
_STOOD_S = 30.0
"""A connection that lasted longer was none that a hub lets in and throws out at once."""


class HubClient:
    """`last_error` says why there is no connection, or was none. `reconnect_s`: the bound of the first wait, and
    of any. Raises MissingExtra where `protocol` is `messagepack` and the library for it is not installed."""

    def __init__(
        self,
        url: str,
        *,
        token: str | Callable[[], str | None] | None = None,
        protocol: str = "json",
        stateful: bool = False,
        ssl: ssl.SSLContext | None = None,
        on_connected: Hook | None = None,
        on_disconnected: Hook | None = None,
        reconnect_s: tuple[float, float] = (1.0, 60.0),
        keep_alive_s: float = 15.0,
        server_timeout_s: float = 30.0,
    ) -> None:
        codec = codec_named(protocol)
        if codec is None:
            raise MissingExtra(f"the protocol {protocol!r}", "central")
        self.last_error: SignalRError | None = None
        self._address = Address(url, token, ssl)
        self._codec: Codec = codec
        self._stateful = stateful
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._backoff = Backoff(*reconnect_s)
        self._times = (keep_alive_s, server_timeout_s)
        self._handlers: dict[str, list[Handler]] = {}
        self._line: Line | None = None
        self._ready = asyncio.Event()
        self._numbers = itertools.count()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._streams: dict[str, Incoming] = {}
        self._uploads: set[asyncio.Task[None]] = set()
        self._calls: asyncio.Queue[tuple[Line, Invocation]] = asyncio.Queue(_CALLS_WAITING)
        self._life: asyncio.Task[None] | None = None
        self._leaving = False

    # --- what the application does

    def on(self, target: str, handler: Handler) -> None:
        """Call `handler` whenever the hub calls `target`, one call at a time and in order. It may be async; what
        it returns answers a hub that asked for a result."""
        self._handlers.setdefault(target.lower(), []).append(handler)

    @property
    def is_connected(self) -> bool:
        return self._ready.is_set()

    @property
    def connection_id(self) -> str | None:
        return self._line.ticket.connection_id if self._line else None

    async def connected(self, timeout_s: float | None = None) -> None:
        """Wait until there is a connection. Raises TimeoutError; `last_error` says what stood in the way."""
        async with asyncio.timeout(timeout_s):
            await self._ready.wait()

    async def send(self, target: str, *arguments: Any) -> None:
        """Call a method of the hub without waiting for it. Async iterables among the arguments are streamed.

        Raises ConnectionLost, ValueError for arguments that cannot be sent.
        """
        plain, streams = self._split(arguments)
        await self._write(Invocation(target, plain, stream_ids=list(streams)))
        self._upload(streams)

    async def invoke(self, target: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        """Call a method of the hub and wait for its result. Async iterables among the arguments are streamed.

        Raises HubException with what the hub says, ConnectionLost, TimeoutError, ValueError.
        """
        plain, streams = self._split(arguments)
        number = str(next(self._numbers))
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._write(Invocation(target, plain, number, list(streams)))
            self._upload(streams)
            async with asyncio.timeout(timeout_s):
                return await answer
        finally:
            del self._answers[number]
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # seen: where the writing failed, it was told already

    async def stream(self, target: str, *arguments: Any) -> AsyncIterator[Any]:
        """What a streaming method yields; leaving the loop cancels it. Raises as `invoke`."""
        plain, streams = self._split(arguments)
        number = str(next(self._numbers))
        items = self._streams[number] = Incoming(_STREAM_ITEMS)
        try:
            await self._write(StreamInvocation(number, target, plain, list(streams)))
            self._upload(streams)
            async for item in items:
                yield item
        finally:
            if self._streams.pop(number, None):
                with contextlib.suppress(SignalRError):
                    await self._write(CancelInvocation(number))

    async def __aenter__(self) -> Self:
        self._leaving = False
        self._life = asyncio.create_task(self._live())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        if self._line:
            await self._line.say_goodbye()
        if self._life:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._life

    # --- staying connected

    async def _live(self) -> None:
        work = asyncio.create_task(self._answer_calls())
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._converse()
                except SignalRError as exc:
                    if self._leaving:
                        return
                    self.last_error = exc
                    _log.info("no connection to the hub: %s", exc)
                except Exception as exc:  # what fetches the token, a URL that is none: trying goes on
                    self.last_error = ConnectionLost(f"connecting raised {type(exc).__name__}")
                    report(_log, "connecting to the hub", exc)
                if time.monotonic() - began > _STOOD_S:
                    self._backoff.reset()
                await asyncio.sleep(self._backoff.next_s())
        finally:
            work.cancel()

    async def _converse(self) -> None:
        """From one negotiation to the end of the conversation, over as many sockets as it takes."""
        ticket = await negotiate(self._address, stateful=self._stateful)
        socket = await open_socket(self._address, ticket)
        line = Line(self._address, ticket, self._codec, self._times)
        hook: asyncio.Task[None] | None = None
        try:
            await line.shake_hands(socket)
            self._line, self.last_error = line, None
            self._ready.set()
            hook = asyncio.create_task(self._run_hook(self._on_connected))
            await line.listen(partial(self._heard, line))
        finally:
            if hook is not None:
                hook.cancel()
            await self._disconnected(line)

    async def _disconnected(self, line: Line) -> None:
        line.end()
        if self._line is not line:
            return
        self._line = None
        self._ready.clear()
        lost = ConnectionLost("The connection was lost.")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(lost)
        for items in self._streams.values():
            items.end(lost)
        self._streams.clear()
        for upload in self._uploads:
            upload.cancel()
        await self._run_hook(self._on_disconnected)

    @staticmethod
    async def _run_hook(hook: Hook | None) -> None:
        try:
            if hook:
                await hook()
        except Exception as exc:
            report(_log, "a hook of the hub's client", exc)

    # --- messages

    async def _write(self, message: Message) -> None:
        if self._line is None:
            raise ConnectionLost("There is no connection to the hub.")
        await self._line.write(message)

    async def _heard(self, line: Line, message: Message) -> None:
        match message:
            case Invocation():
                try:
                    async with asyncio.timeout(_PATIENCE_S):
                        await self._calls.put((line, message))  # the hub waits while the handlers are behind
                except TimeoutError:
                    raise ProtocolError("The hub calls faster than its calls are handled.") from None
            case StreamItem() if items := self._streams.get(message.invocation_id):
                if not items.offer(message.item):
                    items.end(HubException("The stream was not read fast enough."))
            case Completion() if items := self._streams.pop(message.invocation_id, None):
                items.completed(message.error)
            case Completion() if answer := self._answers.get(message.invocation_id):
                if answer.done():
                    return
                if message.error is None:
                    answer.set_result(message.result)
                else:
                    answer.set_exception(HubException(message.error))

    async def _answer_calls(self) -> None:
        while True:
            line, call = await self._calls.get()
            result, error = await self._handle(call)
            if call.invocation_id is None:
                continue
            answer = Completion(call.invocation_id, result, error, has_result=error is None)
            with contextlib.suppress(ConnectionLost):  # an answer is for the conversation that it was asked in
                try:
                    await line.write(answer)
                except ValueError as exc:
                    await line.write(Completion(call.invocation_id, error=str(exc)))

    async def _handle(self, call: Invocation) -> tuple[Any, str | None]:
        """The last handler's result, or what went wrong."""
        result: Any = None
        error: str | None = "Client didn't provide a result."
        for handler in self._handlers.get(call.target.lower(), ()):
            try:
                result, error = handler(*call.arguments), None
                if inspect.isawaitable(result):
                    result = await result
            except Exception as exc:
                error = str(exc) if isinstance(exc, HubException) else "The client failed."
                report(_log, f"the handler of {call.target!r}", exc)
        return result, error

    # --- uploads

    def _split(self, arguments: tuple[Any, ...]) -> tuple[list[Any], dict[str, AsyncIterable[Any]]]:
        plain = [each for each in arguments if not isinstance(each, AsyncIterable)]
        streams = [each for each in arguments if isinstance(each, AsyncIterable)]
        return plain, {str(next(self._numbers)): each for each in streams}

    def _upload(self, streams: dict[str, AsyncIterable[Any]]) -> None:
        for number, items in streams.items():
            task = asyncio.create_task(self._pump(number, items))
            self._uploads.add(task)
            task.add_done_callback(self._uploads.discard)

    async def _pump(self, number: str, items: AsyncIterable[Any]) -> None:
        error = None
        try:
            async for item in items:
                await self._write(StreamItem(number, item))
        except ConnectionLost:
            return
        except Exception as exc:
            error = str(exc) if isinstance(exc, HubException) else "The client's stream failed."
            report(_log, "a stream to the hub", exc)
        with contextlib.suppress(SignalRError):
            await self._write(Completion(number, error=error))

"""The methods that run for one connection: in turn, in parallel up to a limit, streams beside them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from loopai_runtime.signalr.errors import ConnectionLost, HubException, ProtocolError
from loopai_runtime.signalr.incoming import Incoming
from loopai_runtime.signalr.logs import report
from loopai_runtime.signalr.protocol.messages import (
    Completion,
    Invocation,
    Message,
    StreamInvocation,
    StreamItem,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopai_runtime.signalr.methods import Method, Methods
    from loopai_runtime.signalr.options import Options

_log = logging.getLogger(__name__)


class Calls:
    """What one client has called. `caller` is a method's first argument, `write` sends it a message."""

    def __init__(
        self,
        caller: Any,
        write: Callable[[Message], Awaitable[None]],
        methods: Methods,
        options: Options,
        everyones: set[asyncio.Task[None]],
    ) -> None:
        self._caller = caller
        self._write = write
        self._methods = methods
        self._options = options
        self._tasks: set[asyncio.Task[None]] = set()
        self._streaming: set[asyncio.Task[None]] = set()  # those of them that stream to the client
        self._everyones = everyones
        self._by_id: dict[str, asyncio.Task[None] | None] = {}  # None: waits for its turn
        self._uploads: dict[str, Incoming] = {}
        self._waiting: deque[tuple[Method, Invocation]] = deque()
        self._running = 0
        self._ended = False
        self._room = asyncio.Event()

    async def begin(self, message: Invocation | StreamInvocation) -> None:
        """Start a method or let it wait for its turn; returns at once, unless too many wait already."""
        method = self._methods.find(message.target)
        if error := self._fault(method, message):
            await self._fail(message.invocation_id, error)
            return
        assert method is not None
        if message.invocation_id in self._by_id or not self._are_new(message.stream_ids):
            await self._fail(message.invocation_id, f"Invocation ID '{message.invocation_id}' is already in use.")
            return
        if (method.streams or method.uploads) and len(self._tasks) >= self._options.streams_per_connection:
            await self._fail(message.invocation_id, _error(message.target, "HubException: Too many streams."))
            return
        uploads = {name: Incoming(self._options.upload_buffer) for name in method.uploads}
        self._uploads |= zip(message.stream_ids, uploads.values(), strict=True)
        if isinstance(message, StreamInvocation):
            self._streaming.add(self._start(self._stream(method, message, uploads), message))
        elif uploads:  # not in turn: it ends when the client wants
            self._start(self._answer(method, message, uploads), message)
        else:
            self._waiting.append((method, message))
            if message.invocation_id is not None:
                self._by_id[message.invocation_id] = None
            self._next()
            while len(self._waiting) > self._options.waiting_invocations and not self._ended:
                self._room.clear()
                await self._room.wait()

    async def cancel(self, invocation_id: str) -> None:
        """The client wants no more of it; an id that is not known has ended meanwhile."""
        if invocation_id not in self._by_id:
            return
        if task := self._by_id[invocation_id]:
            # Soon, since a task that is cancelled before its first step would never send its completion.
            asyncio.get_running_loop().call_soon(task.cancel)
            return
        message = next(message for _, message in self._waiting if message.invocation_id == invocation_id)
        self._waiting = deque(each for each in self._waiting if each[1] is not message)
        del self._by_id[invocation_id]
        await self._fail(invocation_id, _error(message.target))

    async def item(self, message: StreamItem) -> None:
        """An item of an upload; waits while its method is behind."""
        if upload := self._uploads.get(message.invocation_id):
            await upload.put(message.item)

    def complete(self, message: Completion) -> None:
        """The end of an upload."""
        if upload := self._uploads.pop(message.invocation_id, None):
            upload.completed(message.error)

    def end(self) -> None:
        """The client is gone: streams end now, what else it called may finish, within its time."""
        self._ended = True
        self._room.set()
        for upload in self._uploads.values():
            upload.end(ConnectionLost("The connection was closed."))
        for task in self._streaming:
            task.cancel()
        if self._tasks:
            asyncio.get_running_loop().call_later(self._options.finish_s, self._stop)

    # ---

    def _stop(self) -> None:
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()

    def _are_new(self, stream_ids: list[str]) -> bool:
        return len(set(stream_ids)) == len(stream_ids) and not any(each in self._uploads for each in stream_ids)

    def _fault(self, method: Method | None, message: Invocation | StreamInvocation) -> str | None:
        """Why this is no call, as ASP.NET Core says it."""
        target = message.target
        failed = f"Failed to invoke '{target}' due to an error on the server."
        if method is None:
            return f"{failed} HubException: Method does not exist."
        try:
            method.check(message.arguments)
        except ProtocolError as exc:
            return f"{failed} InvalidDataException: {exc}" if self._options.detailed_errors else failed
        streaming = isinstance(message, StreamInvocation)
        if method.streams and not streaming:
            return (
                f"The client attempted to invoke the streaming '{target}' method with a non-streaming invocation."
            )
        if streaming and not method.streams:
            return (
                f"The client attempted to invoke the non-streaming '{target}' method with a streaming invocation."
            )
        sent, expected = len(message.stream_ids), len(method.uploads)
        if sent != expected:
            return _error(target, f"HubException: Client sent {sent} stream(s), Hub method expects {expected}.")
        return None

    def _start(self, work: Any, message: Invocation | StreamInvocation) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self._everyones.add(task)
        if message.invocation_id is not None:
            self._by_id[message.invocation_id] = task
        task.add_done_callback(lambda task: self._done(task, message))
        return task

    def _done(self, task: asyncio.Task[None], message: Invocation | StreamInvocation) -> None:
        for tasks in (self._tasks, self._streaming, self._everyones):
            tasks.discard(task)
        if message.invocation_id is not None:
            self._by_id.pop(message.invocation_id, None)
        for stream_id in message.stream_ids:
            if upload := self._uploads.pop(stream_id, None):
                upload.end()

    def _next(self) -> None:
        while self._waiting and self._running < self._options.parallel_invocations:
            method, message = self._waiting.popleft()
            self._running += 1
            self._start(self._answer(method, message, {}), message).add_done_callback(self._turn_over)
        self._room.set()

    def _turn_over(self, _task: asyncio.Task[None]) -> None:
        self._running -= 1
        self._next()

    async def _answer(self, method: Method, message: Invocation, uploads: dict[str, Incoming]) -> None:
        target, number = message.target, message.invocation_id
        try:
            result = await method.function(self._caller, *message.arguments, **uploads)
        except asyncio.CancelledError:
            await self._fail(number, _error(target))
        except Exception as exc:
            await self._fail(number, _error(target, self._said(target, exc)))
        else:
            if number is None:
                return
            try:
                await self._write(Completion(number, result, has_result=True))
            except ValueError as exc:
                await self._fail(number, _error(target, self._said(target, exc)))

    async def _stream(self, method: Method, message: StreamInvocation, uploads: dict[str, Incoming]) -> None:
        number, error = message.invocation_id, None
        items = method.function(self._caller, *message.arguments, **uploads)
        try:
            async with aclosing(items):
                async for item in items:
                    await self._write(StreamItem(number, item))
        except asyncio.CancelledError:
            pass
        except Exception as exc:
            said = self._said(message.target, exc)
            error = "An error occurred on the server while streaming results." + (f" {said}" if said else "")
        await self._write(Completion(number, error=error))

    def _said(self, target: str, exc: Exception) -> str | None:
        """What of an exception the caller may read; the rest of the world reads where it happened."""
        if isinstance(exc, HubException):
            return f"HubException: {_readable(exc)}"
        report(_log, f"the method {target!r}", exc)
        return f"{type(exc).__name__}: {_readable(exc)}" if self._options.detailed_errors else None

    async def _fail(self, invocation_id: str | None, error: str) -> None:
        if invocation_id is not None:
            await self._write(Completion(invocation_id, error=error))


def _error(target: str, said: str | None = None) -> str:
    return f"An unexpected error occurred invoking '{target}' on the server." + (f" {said}" if said else "")


def _readable(exc: Exception) -> str:
    return str(exc).encode("utf-8", "replace").decode("utf-8")  # a lone surrogate could not be sent

"""A SignalR hub as an ASGI application.

    hub = Hub(authenticate)

    @hub.method("Add")
    async def add(caller: Connection, left: int, right: int) -> int:
        return left + right

    app = Starlette(routes=[*hub.routes("/hubs/sums")])
    hub.send_group("readers", "OnNews", ["something happened"])

`authenticate` sees every request and says whose it is. A hub lives on one event loop and is not thread-safe.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from starlette.routing import Route, WebSocketRoute

from loopai_runtime.signalr.door import Authenticate, Door, bearer_token
from loopai_runtime.signalr.errors import HubException
from loopai_runtime.signalr.incoming import Incoming
from loopai_runtime.signalr.logs import report, scrub_server_logs
from loopai_runtime.signalr.methods import Methods
from loopai_runtime.signalr.options import Options
from loopai_runtime.signalr.protocol.messages import Invocation
from loopai_runtime.signalr.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
    from typing import TypeVar

    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

    from loopai_runtime.signalr.connection import Connection

    Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = ["Authenticate", "Hub", "HubException", "Incoming", "Options", "bearer_token"]

_log = logging.getLogger(__name__)
_TICK_S = 1.0


class Hub:
    """`on_connect(connection)` runs before anything that the client calls; what it raises refuses the client.
    `on_disconnect(connection, error)` runs after it, once, for every connection that it ran for."""

    def __init__(
        self,
        authenticate: Authenticate,
        *,
        options: Options | None = None,
        on_connect: Callable[[Connection], Awaitable[None]] | None = None,
        on_disconnect: Callable[[Connection, str | None], Awaitable[None]] | None = None,
    ) -> None:
        self.options = options or Options()
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._methods = Methods()
        self._registry = Registry(self.options, self._methods, self._opened, self._closed)
        self._door = Door(authenticate, self._registry, self.options)
        self._ticking: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._serving = 0
        self._idle = asyncio.Event()
        scrub_server_logs()

    # --- declaring

    def method(self, name: str) -> Callable[[Function], Function]:
        """Let clients call an async function, or an async generator, by that name. See `methods`."""

        def declare(function: Function) -> Function:
            self._methods.add(name, function)
            return function

        return declare

    def routes(self, path: str) -> list[BaseRoute]:
        """What to put into a Starlette application for the hub to answer at `path`."""
        return [Route(f"{path}/negotiate", self), Route(path, self), WebSocketRoute(path, self)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: every request whose path ends in `/negotiate` is one, every other is for a connection."""
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"a hub serves no {scope['type']}")
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick())
        self._serving += 1
        try:
            await self._door(scope, receive, send)
        finally:
            self._serving -= 1
            self._idle.set()

    # --- who is there

    @property
    def connections(self) -> list[Connection]:
        """Everyone who is connected or about to be."""
        return self._registry.all()

    def join(self, connection: Connection, group: str) -> None:
        """Let a connection hear what is sent to a group, until it leaves or ends."""
        self._registry.join(connection, group)

    def leave(self, connection: Connection, group: str) -> None:
        self._registry.leave(connection, group)

    # --- telling them: never waits; a client that is too far behind is cut. Returns how many were told.

    def send_all(self, target: str, arguments: Sequence[Any]) -> int:
        return self._tell(self._registry.all(), target, arguments)

    def send_group(self, group: str, target: str, arguments: Sequence[Any]) -> int:
        return self._tell(self._registry.in_group(group), target, arguments)

    def send_user(self, principal: Hashable, target: str, arguments: Sequence[Any]) -> int:
        return self._tell(self._registry.of_user(principal), target, arguments)

    # --- ending it

    def close_user(self, principal: Hashable, error: str | None = None) -> int:
        """End every connection of a user, and do not ask them to come back. Returns how many there were."""
        return self.close_where(lambda connection: connection.principal == principal, error)

    def close_where(self, ended: Callable[[Connection], bool], error: str | None = None) -> int:
        """The same for every connection of which `ended` says so."""
        chosen = [each for each in self._registry.all() if ended(each)]
        for connection in chosen:
            connection.close(error)
        return len(chosen)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Tell everyone to reconnect later, let nobody in, and wait until all is said and done.

        Call it before the server waits for its connections: those of a hub end no other way.
        """
        self._registry.draining = True
        for connection in self._registry.all():
            connection.close(allow_reconnect=True)
        try:
            async with asyncio.timeout(timeout_s):
                while self._serving:
                    self._idle.clear()
                    await self._idle.wait()
                while tasks := self._ending | self._registry.calls:
                    await asyncio.wait(tasks)
        except TimeoutError:
            _log.warning("%d clients did not take their leave in %g s", self._serving, timeout_s)
        if self._ticking:
            self._ticking.cancel()

    # ---

    def _tell(self, whom: Iterable[Connection], target: str, arguments: Sequence[Any]) -> int:
        """Encoded once for each encoding, however many hear it. Raises ValueError where one cannot carry it."""
        message = Invocation(target, list(arguments))
        frames: dict[str, bytes] = {}
        told = 0
        for connection in whom:
            if not connection.open or connection.codec is None:
                continue
            name = connection.codec.name
            if name not in frames:
                frames[name] = connection.codec.encode(message)
            connection.post(frames[name])
            told += 1
        return told

    async def _opened(self, connection: Connection) -> None:
        if self._on_connect:
            await self._on_connect(connection)

    def _closed(self, connection: Connection, error: str | None) -> None:
        if self._on_disconnect and connection.codec is not None:
            task = asyncio.create_task(self._say_goodbye(connection, error))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _say_goodbye(self, connection: Connection, error: str | None) -> None:
        assert self._on_disconnect is not None
        await connection.welcomed.wait()
        try:
            await self._on_disconnect(connection, error)
        except Exception as exc:
            report(_log, "on_disconnect", exc)

    async def _tick(self) -> None:
        """Runs while there is anybody."""
        while len(self._registry):
            await asyncio.sleep(_TICK_S)
            self._registry.tick(time.monotonic())

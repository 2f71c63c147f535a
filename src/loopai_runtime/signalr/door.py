"""The HTTP side of a hub: which request means what, and who may make it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response

from loopai_runtime.signalr import negotiate
from loopai_runtime.signalr.errors import Refused
from loopai_runtime.signalr.options import LONG_POLLING, SERVER_SENT_EVENTS, WEBSOCKETS
from loopai_runtime.signalr.transports import events, polling, websocket

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from loopai_runtime.signalr.connection import Connection
    from loopai_runtime.signalr.link import Link
    from loopai_runtime.signalr.options import Options
    from loopai_runtime.signalr.registry import Registry

Authenticate = Callable[[HTTPConnection], Awaitable[Hashable | None]]
"""Who makes a request: equal values for the same user every time; None lets nobody in."""

_WAITING_POSTS = 16


def bearer_token(request: HTTPConnection) -> str | None:
    """From `Authorization: Bearer`, or from the query: browsers cannot set headers on sockets and events."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.query_params.get("access_token") or None


class Door:
    """Looks at every request: its user first, then its connection, then whether the two belong together."""

    def __init__(self, authenticate: Authenticate, registry: Registry, options: Options) -> None:
        self._authenticate = authenticate
        self._registry = registry
        self._options = options
        self._posts: dict[Connection, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request or one socket."""
        request = HTTPConnection(scope)
        try:
            principal = await self._authenticate(request)
            if principal is None:
                raise Refused(401, "")
            if scope["type"] == "websocket":
                await self._socket(request, principal, receive, send)
                return
            response = await self._answer(request, principal, receive, send)
        except Refused as exc:
            headers = {"www-authenticate": "Bearer"} if exc.status == 401 else None
            response = PlainTextResponse(str(exc), exc.status, headers)
        if response:
            await _respond(response, scope, receive, send)

    async def _answer(
        self, request: HTTPConnection, principal: Hashable, receive: Receive, send: Send
    ) -> Response | None:
        method = request.scope["method"]
        if request.scope["path"].rstrip("/").endswith("/negotiate"):
            if method != "POST":
                raise Refused(405, "")
            return self._negotiate(request, principal)
        if method not in ("GET", "POST", "DELETE"):
            raise Refused(405, "")
        connection = self._of(request, principal)
        if method == "POST":
            return await self._post(connection, receive)
        if method == "DELETE":
            return self._delete(connection)
        await self._get(connection, request, receive, send)
        return None

    def _negotiate(self, request: HTTPConnection, principal: Hashable) -> Response:
        query = {name.lower(): value for name, value in request.query_params.items()}
        try:
            version = negotiate.version_of(query)
        except ValueError as exc:
            return JSONResponse({"error": str(exc)})
        stateful = self._options.stateful_reconnect and negotiate.wants_stateful(query)
        connection = self._registry.new(principal, stateful=stateful, public_token=version == 0)
        return JSONResponse(negotiate.answer(connection, version, self._options, stateful=stateful))

    def _of(self, request: HTTPConnection, principal: Hashable) -> Connection:
        """The connection that a request is for. Raises Refused."""
        token = request.query_params.get("id")
        if not token:
            raise Refused(400, "Connection ID required")
        connection = self._registry.by_token(token)
        if connection is None:
            raise Refused(404, "No Connection with that ID")
        if connection.principal != principal:
            raise Refused(403, "The connection belongs to another user")
        return connection

    async def _socket(self, request: HTTPConnection, principal: Hashable, receive: Receive, send: Send) -> None:
        self._supported(WEBSOCKETS)
        if request.query_params.get("id"):
            connection = self._of(request, principal)
        else:  # a client that skips the negotiation
            connection = self._registry.new(principal)
        link = connection.attach(WEBSOCKETS)
        await websocket.serve(connection, link, self._options.send_timeout_s, receive, send)

    async def _get(self, connection: Connection, request: HTTPConnection, receive: Receive, send: Send) -> None:
        options = self._options
        if "text/event-stream" in request.headers.get("accept", ""):
            self._supported(SERVER_SENT_EVENTS)
            link = connection.attach(SERVER_SENT_EVENTS)
            await events.serve(connection, link, options.send_timeout_s, receive, send)
            return
        self._supported(LONG_POLLING)
        polls = connection.polls
        if polls is None:
            polls = connection.polls = polling.Polls(connection, connection.attach(LONG_POLLING))
        await polls.serve(options.poll_timeout_s, options.send_timeout_s, request.scope, receive, send)

    async def _post(self, connection: Connection, receive: Receive) -> Response:
        if connection.transport == WEBSOCKETS:
            raise Refused(405, "POST requests are not allowed for WebSocket connections.")
        link = connection.link
        if link is None or connection.closed:
            raise Refused(404, "No Connection with that ID")
        if self._posts.get(connection, 0) >= _WAITING_POSTS:
            raise Refused(409, "")
        self._posts[connection] = self._posts.get(connection, 0) + 1
        try:
            await self._body(connection, link, receive)
        finally:
            self._posts[connection] -= 1
            if not self._posts[connection]:
                del self._posts[connection]
        return Response(media_type="text/plain")

    async def _body(self, connection: Connection, link: Link, receive: Receive) -> None:
        """Feed a body as it arrives; only the waiting for the client is timed, not the methods it calls."""
        ends = asyncio.get_running_loop().time() + self._options.body_timeout_s
        more = True
        while more:
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise Refused(408, "The request took too long.") from None
            if message["type"] != "http.request":
                return
            await connection.feed(link, message.get("body", b""))
            more = message.get("more_body", False)

    def _delete(self, connection: Connection) -> Response:
        if connection.transport != LONG_POLLING:
            raise Refused(400, "Cannot terminate this connection using the DELETE endpoint.")
        connection.hang_up()
        return Response(status_code=202, media_type="text/plain")

    def _supported(self, transport: str) -> None:
        if transport not in self._options.transports:
            raise Refused(404, f"{transport} transport not supported by this end point type")


async def _respond(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # servers without the extension answer 403
        return
    await response(scope, receive, send)

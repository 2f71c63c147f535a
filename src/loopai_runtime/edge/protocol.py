"""uvicorn's HTTP protocol, with a short way for the bare case and a clock on what clients send.

Nearly every request is a POST of a small body to an execute path, with no header that asks for more. It needs no
task, scope or messages: `Direct` stands where uvicorn keeps the cycle of a request, is told of the body as it is,
and writes the answer in one piece. Everything else goes through ASGI, with the same answers.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loopai_runtime.http import body as bodies
from loopai_runtime.http.problem import problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from loopai_runtime.http.problem import Response

HEADERS_S = 10.0
GOODBYE_S = 1.0
MAX_CONNECTIONS = 8192
_LOOK_EVERY_S, _BETWEEN_S = 1.0, 0.0002
_SHORT_BODY = 64 * 1024  # below what uvicorn pauses reading for
_PATH = re.compile(rb"/execute|/v1/execute/([a-z0-9-]+)|/api/v1/tasks/([a-z0-9-]+)/execute")
_NOT_BARE = frozenset({b"content-encoding", b"transfer-encoding", b"idempotency-key", b"expect", b"upgrade"})
_ONCE = frozenset({b"content-length", b"authorization"})
_STATUS = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


class Corked:
    """A transport that sends what one turn of the loop writes as one piece: head and body of an answer."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._call_soon = loop.call_soon
        self._held: list[bytes] = []
        self.is_closing = transport.is_closing  # asked for every answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._call_soon(self._send)
        self._held.append(data)

    def write_whole(self, data: bytes) -> None:
        """Write an answer that is complete, behind what is held."""
        self._held.append(data)
        self._send()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._held:
            held, self._held = self._held, []
            self._transport.write(b"".join(held))


class Direct:
    """One bare request, in the place and with the attributes of uvicorn's RequestResponseCycle."""

    __slots__ = (
        "body", "disconnected", "headers", "keep_alive", "more_body", "path", "protocol", "response_complete",
        "route", "started",
    )  # fmt: skip

    def __init__(
        self,
        protocol: GuardedProtocol,
        route: str | None,
        path: str,
        headers: dict[bytes, bytes],
        keep_alive: bool,
    ) -> None:
        self.protocol = protocol
        self.route = route
        self.path = path
        self.headers = headers
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.started = False
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> Direct:
        """What the protocol sets when something has come in, or nothing more will."""
        return self

    def set(self) -> None:
        if not self.started and not self.more_body and not self.disconnected:
            self.started = True
            self.protocol.app.direct(self.route, self.path, self.headers, bytes(self.body), self.respond)

    def respond(self, answer: Response) -> None:
        self.response_complete = True
        if self.disconnected:
            return
        status, headers, content = answer
        parts = [_STATUS[status]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"content-length: %d\r\n\r\n" % len(content), content)
        self.protocol.transport.write_whole(b"".join(parts))
        if not self.keep_alive:
            self.protocol.transport.close()
        self.protocol.on_response_complete()

    def too_slow(self) -> None:
        self.started, self.keep_alive = True, False
        self.respond(problem(408, "request", f"the body took more than {bodies.TIMEOUT_S:g} s"))


class GuardedProtocol(HttpToolsProtocol):
    """Closes any connection beyond 8,192; `cut_off_the_slow` closes those that take too long over a request."""

    app: Any  # edge.routes.Routes
    cycle: Any  # RequestResponseCycle or Direct; None before the first request
    transport: Any
    opened = 0.0

    def connection_made(self, transport: Any) -> None:
        self.opened = self.loop.time()
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(self.cycle, Direct) and not self.cycle.response_complete:
            self.app.left()
        super().connection_lost(exc)
        if isinstance(self.cycle, Direct):
            self.cycle = None  # each knew the other; without that no collector need find them

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has sent all it will and still listens gets its answer; then the connection ends."""
        if self._is_idle or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def on_headers_complete(self) -> None:
        match = _PATH.fullmatch(self.url) if self._is_free else None
        headers = self._bare_headers() if match is not None else None
        if match is None or headers is None:
            super().on_headers_complete()
            return
        self.scope["method"] = "POST"
        route = (match[1] or match[2] or b"").decode() or None
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        self.cycle = Direct(self, route, self.url.decode(), headers, keep_alive)

    @property
    def _is_free(self) -> bool:
        """Whether an answer could leave at once."""
        return self._is_idle and not self.flow.write_paused and not self.transport.is_closing()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _bare_headers(self) -> dict[bytes, bytes] | None:
        """The headers, if they ask for nothing but the execution of a short body."""
        if self.parser.get_method() != b"POST":
            return None
        found: dict[bytes, bytes] = {}
        for name, value in self.headers:
            if name in _NOT_BARE or (name in found and name in _ONCE):
                return None
            found[name] = value
        length = found.get(b"content-length", b"")
        return found if length.isdigit() and len(length) < 9 and int(length) <= _SHORT_BODY else None

    @property
    def unfinished(self) -> tuple[object, float] | None:
        """What stands for the part of a request that is still coming in, and how long it may take."""
        scope: Any = self.scope  # None before the first byte
        if scope is None:
            return self, HEADERS_S
        if "method" not in scope:
            return self.headers, HEADERS_S
        if isinstance(self.cycle, Direct) and self.cycle.more_body:
            return self.cycle, bodies.TIMEOUT_S
        return None

    def too_slow(self) -> None:
        if self.transport.is_closing():
            return
        if isinstance(self.cycle, Direct) and self.cycle.more_body:
            self.cycle.too_slow()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(GOODBYE_S, self._cut_off_if_idle)

    def _cut_off_if_idle(self) -> None:
        """A TLS client that does not answer our farewell would hold up the end for 30 s."""
        if self._is_idle:
            self.transport.abort()


async def cut_off_the_slow(connections: Collection[Any]) -> None:
    """For ever: close connections of which a request's head takes over 10 s, or its body over 30 s.

    Looking at all of them each second costs a request nothing, which a timer of its own would.
    """
    since: dict[Any, tuple[object, float]] = {}
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        now, before, since = loop.time(), since, {}
        for connection in list(connections):
            if (unfinished := connection.unfinished) is None:
                continue
            part, limit = unfinished
            seen, first = before.get(connection, (None, 0.0))
            if seen is not part:
                first = connection.opened if part is connection else now
            since[connection] = (part, first)
            if now - first > limit:
                connection.too_slow()
                await asyncio.sleep(_BETWEEN_S)  # thousands at once would be a stall for everybody else

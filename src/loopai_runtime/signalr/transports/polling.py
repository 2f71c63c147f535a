"""Long polling: one request for each batch of messages; what the client says comes by POST, its end by DELETE."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from loopai_runtime.signalr.connection import Connection
    from loopai_runtime.signalr.link import Link

NO_CACHE = {
    "cache-control": "no-cache, no-store",
    "pragma": "no-cache",
    "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
}


class Polls:
    """The polls of one connection: there is one at a time, and a newer one ends the older."""

    def __init__(self, connection: Connection, link: Link) -> None:
        self._connection = connection
        self._link = link
        self._current: asyncio.Event | None = None

    async def serve(
        self, poll_timeout_s: float, send_timeout_s: float, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one poll: 200 with what there is, or nothing after a while; 204 at the end."""
        first = self._current is None
        if self._current:
            self._current.set()
        mine = self._current = asyncio.Event()
        self._connection.polling = True
        try:
            # The first poll only says that the connection stands.
            response = self._said(200, b"") if first else await self._wait(mine, poll_timeout_s, receive)
            if response:
                async with asyncio.timeout(send_timeout_s):
                    await response(scope, receive, send)
        except (OSError, TimeoutError):
            self._connection.detach(self._link, gone=True)  # what was in that answer is lost
        finally:
            if self._current is mine:
                self._connection.poll_ended()

    async def _wait(self, superseded: asyncio.Event, poll_timeout_s: float, receive: Receive) -> Response | None:
        ready, newer, left = (
            asyncio.create_task(each) for each in (self._link.ready(), superseded.wait(), _left(receive))
        )
        waits = {ready, newer, left}
        try:
            await asyncio.wait(waits, timeout=poll_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if left.done():
            return None  # nobody would read the answer
        if superseded.is_set():
            return self._said(204, b"")
        chunk = self._link.take()
        return self._said(204 if self._link.finished and not chunk else 200, chunk)

    def _said(self, status: int, body: bytes) -> Response:
        kind = "application/octet-stream" if self._link.binary else "text/plain"
        return Response(body, status, NO_CACHE, kind)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

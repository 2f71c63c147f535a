"""Server-Sent Events: from the server to the client; what the client says comes by POST."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Send

    from loopai_runtime.signalr.connection import Connection
    from loopai_runtime.signalr.link import Link

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-store"),
    (b"x-accel-buffering", b"no"),
]


async def serve(connection: Connection, link: Link, send_timeout_s: float, receive: Receive, send: Send) -> None:
    """Carry events until one side ends; the connection is attached already."""
    leaving = asyncio.create_task(_left(receive))
    writer = asyncio.create_task(_write(link, send_timeout_s, send))
    try:
        await asyncio.wait({leaving, writer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        writer.cancel()
        connection.detach(link, gone=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(link: Link, send_timeout_s: float, send: Send) -> None:
    try:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        # A comment, so that the headers leave at once and the client knows that it is connected.
        await send({"type": "http.response.body", "body": b":\r\n", "more_body": True})
        while True:
            await link.ready()
            if not (chunk := link.take()):
                break
            async with asyncio.timeout(send_timeout_s):  # JSON has no line ends of its own
                event = b"data: " + chunk + b"\r\n\r\n"
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except (OSError, TimeoutError):
        return  # the socket is gone, or its client takes nothing

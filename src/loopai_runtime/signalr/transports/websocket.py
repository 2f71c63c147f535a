"""WebSockets: both directions over one socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Receive, Send

    from loopai_runtime.signalr.connection import Connection
    from loopai_runtime.signalr.link import Link

_NORMAL = 1000
_GOING = (1000, 1001)


async def serve(connection: Connection, link: Link, send_timeout_s: float, receive: Receive, send: Send) -> None:
    """Carry bytes until one side ends; the connection is attached already."""
    gone = False
    reader = writer = None
    try:
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        reader = asyncio.create_task(_read(connection, link, receive))
        writer = asyncio.create_task(_write(link, send_timeout_s, send))
        await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        gone = reader.done() and reader.result()
    finally:
        for task in (reader, writer):
            if task is not None:
                task.cancel()
        # Still attached: whoever was cut off, by the network or by us, may come back for what it missed.
        connection.detach(link, gone=gone)


async def _read(connection: Connection, link: Link, receive: Receive) -> bool:
    """Whether the client went of its own accord.

    Servers report a lost socket as 1005 or 1006, and some clients close without a code, which is 1005 too. What
    ends a conversation for certain is its Close message, or a code that says so.
    """
    while (message := await receive())["type"] == "websocket.receive":
        # Shielded: a message counts as received once it is taken, even when the socket ends before it is read.
        await asyncio.shield(connection.feed(link, _bytes(message)))
    return message.get("code") in _GOING


async def _write(link: Link, send_timeout_s: float, send: Send) -> None:
    try:
        while True:
            await link.ready()
            if not (chunk := link.take()):
                break
            frame: dict[str, Any] = {"type": "websocket.send"}
            frame |= {"bytes": chunk} if link.binary else {"text": chunk.decode("utf-8")}
            async with asyncio.timeout(send_timeout_s):
                await send(frame)
        async with asyncio.timeout(send_timeout_s):
            await send({"type": "websocket.close", "code": _NORMAL})
    except (OSError, TimeoutError, RuntimeError):
        return  # the socket is gone, or its client takes nothing


def _bytes(message: Any) -> bytes:
    text = message.get("text")
    found: bytes = text.encode("utf-8") if text is not None else message.get("bytes") or b""
    return found

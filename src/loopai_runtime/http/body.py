"""Reading a request's body under limits: of size, of time, of what may be done to it on the way."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from loopai_runtime.http.problem import Refused

MAX_BYTES = 16 * 1024 * 1024
TIMEOUT_S = 30.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Disconnected(Exception):
    """The client went away before its request was complete."""


def inflated(content: bytes, most: int) -> bytes:
    """The one gzip member that a body is, of at most `most` bytes. Raises Refused (400, 413)."""
    inflating = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = inflating.decompress(content, most + 1)
    except zlib.error:
        raise Refused(400, "the body is no gzip") from None
    if len(plain) > most:
        raise Refused(413, f"the body unfolds to more than {most} bytes")
    if not inflating.eof or inflating.unused_data:
        raise Refused(400, "the body is no whole gzip")
    return plain


async def read(headers: dict[bytes, bytes], receive: Receive, most: int = MAX_BYTES) -> bytes:
    """The whole body, of at most `most` bytes. Raises Refused (413, 415, 408), Disconnected."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, "a compressed body is not accepted; send it as it is")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > most:
        raise Refused(413, f"the body is larger than {most} bytes", [(b"connection", b"close")])
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")  # nearly always: it came with the headers
        return body
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _rest(message, receive, most)
    except TimeoutError:
        raise Refused(408, f"the body took more than {TIMEOUT_S:g} s", [(b"connection", b"close")]) from None


async def _rest(message: Message, receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise Refused(413, f"the body is larger than {most} bytes", [(b"connection", b"close")])
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()

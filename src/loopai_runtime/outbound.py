"""HTTP to places that may be hostile: a deadline for the whole exchange, a bounded body, no redirects.

An httpx transport, so that whatever is built on httpx (this package's own calls, the OpenAI SDK, litellm) goes
through it. The read timeout of a request is taken for the deadline of the whole exchange: a server that sends a
byte a second would otherwise be read for ever.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from loopai_runtime.config.section import is_loopback as is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

MAX_BODY = 8 * 2**20
LONGEST_S = 600.0
_NOTED = 4096  # bytes of a body


class Refused(httpx.TransportError):
    """An answer that is not read: too large, compressed, or a redirect. The message is fit for people."""


@dataclass
class Exchange:
    """How far one exchange came, as the wire saw it, whatever a library made of it.

    `sent`: the request may have reached the other side. `broken`: there was no connection, or it was lost.
    `why`: what is wrong with an answer that was not read. `body` is the beginning of one that was.
    """

    sent: bool = False
    broken: bool = False
    status: int | None = None
    retry_after: str | None = None
    late: bool = False
    why: str | None = None
    body: bytes = b""


_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def noted() -> Iterator[Exchange]:
    """Notes the last exchange that this thread makes inside."""
    exchange = Exchange()
    token = _exchange.set(exchange)
    try:
        yield exchange
    finally:
        _exchange.reset(token)


def place_of(url: str) -> str:
    """`host` or `host:port`, as people and the audit read it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port else host


class Outbound(httpx.BaseTransport):
    """Sends a request and reads its answer whole. Raises Refused and httpx's own errors.

    Each exchange has a connection of its own, which no other thread knows. One pool for all would hand a
    connection on in the moment between an answer's end and its closing: the next exchange would have no watch,
    and its socket closed, or its number given to another, while it waits.
    """

    def __init__(self, max_body: int = MAX_BODY) -> None:
        self._max_body = max_body

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        note = _exchange.get() or Exchange()
        note.__init__()  # type: ignore[misc]  # a library may have made another exchange before
        seconds = (request.extensions.get("timeout") or {}).get("read") or LONGEST_S
        watch = _Watch(seconds, note)
        # A compressed answer could unfold to any size.
        request.headers["Accept-Encoding"] = "identity"
        request.extensions = {**request.extensions, "trace": watch.see}
        try:
            with httpx.HTTPTransport(verify=self._trusted, proxy=_proxy(str(request.url))) as connection:
                return self._exchange(connection, request, note, watch)
        except Refused as exc:
            note.why = str(exc)
            raise
        except httpx.TransportError as exc:
            note.late = watch.over or isinstance(exc, httpx.TimeoutException)
            note.broken = not note.late
            if note.late:
                raise httpx.ReadTimeout(f"no answer within {seconds:g} s", request=request) from exc
            raise
        finally:
            watch.end()

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """Read from disk once: it takes longer than an exchange."""
        return httpx.create_ssl_context()

    def _exchange(
        self, connection: httpx.HTTPTransport, request: httpx.Request, note: Exchange, watch: _Watch
    ) -> httpx.Response:
        response = connection.handle_request(request)
        try:
            note.status, note.retry_after = response.status_code, response.headers.get("Retry-After")
            if response.has_redirect_location:
                raise Refused(f"redirects to another address ({response.status_code})", request=request)
            if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
                raise Refused("sends a compressed answer that was not asked for", request=request)
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > self._max_body:
                    raise Refused(f"answers more than {self._max_body // 2**20} MiB", request=request)
                if watch.over:
                    raise httpx.ReadTimeout("the answer came too slowly", request=request)
        finally:
            response.close()
        note.body = bytes(body[:_NOTED])
        # The body is here whole, however it was framed on the wire.
        headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() != "transfer-encoding"]
        return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=request)


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`; what is meant for this machine does not leave it."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    return found if not found or "://" in found else f"http://{found}"


class _Watch:
    """Shuts the connection down when the time is over, whatever it is waiting for."""

    def __init__(self, seconds: float, note: Exchange) -> None:
        self._note = note
        self._until = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True
        self._timer.start()

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._until

    def see(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            opened = info["return_value"].get_extra_info("socket")
            with self._lock:
                # A duplicate, since TLS takes the socket over.
                self._socket = opened.dup()
        elif event.endswith("send_request_headers.started"):
            self._note.sent = True

    def _shut(self) -> None:
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self._timer.cancel()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

"""Reaching a hub: where it is, who one is there, and how long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import orjson

from loopai_runtime.signalr.errors import ConnectionLost, ProtocolError, Refused
from loopai_runtime.signalr.options import WEBSOCKETS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import httpx
    from websockets.asyncio.client import ClientConnection

_TIMEOUT_S = 15.0
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """A hub and how to get in. `token` is a secret, or what fetches one; `ssl` says whom to trust."""

    url: str
    token: str | Callable[[], str | None] | None = None
    ssl: ssl.SSLContext | None = None
    max_message_bytes: int = 1024 * 1024

    def headers(self) -> dict[str, str]:
        token = self.token() if callable(self.token) else self.token
        return {"accept-encoding": "identity"} | ({"authorization": f"Bearer {token}"} if token else {})


@dataclass(frozen=True, slots=True)
class Ticket:
    """A connection that the hub expects: `url` is its socket's address and a secret."""

    connection_id: str
    url: str
    stateful: bool


async def negotiate(address: Address, *, stateful: bool) -> Ticket:
    """Raises Refused, ProtocolError, ConnectionLost."""
    import httpx  # here, since most who import this package never dial

    query = {"negotiateVersion": "1"} | ({"useStatefulReconnect": "true"} if stateful else {})
    try:
        async with (
            httpx.AsyncClient(verify=address.ssl or True, timeout=_TIMEOUT_S) as http,
            http.stream("POST", _beside(address.url, "/negotiate", query), headers=address.headers()) as response,
        ):
            body = await _body(response)
    except httpx.HTTPError as exc:
        raise ConnectionLost(
            f"{_place(address.url)} cannot be reached: {str(exc) or type(exc).__name__}"
        ) from None
    if response.status_code != 200:
        raise Refused(response.status_code, f"{_place(address.url)} refused: {response.status_code}")
    try:
        found = orjson.loads(body)
        if error := found.get("error"):
            raise Refused(200, f"{_place(address.url)} refused: {error}")
        offered = [each["transport"] for each in found["availableTransports"]]
        token = str(found.get("connectionToken") or found["connectionId"])
        ticket = Ticket(
            str(found["connectionId"]),
            _beside(address.url, "", {"id": token}, socket=True),
            found.get("useStatefulReconnect") is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProtocolError(f"{_place(address.url)} is no SignalR hub") from None
    if WEBSOCKETS not in offered:
        raise ProtocolError(f"{_place(address.url)} offers no WebSockets")
    return ticket


async def open_socket(address: Address, ticket: Ticket) -> ClientConnection:
    """Raises Refused, ConnectionLost."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, WebSocketException

    more: dict[str, Any] = {"ssl": address.ssl} if address.ssl and ticket.url.startswith("wss:") else {}
    try:
        return await connect(
            ticket.url,
            additional_headers=address.headers(),
            open_timeout=_TIMEOUT_S,
            close_timeout=2.0,
            ping_interval=None,  # the hub's protocol has its own
            compression=None,
            max_size=address.max_message_bytes,
            **more,
        )
    except InvalidStatus as exc:
        status = exc.response.status_code
        raise Refused(status, f"{_place(address.url)} refused the socket: {status}") from None
    except (OSError, TimeoutError, WebSocketException) as exc:
        raise ConnectionLost(
            f"{_place(address.url)} cannot be reached: {str(exc) or type(exc).__name__}"
        ) from None


async def _body(response: httpx.Response) -> bytes:
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) > _MOST_BYTES:
            raise ProtocolError("The hub's answer to the negotiation is too large.")
    return body


class Backoff:
    """Full jitter: anything between nothing and a bound that doubles with every try."""

    def __init__(self, first_s: float, most_s: float, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._rng = rng or random.Random()  # noqa: S311 - spreads clients, guards nothing
        self._tries = 0

    def reset(self) -> None:
        """It worked."""
        self._tries = 0

    def next_s(self) -> float:
        """How long to wait now."""
        bound = min(self._most_s, self._first_s * 2 ** min(self._tries, 32))
        self._tries += 1
        return self._rng.uniform(0, bound)


def _beside(url: str, path: str, query: dict[str, str], *, socket: bool = False) -> str:
    parts = urlsplit(url)
    scheme = parts.scheme.replace("http", "ws", 1) if socket else parts.scheme
    joined = "&".join(filter(None, (parts.query, urlencode(query))))
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, joined, ""))


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"

"""A client without manners: sends what a test wants it to send."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from tests.integration.signalr.arena import ANN, Arena
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

HANDSHAKE = '{"protocol":"json","version":1}\x1e'
SEPARATOR = "\x1e"


def headers(token: str | None = ANN) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


@contextmanager
def http(token: str | None = ANN) -> Iterator[httpx.Client]:
    with httpx.Client(headers=headers(token), timeout=120) as client:
        yield client


def negotiate(server: Arena, token: str | None = ANN, **query: str) -> dict[str, Any]:
    answer = httpx.post(
        f"{server.url}/negotiate", params={"negotiateVersion": "1"} | query, headers=headers(token), timeout=60
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


class Socket:
    """A WebSocket of JSON messages."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._held: list[dict[str, Any]] = []

    def send(self, *messages: dict[str, Any] | str | bytes) -> None:
        for message in messages:
            self.connection.send(message if isinstance(message, (str, bytes)) else json.dumps(message) + SEPARATOR)

    def read(self, timeout_s: float = 60) -> dict[str, Any]:
        """The next message that is no ping."""
        while True:
            while not self._held:
                data = self.connection.recv(timeout_s)
                assert isinstance(data, str), "JSON comes in text frames"
                assert data.endswith(SEPARATOR)
                self._held = [json.loads(each) for each in data.split(SEPARATOR)[:-1]]
            message = self._held.pop(0)
            if message.get("type") != 6:
                return message

    def completion(self, invocation_id: str, timeout_s: float = 60) -> dict[str, Any]:
        while (message := self.read(timeout_s)).get("type") != 3 or message["invocationId"] != invocation_id:
            pass
        return message

    def invoke(self, target: str, *arguments: Any, invocation_id: str = "1") -> dict[str, Any]:
        self.send({"type": 1, "invocationId": invocation_id, "target": target, "arguments": list(arguments)})
        return self.completion(invocation_id)

    def drain(self, timeout_s: float = 60) -> tuple[int | None, bytes]:
        """How the socket was closed, and all bytes before."""
        heard = b""
        try:
            while True:
                data = self.connection.recv(timeout_s)
                heard += data.encode() if isinstance(data, str) else data
        except ConnectionClosed as exc:
            return (exc.rcvd.code if exc.rcvd else None), heard

    def end(self, timeout_s: float = 60) -> tuple[int | None, dict[str, Any] | None]:
        """How the socket was closed, and the last message before."""
        last = None
        try:
            while True:
                last = self.read(timeout_s)
        except ConnectionClosed as exc:
            return (exc.rcvd.code if exc.rcvd else None), last


@contextmanager
def socket(
    server: Arena, connection_token: str | None = None, token: str | None = ANN, shake: str | None = HANDSHAKE
) -> Iterator[Socket]:
    """Connected; after the handshake, unless `shake` is None."""
    url = server.url.replace("http", "ws", 1) + (f"?id={connection_token}" if connection_token else "")
    with connect(url, additional_headers=headers(token), close_timeout=1, max_size=2**24) as connection:
        found = Socket(connection)
        if shake is not None:
            found.send(shake)
            assert found.read() == {}
        yield found


def eventually(condition: Any, timeout_s: float = 60) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "never"
        time.sleep(0.01)


def connections(server: Arena) -> int:
    async def count() -> int:
        return len(server.hub.connections)

    return server.on(count())

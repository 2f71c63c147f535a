"""A line that loses, repeats and delays."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

Fault = Literal["refuse", "lose", "reset", "error", "slow", "twice"]
"""What happens to an exchange: `refuse` it unheard; `lose` the answer to what arrived; `reset` amid the
request; answer an `error` (503) unheard; `slow`: late; `twice`: it arrives two times, the second answer counts."""


class FaultProxy:
    """An HTTP proxy before a server on loopback, which does to each exchange what the script says next.

    A context manager. `done` holds what was done, in order; when the script is over, all goes well.
    """

    def __init__(self, target: str, script: Iterable[Fault | None], slow_s: float = 0.05) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._script = iter(script)
        self._slow_s = slow_s
        self._lock = threading.Lock()
        self.done: list[Fault | None] = []
        self._listening = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A shutdown, as a close alone would not wake the thread that accepts.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._exchange, args=(client,), daemon=True).start()

    def _exchange(self, client: socket.socket) -> None:
        with self._lock:
            fault = next(self._script, None)
            self.done.append(fault)
        with client:
            try:
                self._play(client, fault)
            except OSError:
                return

    def _play(self, client: socket.socket, fault: Fault | None) -> None:
        if fault == "refuse":
            _reset(client)
            return
        request = _http_message(client)
        if fault == "reset":
            with socket.create_connection(self._target) as server:
                server.sendall(request[: len(request) // 2])
                _reset(server)
            _reset(client)
            return
        if fault == "error":
            client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if fault == "slow":
            time.sleep(self._slow_s)
        answer = self._forward(request)
        if fault == "twice":
            answer = self._forward(request)
        if fault != "lose":
            client.sendall(answer)

    def _forward(self, request: bytes) -> bytes:
        with socket.create_connection(self._target) as server:
            server.sendall(request)
            return _http_message(server)


def _http_message(connection: socket.socket) -> bytes:
    """One message with a Content-Length, or to the end."""
    data = b""
    while b"\r\n\r\n" not in data and (part := connection.recv(65536)):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    parts = [data]
    while missing > 0 and (part := connection.recv(65536)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

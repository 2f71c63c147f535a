"""Who is told by webhooks."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime.testing.serving import Handling, Served

if TYPE_CHECKING:
    from collections.abc import Sequence
    from http.server import BaseHTTPRequestHandler


@dataclass(frozen=True)
class Received:
    """A delivery as it arrived."""

    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def id(self) -> str:
        """The same for every repetition of one event."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        """`type`, `timestamp` and `data`."""
        return json.loads(self.body)

    def is_signed_with(self, secret: str, *, now: float | None = None, tolerance_s: float = 300.0) -> bool:
        """Whether the signature is that of Standard Webhooks, and fresh: what every receiver should check."""
        encoded = secret.removeprefix("whsec_")
        key = base64.b64decode(encoded) if encoded != secret else secret.encode()
        at = self.headers["webhook-timestamp"]
        if not at.isdecimal() or abs((time.time() if now is None else now) - int(at)) > tolerance_s:
            return False
        wanted = hmac.new(key, f"{self.id}.{at}.".encode() + self.body, "sha256").digest()
        for signature in self.headers["webhook-signature"].split():
            version, _, given = signature.partition(",")
            if version == "v1" and hmac.compare_digest(base64.b64encode(wanted), given.encode()):
                return True
        return False


class ScriptedReceiver(Served):
    """A receiver of webhooks on loopback, which answers with the statuses of its script; the last one repeats.

    A context manager. `received` holds every delivery, in order of arrival.
    """

    def __init__(self, statuses: Sequence[int] = (204,), retry_after: str | None = None) -> None:
        self.received: list[Received] = []
        self._statuses = list(statuses)
        self._retry_after = retry_after
        self._lock = threading.Lock()
        super().__init__(_receiver_handler(self))

    @property
    def url(self) -> str:
        return f"{self._origin}/hook"

    def _take(self, delivery: Received) -> tuple[int, dict[str, str]]:
        with self._lock:
            self.received.append(delivery)
            status = self._statuses[min(len(self.received), len(self._statuses)) - 1]
        headers = {"location": "http://127.0.0.1:9/elsewhere"} if 300 <= status < 400 else {}
        return status, headers | ({"retry-after": self._retry_after} if self._retry_after else {})


def _receiver_handler(receiver: ScriptedReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(Handling):
        def do_POST(self) -> None:
            body = self._body()
            status, more = receiver._take(Received(self._lower(), body))
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", "0")
            self.end_headers()

    return Handler

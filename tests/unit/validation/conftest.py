"""A purse that counts, a server that answers, and the parts of an oracle."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loopai_runtime.errors import CapReached
from loopai_runtime.llm import Spent

Handler = Callable[[Any], tuple[int, Any]]


class CountingPurse:
    """A purse with `cap` US dollars in it."""

    def __init__(self, cap: float = 1.0) -> None:
        self.cap = cap
        self.reserved: dict[str, float] = {}
        self.spent = 0.0
        self.calls = 0

    def reserve(self, most_usd: float, *, purpose: str, model: str) -> str:
        if self.spent + sum(self.reserved.values()) + most_usd > self.cap:
            raise CapReached("the cap is reached")
        self.calls += 1
        self.reserved[str(self.calls)] = most_usd
        return str(self.calls)

    def settle(self, reservation: str, spent: Spent | None) -> None:
        del self.reserved[reservation]
        self.spent += spent.usd if spent else 0.0


class JsonService:
    """A real HTTP service: `answer(body)` gives the status and the JSON, or bytes, of each request."""

    def __init__(self, answer: Handler) -> None:
        self.asked: list[Any] = []
        self.headers: list[dict[str, str]] = []
        service = self

        class Post(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.asked.append(body)
                service.headers.append({k.lower(): v for k, v in self.headers.items()})
                status, reply = answer(body)
                content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("location", "http://127.0.0.1:9/elsewhere")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Post)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/answer"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], JsonService]]:
    started: list[JsonService] = []

    def start(answer: Handler) -> JsonService:
        started.append(JsonService(answer))
        return started[-1]

    yield start
    for service in started:
        service.close()


@pytest.fixture
def purse() -> CountingPurse:
    return CountingPurse()

"""An oracle behind HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from loopai_runtime.testing.serving import Handling, Served

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler


class ScriptedOracle(Served):
    """An HTTP oracle on loopback: `answer(body)` gives the status and the JSON value, or the bytes, of each reply.

    A context manager. `asked` and `headers` hold what was posted, in order of arrival.
    """

    def __init__(self, answer: Callable[[Any], tuple[int, Any]]) -> None:
        self.asked: list[Any] = []
        self.headers: list[dict[str, str]] = []
        super().__init__(_oracle_handler(self, answer))

    @property
    def url(self) -> str:
        return f"{self._origin}/answer"


def _oracle_handler(
    oracle: ScriptedOracle, answer: Callable[[Any], tuple[int, Any]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(Handling):
        def do_POST(self) -> None:
            body = json.loads(self._body())
            oracle.asked.append(body)
            oracle.headers.append(self._lower())
            status, reply = answer(body)
            content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            try:
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", "http://127.0.0.1:9/elsewhere")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up

    return Handler

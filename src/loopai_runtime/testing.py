"""Fakes for tests, public and tested themselves: real servers on loopback that play a script.

    with ScriptedLLM(["spam", Failure(429, retry_after="1"), "ham"]) as llm:
        Endpoint(model="openai/scripted", api_base=llm.api_base)

A script is a list, one item a request (the last one repeats), or a function of the request's JSON. An item is a
text (the answer), or one of `Says`, `Failure`, `Raw`.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

MODEL = "openai/scripted"


@dataclass(frozen=True)
class Says:
    """An answer. `usage` None: counted by four bytes a token; else reported as it is, however wrong."""

    text: str | None
    finish_reason: str = "stop"
    usage: Any = None
    delay_s: float = 0.0
    drip_s: float = 0.0  # seconds between the bytes of the answer


@dataclass(frozen=True)
class Failure:
    """An error as OpenAI words it."""

    status: int
    message: str = "scripted failure"
    retry_after: str | None = None
    delay_s: float = 0.0


@dataclass(frozen=True)
class Raw:
    """Any bytes at all as the body of an answer; with `headless`, as the whole of what goes over the wire."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    headless: bool = False
    delay_s: float = 0.0
    drip_s: float = 0.0


Item = str | Says | Failure | Raw
Script = Sequence[Item] | Callable[[dict[str, Any]], Item]


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]  # lower-case names
    body: dict[str, Any]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body.get("messages", []))

    @property
    def prompt(self) -> str:
        """All of its texts."""
        return "\n".join(str(message.get("content", "")) for message in self.messages)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # five callers at once would wait a second and more where the machine is busy


class _Served:
    """A server on loopback; a context manager."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = _Server(("127.0.0.1", 0), handler)
        self._stopped = threading.Event()

    @property
    def _origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _lower(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}


class ScriptedLLM(_Served):
    """The server; a context manager. `requests` holds what was asked, in order of arrival."""

    def __init__(self, script: Script = ("ok",)) -> None:
        self._script = script
        self._lock = threading.Lock()
        self.requests: list[Asked] = []
        super().__init__(_handler(self))

    @property
    def api_base(self) -> str:
        return f"{self._origin}/v1"

    def _next(self, asked: Asked) -> Item:
        with self._lock:
            self.requests.append(asked)
            number = len(self.requests) - 1
        if callable(self._script):
            return self._script(asked.body)
        return self._script[min(number, len(self._script) - 1)]

    def _wait(self, seconds: float) -> None:
        """Slow, but not slower than the test that has ended."""
        self._stopped.wait(seconds)


def _handler(llm: ScriptedLLM) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        def do_POST(self) -> None:
            asked = Asked(self.path, self._lower(), _object(self._body()))
            item = llm._next(asked)
            try:
                self._play(Says(item) if isinstance(item, str) else item, asked)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up, as some scripts mean it to

        def _play(self, item: Says | Failure | Raw, asked: Asked) -> None:
            llm._wait(item.delay_s)
            if isinstance(item, Failure):
                error = {"error": {"message": item.message, "type": "scripted", "code": None}}
                after = {"Retry-After": item.retry_after} if item.retry_after is not None else {}
                self._send(Raw(json.dumps(error).encode(), item.status, headers=after))
            elif isinstance(item, Raw):
                self._send(item)
            elif asked.body.get("stream"):
                events = _events(item, asked)
                self._send(Raw(events, content_type="text/event-stream", drip_s=item.drip_s))
            else:
                body = json.dumps(_completion(item, asked)).encode()
                self._send(Raw(body, drip_s=item.drip_s))

        def _send(self, raw: Raw) -> None:
            if raw.headless:
                self.close_connection = True
                self._write(raw.body, raw.drip_s)
                return
            self.send_response(raw.status)
            self.send_header("Content-Type", raw.content_type)
            self.send_header("Content-Length", str(len(raw.body)))
            for name, value in raw.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self._write(raw.body, raw.drip_s)

        def _write(self, data: bytes, drip_s: float) -> None:
            if not drip_s:
                self.wfile.write(data)
                return
            for index in range(len(data)):
                if llm._stopped.is_set():
                    return
                self.wfile.write(data[index : index + 1])
                self.wfile.flush()
                llm._wait(drip_s)

    return Handler


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _usage(item: Says, asked: Asked) -> Any:
    if item.usage is not None:
        return item.usage
    told = max(1, len(asked.prompt.encode()) // 4)
    wrote = max(1, len((item.text or "").encode()) // 4)
    return {"prompt_tokens": told, "completion_tokens": wrote, "total_tokens": told + wrote}


def _completion(item: Says, asked: Asked) -> dict[str, Any]:
    message = {"role": "assistant", "content": item.text}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.body.get("model", "scripted"),
        "choices": [{"index": 0, "finish_reason": item.finish_reason, "message": message}],
        "usage": _usage(item, asked),
    }


def _events(item: Says, asked: Asked) -> bytes:
    """The same answer as a stream, a word an event."""
    chunk = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": int(time.time())}
    chunk["model"] = asked.body.get("model", "scripted")
    parts: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    parts += [{"content": word} for word in re.findall(r"\S+\s*|\s+", item.text or "")]
    events = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in parts]
    last = {"index": 0, "delta": {}, "finish_reason": item.finish_reason}
    events.append({**chunk, "choices": [last], "usage": _usage(item, asked)})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


class ScriptedOracle(_Served):
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
    class Handler(_Handler):
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


class ScriptedReceiver(_Served):
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
    class Handler(_Handler):
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


class ScriptedClock:
    """A clock that stands still until `advance`; call it for seconds since 1970."""

    def __init__(self, at: float = 1_750_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


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

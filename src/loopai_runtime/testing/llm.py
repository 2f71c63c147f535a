"""A language model that plays a script, behind OpenAI's protocol."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime.testing.serving import Handling, Served

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

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


class ScriptedLLM(Served):
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
    class Handler(Handling):
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

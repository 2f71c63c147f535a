"""The edge's HTTP face: the execute routes are one bare ASGI path, the rest is Starlette."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.flows.answering import Answers
from loopai_runtime.http import body as bodies
from loopai_runtime.http.problem import Refused, Response, problem

if TYPE_CHECKING:
    from loopai_runtime.edge.metrics import Metrics
    from loopai_runtime.flows.answering import Respond, Route
    from loopai_runtime.flows.serve import Traffic
    from loopai_runtime.http.limits import RateLimit

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Door = Callable[[bytes | None], str | None]
"""Who a caller is, from the Authorization header; None for nobody that may enter."""

_PATHS = re.compile(r"/v1/execute/([^/]+)|/api/v1/tasks/([^/]+)/(execute|batch)")
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


class Routes:
    """The ASGI application: executes, or hands on to `pages`."""

    def __init__(
        self, traffic: Traffic, metrics: Metrics, door: Door, pages: App, limit: RateLimit | None = None
    ) -> None:
        self._answers = Answers(traffic)
        self._metrics = metrics
        self._door = door
        self._pages = pages
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._said_overload = 0.0
        self._logs_all = log.isEnabledFor(logging.DEBUG)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = {}
        try:
            for name, value in scope["headers"]:
                if name in headers and name in (b"content-length", b"authorization", b"idempotency-key"):
                    raise Refused(400, f"the header {name.decode()} is given twice")
                headers[name] = value
            path: str = scope["path"]
            caller = self._door(headers.get(b"authorization"))
            if caller is None and path not in OPEN_PATHS:
                answer = _no_key()
            elif (route := _route(path)) is None:
                await self._pages(scope, receive, send)
                return
            elif scope["method"] != "POST":
                answer = problem(405, "method", f"{path} takes POST")
                answer[1].append((b"allow", b"POST"))
            else:
                content = await bodies.read(headers, receive)
                key = headers.get(b"idempotency-key")
                too_many = partial(self._too_many, caller or "")
                answer = await self._answers.answer(route, caller or "", content, key, too_many)
        except Refused as refused:
            answer = problem(refused.status, "request", refused.detail)
            answer[1].extend(refused.headers)
        except bodies.Disconnected:
            self.left()
            return
        self._note(scope["method"], path, headers, answer)
        status, answer_headers, content = answer
        answer_headers = [*answer_headers, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": answer_headers})
        await send({"type": "http.response.body", "body": content})

    def direct(
        self, route: str | None, path: str, headers: dict[bytes, bytes], content: bytes, respond: Respond
    ) -> None:
        """The same without ASGI, for the bare case that nearly every request is; see `edge.protocol`."""

        def noted(answer: Response) -> None:
            self._note("POST", path, headers, answer)
            respond(answer)

        caller = self._door(headers.get(b"authorization"))
        refusal = _no_key() if caller is None else self._too_many(caller, 1)
        if refusal is not None:
            noted(refusal)
        else:
            self._answers.start(route, content, noted)

    def _too_many(self, caller: str, count: int) -> Response | None:
        """The refusal of a caller who asks for more than it may."""
        wait_s = self._limit.take(caller, count) if self._limit and count else 0.0
        if not wait_s:
            return None
        text = f"more than server.rate_limit, {self._limit.rate:g} a second" if self._limit else ""
        return problem(429, "rate", text, retry_after_s=math.ceil(wait_s))

    def left(self) -> None:
        """A client went away before it had its answer."""
        self._metrics.refused[499] += 1

    def _note(self, method: str, path: str, headers: dict[bytes, bytes], answer: Response) -> None:
        """Count and log a refusal; an answer is logged where everything is."""
        status, _, content = answer
        if status < 400 and not self._logs_all:
            return
        level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.WARNING
        if status >= 400:
            self._metrics.refused[status] += 1
        if status in (429, 503):
            self._note_overload(status)
        elif log.isEnabledFor(level):
            trace = headers.get(b"traceparent", b"").decode("ascii", "replace")[:100]
            extra = {"status": status, "method": method, "path": path, "traceparent": trace}
            said = f"request refused: {jsonl.loads(content).get('detail')}" if status >= 400 else "executed"
            log.log(level, "%s", said, extra=extra)

    def _note_overload(self, status: int) -> None:
        """One line a second: a line for each of thousands would be a load of its own."""
        now = self._loop.time()
        if now - self._said_overload > 1.0:
            self._said_overload = now
            log.warning("refusing requests, %d so far", self._metrics.refused[status], extra={"status": status})


def _no_key() -> Response:
    return problem(401, "auth", "no key, or one that is not valid here")


def _route(path: str) -> Route | None:
    """The task that a path names and whether it is for a batch; None for a path that executes nothing."""
    if path == "/execute":
        return None, False
    match = _PATHS.fullmatch(path)
    if match is None:
        return None
    return match[1] or match[2], match[3] == "batch"

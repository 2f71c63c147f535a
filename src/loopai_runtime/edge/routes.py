"""The edge's HTTP face: the execute routes are one bare ASGI path, the rest is Starlette."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import Busy, InputError, LoopaiError
from loopai_runtime.flows.execute import Request, Result
from loopai_runtime.http import body as bodies
from loopai_runtime.http.idempotency import Idempotency
from loopai_runtime.http.problem import Headers, Refused, Response, of_error, problem

if TYPE_CHECKING:
    from loopai_runtime.edge.metrics import Metrics
    from loopai_runtime.flows.serve import Traffic
    from loopai_runtime.http.limits import RateLimit

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Respond = Callable[[Response], None]
Door = Callable[[bytes | None], str | None]
"""Who a caller is, from the Authorization header; None for nobody that may enter."""

MAX_ITEMS = 1000
_AT_ONCE = 32  # items of a batch under way: a batch is not to crowd out single requests
_PATIENCE_S, _TRY_AGAIN_S = 30.0, 0.01
_REFUSE_AFTER_S = 0.02
"""Clients that try again at once, on many connections, would take the time that the work needs."""
_JSON: Headers = [(b"content-type", b"application/json")]
_PATHS = re.compile(r"/v1/execute/([^/]+)|/api/v1/tasks/([^/]+)/(execute|batch)")
_ENVELOPE = frozenset({"input", "task_id", "key"})
_ITEM = frozenset({"input", "id"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


class Routes:
    """The ASGI application: executes, or hands on to `pages`."""

    def __init__(
        self, traffic: Traffic, metrics: Metrics, door: Door, pages: App, limit: RateLimit | None = None
    ) -> None:
        self._traffic = traffic
        self._metrics = metrics
        self._door = door
        self._pages = pages
        self._limit = limit
        self._idempotency = Idempotency()
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
                answer = await self._answer(route, headers, caller or "", content)
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

    async def _answer(
        self, route: tuple[str | None, bool], headers: dict[bytes, bytes], caller: str, content: bytes
    ) -> Response:
        key = headers.get(b"idempotency-key")
        task_id, is_batch = route
        if not is_batch and (refusal := self._too_many(caller)):
            return refusal

        async def run(task_id: str | None, content: bytes) -> Response:
            return await (self._batch(task_id, content, caller) if is_batch else self._execute(task_id, content))

        if key is None:
            return await run(task_id, content)
        scope = f"{caller} {route}"
        answer, is_first = self._idempotency.begin(key, scope, content)
        if not is_first:
            try:
                status, old, body = await asyncio.shield(answer)
            except asyncio.CancelledError:
                return problem(503, "busy", "the first request with this Idempotency-Key was not executed")
            return status, [*old, (b"idempotency-replayed", b"true")], body
        try:
            made = await run(task_id, content)
        except BaseException:
            self._idempotency.fail(key, scope)
            raise
        if made[0] in (429, 503, 507):
            self._idempotency.fail(key, scope)
        elif not answer.done():
            answer.set_result(made)
        return made

    def direct(
        self, route: str | None, path: str, headers: dict[bytes, bytes], content: bytes, respond: Respond
    ) -> None:
        """The same without ASGI, for the bare case that nearly every request is; see `edge.protocol`."""

        def noted(answer: Response) -> None:
            self._note("POST", path, headers, answer)
            respond(answer)

        caller = self._door(headers.get(b"authorization"))
        refusal = _no_key() if caller is None else self._too_many(caller)
        if refusal is not None:
            noted(refusal)
        else:
            self.start(route, content, noted)

    def _too_many(self, caller: str, count: int = 1) -> Response | None:
        """The refusal of a caller who asks for more than it may."""
        wait_s = self._limit.take(caller, count) if self._limit and count else 0.0
        if not wait_s:
            return None
        text = f"more than server.rate_limit, {self._limit.rate:g} a second" if self._limit else ""
        return problem(429, "rate", text, retry_after_s=math.ceil(wait_s))

    # -- one

    def start(self, task_id: str | None, content: bytes, respond: Respond) -> None:
        """Execute a body; `respond` is called once, now or from the loop, when the answer may leave."""
        if self._traffic.is_full:  # before anything is read: refusing is to cost little
            self._refuse(Busy("too many requests are under way", hint="send less at once"), respond)
            return
        try:
            envelope = jsonl.loads(content)
        except InputError as error:
            respond(problem(400, "json", error.message))
            return
        fault = _fault(envelope, _ENVELOPE, "the body")
        named = envelope.get("task_id") if fault is None else None
        if named is not None and not isinstance(named, str):
            fault = ("task_id is not a text", "$.task_id")
        elif named is not None and task_id not in (None, named):
            fault = (f"task_id {named!r} is not the task of the path", "$.task_id")
        if fault is not None:
            respond(problem(422, "input", fault[0], path=fault[1]))
            return

        def answered(what: Result | LoopaiError) -> None:
            respond(of_error(what) if isinstance(what, LoopaiError) else _response(what))

        try:
            self._traffic.submit(self._traffic.choose(task_id or named), Request(envelope["input"]), answered)
        except InputError as error:
            respond(of_error(error, task_id=task_id or named))
        except Busy as error:
            self._refuse(error, respond)
        except LoopaiError as error:
            respond(of_error(error))

    def _refuse(self, error: Busy, respond: Respond) -> None:
        self._loop.call_later(_REFUSE_AFTER_S, respond, of_error(error))

    async def _execute(self, task_id: str | None, content: bytes) -> Response:
        done: asyncio.Future[Response] = self._loop.create_future()
        self.start(task_id, content, lambda answer: None if done.done() else done.set_result(answer))
        return await done

    async def _run(self, task_id: str, request: Request) -> Result:
        """Raises LoopaiError."""
        done: asyncio.Future[Result | LoopaiError] = self._loop.create_future()
        self._traffic.submit(task_id, request, lambda what: None if done.done() else done.set_result(what))
        what = await done
        if isinstance(what, LoopaiError):
            raise what
        return what

    # -- many

    async def _run_patiently(self, task_id: str, request: Request) -> Result:
        """As `_run`, but an item of a batch waits for its turn where a single request would be refused."""
        give_up = self._loop.time() + _PATIENCE_S
        while True:
            try:
                return await self._run(task_id, request)
            except Busy:
                if self._loop.time() > give_up:
                    raise
            await asyncio.sleep(_TRY_AGAIN_S)

    async def _batch(self, task_id: str | None, content: bytes, caller: str) -> Response:
        try:
            body = jsonl.loads(content)
        except InputError as error:
            return problem(400, "json", error.message)
        if not isinstance(body, dict) or body.keys() != {"items"} or not isinstance(body["items"], list):
            return problem(422, "input", 'the body is {"items": [{"input": …, "id"?}]}', path="$")
        if len(body["items"]) > MAX_ITEMS:
            return problem(422, "input", f"more than {MAX_ITEMS} items", path="$.items")
        if refusal := self._too_many(caller, len(body["items"])):
            return refusal
        try:
            version = self._traffic.lane(self._traffic.choose(task_id)).artifact.version
        except LoopaiError as error:
            return of_error(error)
        items = iter(enumerate(body["items"]))
        lines: list[Any] = [None] * len(body["items"])

        async def work() -> None:
            for at, item in items:
                lines[at] = await self._item(task_id or "", item, version)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        return 200, list(_JSON), jsonl.encode({"results": lines})

    async def _item(self, task_id: str, item: Any, version: int) -> dict[str, Any]:
        """An item's line; a failed one says why in its own `error`."""
        fault = _fault(item, _ITEM, "an item")
        if fault is not None:
            refused = InputError(fault[0], path=fault[1])
            return Result(version, Request(None, _id(item)), refused=refused).line()
        request = Request(item["input"], item.get("id"))
        try:
            return (await self._run_patiently(task_id, request)).line()
        except InputError as error:
            return Result(version, request, refused=error).line()
        except LoopaiError as error:
            line = Result(version, request).line()
            return line | {"error": {"type": type(error).__name__, "message": error.message}}

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


def _route(path: str) -> tuple[str | None, bool] | None:
    """The task that a path names and whether it is for a batch; None for a path that executes nothing."""
    if path == "/execute":
        return None, False
    match = _PATHS.fullmatch(path)
    if match is None:
        return None
    return match[1] or match[2], match[3] == "batch"


def _fault(envelope: Any, allowed: frozenset[str], what: str) -> tuple[str, str] | None:
    if not isinstance(envelope, dict):
        return f"{what} is not an object with an input", "$"
    if "input" not in envelope:
        return f"{what} has no input", "$.input"
    unknown = envelope.keys() - allowed
    if unknown:
        return f"{what} has a member that nothing reads: {min(unknown)[:100]}", "$"
    return None


def _id(item: Any) -> Any:
    return item.get("id") if isinstance(item, dict) else None


def _response(result: Result) -> Response:
    """The contract's answer, or the problem that the program's failure is."""
    record = result.record
    assert record is not None
    if result.failure is not None:
        return of_error(
            result.failure,
            execution_id=record["execution_id"],
            task_id=record["task_id"],
            version=record["version"],
            error=record["error"],
        )
    body = {
        "output": record["output"],
        "latency_ms": record["latency_ms"],
        "execution_id": record["execution_id"],
        "task_id": record["task_id"],
        "version": record["version"],
    }
    for name in ("confidence", "abstained"):
        if name in record:
            body[name] = record[name]
    body["source"] = record["source"]
    return 200, _JSON, jsonl.encode(body)

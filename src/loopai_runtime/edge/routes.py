"""The edge's HTTP face: the execute routes are one bare ASGI path, the rest is Starlette."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, LoopaiError
from loopai_runtime.flows.execute import Request, Result
from loopai_runtime.http import body as bodies
from loopai_runtime.http.idempotency import Idempotency, Response
from loopai_runtime.http.problem import Headers, Refused, of_error, problem

if TYPE_CHECKING:
    from loopai_runtime.edge.metrics import Metrics
    from loopai_runtime.flows.serve import Traffic

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Door = Callable[[bytes | None], str | None]
"""Who a caller is, from the Authorization header; None for nobody that may enter."""

MAX_ITEMS = 1000
_AT_ONCE = 32  # items of a batch under way: a batch is not to crowd out single requests
_JSON: Headers = [(b"content-type", b"application/json")]
_PATHS = re.compile(r"/v1/execute/([^/]+)|/api/v1/tasks/([^/]+)/(execute|batch)")
_ENVELOPE = frozenset({"input", "task_id", "key"})
_ITEM = frozenset({"input", "id"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


class Routes:
    """The ASGI application: executes, or hands on to `pages`."""

    def __init__(self, traffic: Traffic, metrics: Metrics, door: Door, pages: App) -> None:
        self._traffic = traffic
        self._metrics = metrics
        self._door = door
        self._pages = pages
        self._idempotency = Idempotency()
        self._loop = asyncio.get_running_loop()

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
                answer = problem(401, "auth", "no key, or one that is not valid here")
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
            self._metrics.refused[499] += 1
            return
        status, answer_headers, content = answer
        if status >= 400:
            self._note(scope, headers, status, content)
        answer_headers = [*answer_headers, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": answer_headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(
        self, route: tuple[str | None, bool], headers: dict[bytes, bytes], caller: str, content: bytes
    ) -> Response:
        key = headers.get(b"idempotency-key")
        task_id, is_batch = route
        run = self._batch if is_batch else self._execute
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
        if made[0] in (503, 507):
            self._idempotency.fail(key, scope)
        elif not answer.done():
            answer.set_result(made)
        return made

    # -- one

    async def _execute(self, task_id: str | None, content: bytes) -> Response:
        try:
            envelope = jsonl.loads(content)
        except InputError as error:
            return problem(400, "json", error.message)
        fault = _fault(envelope, _ENVELOPE, "the body")
        named = envelope.get("task_id") if fault is None else None
        if named is not None and not isinstance(named, str):
            fault = ("task_id is not a text", "$.task_id")
        elif named is not None and task_id not in (None, named):
            fault = (f"task_id {named!r} is not the task of the path", "$.task_id")
        if fault is not None:
            return problem(422, "input", fault[0], path=fault[1])
        try:
            result = await self._run(self._traffic.choose(task_id or named), Request(envelope["input"]))
        except InputError as error:
            return of_error(error, task_id=task_id or named)
        except LoopaiError as error:
            return of_error(error)
        return _response(result)

    async def _run(self, task_id: str, request: Request) -> Result:
        """Raises LoopaiError."""
        done: asyncio.Future[Result | LoopaiError] = self._loop.create_future()

        def answered(what: Result | LoopaiError) -> None:
            if not done.done():
                done.set_result(what)

        self._traffic.submit(task_id, request, answered)
        what = await done
        if isinstance(what, LoopaiError):
            raise what
        return what

    # -- many

    async def _batch(self, task_id: str | None, content: bytes) -> Response:
        try:
            body = jsonl.loads(content)
        except InputError as error:
            return problem(400, "json", error.message)
        if not isinstance(body, dict) or body.keys() != {"items"} or not isinstance(body["items"], list):
            return problem(422, "input", 'the body is {"items": [{"input": …, "id"?}]}', path="$")
        if len(body["items"]) > MAX_ITEMS:
            return problem(422, "input", f"more than {MAX_ITEMS} items", path="$.items")
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
            return (await self._run(task_id, request)).line()
        except InputError as error:
            return Result(version, request, refused=error).line()
        except LoopaiError as error:
            line = Result(version, request).line()
            return line | {"error": {"type": type(error).__name__, "message": error.message}}

    def _note(self, scope: Scope, headers: dict[bytes, bytes], status: int, content: bytes) -> None:
        self._metrics.refused[status] += 1
        level = logging.WARNING if status >= 500 else logging.INFO
        if log.isEnabledFor(level):
            trace = headers.get(b"traceparent", b"").decode("ascii", "replace")[:100]
            detail = jsonl.loads(content).get("detail")
            extra = {"status": status, "method": scope["method"], "path": scope["path"], "traceparent": trace}
            log.log(level, "request refused: %s", detail, extra=extra)


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

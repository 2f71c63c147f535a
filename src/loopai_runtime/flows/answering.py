"""Requests of the execute routes, from the bytes of a body to the bytes of an answer: one, or a batch.

Whoever serves says over which `Traffic`, and who asks: an edge for its own tasks, the platform for each tenant's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import Busy, InputError, LoopaiError
from loopai_runtime.flows.execute import Request, Result
from loopai_runtime.http.idempotency import Idempotency
from loopai_runtime.http.problem import Headers, Response, of_error, problem

if TYPE_CHECKING:
    from loopai_runtime.flows.serve import Traffic

Respond = Callable[[Response], None]
Route = tuple[str | None, bool]
"""The task that a path names, None where it names none, and whether it is for a batch."""
TooMany = Callable[[int], Response | None]
"""The refusal of a caller who asks for so many executions; None where it may have them."""

MAX_ITEMS = 1000
_AT_ONCE = 32  # items of a batch under way: a batch is not to crowd out single requests
_PATIENCE_S, _TRY_AGAIN_S = 30.0, 0.01
_REFUSE_AFTER_S = 0.02
"""Clients that try again at once, on many connections, would take the time that the work needs."""
_JSON: Headers = [(b"content-type", b"application/json")]
_ENVELOPE = frozenset({"input", "task_id", "key"})
_ITEM = frozenset({"input", "id"})


class Answers:
    """Executes what callers send over one `Traffic`. Belongs to the loop that runs when it is made."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._idempotency = Idempotency()
        self._loop = asyncio.get_running_loop()

    async def answer(
        self, route: Route, caller: str, content: bytes, key: bytes | None, too_many: TooMany
    ) -> Response:
        """The answer to a body; to one that came with the same Idempotency-Key before, the one it had then.

        Raises Refused for a key that is none, or that came with another body.
        """
        task_id, is_batch = route
        if not is_batch and (refusal := too_many(1)):
            return refusal

        async def run() -> Response:
            return await (self._batch(task_id, content, too_many) if is_batch else self._execute(task_id, content))

        if key is None:
            return await run()
        scope = f"{caller} {route}"
        answer, is_first = self._idempotency.begin(key, scope, content)
        if not is_first:
            try:
                status, old, body = await asyncio.shield(answer)
            except asyncio.CancelledError:
                return problem(503, "busy", "the first request with this Idempotency-Key was not executed")
            return status, [*old, (b"idempotency-replayed", b"true")], body
        try:
            made = await run()
        except BaseException:
            self._idempotency.fail(key, scope)
            raise
        if made[0] in (429, 503, 507):
            self._idempotency.fail(key, scope)
        elif not answer.done():
            answer.set_result(made)
        return made

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
            request = Request(envelope["input"], key=envelope.get("key"))
            self._traffic.submit(self._traffic.choose(task_id or named), request, answered)
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

    async def _batch(self, task_id: str | None, content: bytes, too_many: TooMany) -> Response:
        try:
            body = jsonl.loads(content)
        except InputError as error:
            return problem(400, "json", error.message)
        if not isinstance(body, dict) or body.keys() != {"items"} or not isinstance(body["items"], list):
            return problem(422, "input", 'the body is {"items": [{"input": …, "id"?}]}', path="$")
        if len(body["items"]) > MAX_ITEMS:
            return problem(422, "input", f"more than {MAX_ITEMS} items", path="$.items")
        if refusal := too_many(len(body["items"])):
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

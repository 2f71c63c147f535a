"""How the platform's HTTP interface is declared: a table of operations, from which routes and OpenAPI are made."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import OperationalError
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from loopai_runtime import jsonl
from loopai_runtime.errors import AuthError, InputError, LoopaiError, StorageAway, StorageError, UsageError
from loopai_runtime.http import body as bodies
from loopai_runtime.http import problem as problems
from loopai_runtime.http.problem import Refused, of_error, problem
from loopai_runtime.signalr.logs import report

if TYPE_CHECKING:
    from starlette.requests import Request

    from loopai_runtime.central.access import Caller, Scope
    from loopai_runtime.central.platform import Platform

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be made: by whom, with what."""

    platform: Platform
    caller: Caller
    request: Request
    params: dict[str, str]
    query: dict[str, str]
    body: Any = None
    """An instance of the operation's `body`; the bytes, where it takes them raw."""


Handler = Callable[[Call], Awaitable[Response | BaseModel | dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path. Without `scope` anybody may call it that has a key."""

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    summary: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    examples: dict[str, Any] = field(default_factory=dict)
    """A `request` and a `response`, as the description of the interface shows them."""
    query: dict[str, Any] = field(default_factory=dict)
    """Parameters of the query, each with its JSON schema."""
    media: str = "application/json"
    """What a good answer is."""
    raw_body: bool = False
    gzip: bool = False
    """Whether the raw body may come compressed; it is given to the handler as it came."""
    max_body: int = bodies.MAX_BYTES
    is_counted: bool = True
    """Whether a call counts against its key's rate; where not, the handler sees to that."""


CURSOR = {"cursor": {"type": "string", "description": "`next` of the page before"}}


def routes(platform: Platform, operations: Iterable[Operation]) -> list[BaseRoute]:
    return [
        Route(each.path, _endpoint(platform, each), methods=[each.method], name=f"{each.method} {each.path}")
        for each in operations
    ]


def response_of(answer: problems.Response) -> Response:
    status, headers, content = answer
    return Response(content, status, {name.decode(): value.decode() for name, value in headers})


def _endpoint(platform: Platform, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def counted(request: Request) -> Response:
        began = time.perf_counter()
        response = await endpoint(request)
        platform.requests[response.status_code] += 1
        took_s = time.perf_counter() - began
        platform.latencies.labels(operation.method, operation.path).observe(took_s)
        # the path without its query, which may hold a key
        extra = {"status": response.status_code, "method": operation.method, "path": request.url.path[:300]}
        log.info("answered in %.1f ms", took_s * 1000, extra=extra)
        return response

    async def endpoint(request: Request) -> Response:
        try:
            call = await _call(platform, operation, request)
            answer = await operation.handler(call)
        except LoopaiError as error:
            if isinstance(error, StorageError):
                log.error("%s %s: %s", operation.method, operation.path, error)
            return response_of(of_error(error))
        except Refused as refused:
            status, headers, said = problem(refused.status, "request", refused.detail)
            return response_of((status, [*headers, *refused.headers], said))
        except bodies.Disconnected:
            return response_of(problem(499, "left", "the client went away"))
        except OperationalError as error:
            log.error("%s %s: %s", operation.method, operation.path, error.orig)
            return response_of(problem(503, StorageAway.kind, "the database does not answer"))
        except Exception as error:
            report(log, f"{operation.method} {operation.path}", error)
            return response_of(problem(500, "internal", "this is a fault of the platform; its log says more"))
        if isinstance(answer, Response):
            return answer
        shown = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
        return Response(jsonl.encode(shown), operation.status, media_type="application/json")

    return counted


async def _call(platform: Platform, operation: Operation, request: Request) -> Call:
    """Raises AuthError, Refused, InputError."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    caller = None
    if scheme.lower() == "bearer" and token.strip():
        caller = await platform.caller_of(token.strip(), request.client.host if request.client else "")
    if caller is None:
        raise AuthError("no key, or one that is not valid here")
    if operation.is_counted and (wait_s := platform.limits.take(caller)):
        headers = [(b"retry-after", b"%d" % math.ceil(wait_s))]
        raise Refused(429, "more than this key may ask for", headers)
    if operation.scope is not None and not caller.may(operation.scope):
        raise Refused(403, f"this key has not the scope {operation.scope.value}")
    body: Any = None
    if operation.raw_body or operation.body is not None:
        given = {name.encode(): value.encode() for name, value in request.headers.items()}
        if operation.gzip and given.get(b"content-encoding", b"").lower() == b"gzip":
            del given[b"content-encoding"]
        body = await bodies.read(given, request.receive, operation.max_body)
    if operation.body is not None:
        body = _parsed(operation.body, body)
    return Call(platform, caller, request, dict(request.path_params), dict(request.query_params), body)


def _parsed(kind: type[BaseModel], content: bytes) -> BaseModel:
    try:
        return kind.model_validate(jsonl.loads(content or b"{}"))  # nothing is the same as no members
    except InputError as error:
        raise UsageError(error.message) from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise InputError(fault["msg"], path="$" + "".join(f".{part}" for part in fault["loc"])) from None

"""Pages that take JSON and answer it, off the way of requests to programs.

What changes something takes JSON that says it is JSON, so no page in a browser can send it unasked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import Response

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, LoopaiError, UsageError
from loopai_runtime.http import body as bodies
from loopai_runtime.http.problem import Refused, of_error, problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


B = TypeVar("B", bound=Body)


def answering(work: Callable[[Request], Awaitable[dict[str, Any]]], status: int = 200) -> Any:
    async def answer(request: Request) -> Response:
        try:
            found = await work(request)
        except LoopaiError as error:
            code, headers, content = of_error(error)
        except Refused as refused:
            code, headers, content = problem(refused.status, "request", refused.detail)
        except Exception:
            log.exception("%s %s", request.method, request.url.path[:200])
            code, headers, content = problem(500, "internal", "this is a fault of the server; its log says more")
        else:
            return Response(jsonl.encode(found), status, media_type="application/json")
        return Response(content, code, {name.decode(): value.decode() for name, value in headers})

    return answer


async def parsed(kind: type[B], request: Request) -> B:
    """Raises Refused, UsageError, InputError."""
    given = {name.encode(): value.encode() for name, value in request.headers.items()}
    if given.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
        raise Refused(415, "send JSON, with content-type: application/json")
    content = await bodies.read(given, request.receive, MAX_BODY)
    try:
        return kind.model_validate(jsonl.loads(content))
    except InputError as error:
        raise UsageError(error.message) from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise InputError(fault["msg"], path="$" + "".join(f".{part}" for part in fault["loc"])) from None

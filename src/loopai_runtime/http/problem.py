"""Errors on the wire: `application/problem+json` (RFC 9457), made from the one tree of errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl

if TYPE_CHECKING:
    from loopai_runtime.errors import LoopaiError

Headers = list[tuple[bytes, bytes]]
Response = tuple[int, Headers, bytes]
"""Status, headers without content-length, body."""

RETRY_AFTER_S = 1

SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "path": {"type": "string", "description": "JSON path of the fault in the input"},
    },
    "required": ["type", "title", "status", "detail"],
}
"""Of a problem document, for the pages of OpenAPI."""


class Refused(Exception):
    """A request that HTTP itself refuses, before any of the library's errors: a status and what to say."""

    def __init__(self, status: int, detail: str, headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or []


def problem(status: int, kind: str, detail: str, *, retry_after_s: int = RETRY_AFTER_S, **more: Any) -> Response:
    """Status, headers and body of a problem document; `more` are further members, None ones left out."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Client Closed Request" if status == 499 else "Error"
    body = {"type": f"urn:loopai:problem:{kind}", "title": title, "status": status, "detail": detail}
    body |= {name: value for name, value in more.items() if value is not None}
    headers = [(b"content-type", b"application/problem+json")]
    if status in (429, 503):
        headers.append((b"retry-after", b"%d" % retry_after_s))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="loopai"'))
    return status, headers, jsonl.encode(body)


def of_error(error: LoopaiError, /, **more: Any) -> Response:
    """The problem document of a library error; its hint and the JSON path of an input's fault go along."""
    path = getattr(error, "path", None)
    return problem(error.http_status, error.kind, error.message, path=path, hint=error.hint, **more)

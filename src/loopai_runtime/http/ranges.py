"""Parts of one body: `Range`, `If-Range`, and the validators that go with them (RFC 9110)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,15})-([0-9]{0,15})[ \t]*")


class Unsatisfiable(Exception):
    """A range of which the body has no byte: 416."""


def etag_of(sha256: str) -> str:
    return f'"{sha256}"'


def matches(header: str | None, etag: str) -> bool:
    """Whether an `If-None-Match` names `etag`."""
    if header is None:
        return False
    return header.strip() == "*" or etag in (each.strip().removeprefix("W/") for each in header.split(","))


def repr_digest(content: bytes) -> str:
    """The value of `Repr-Digest` (RFC 9530) of the whole of a body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def asked(headers: Mapping[str, str], size: int, etag: str) -> tuple[int, int] | None:
    """The part that is asked for, from a byte up to another one; None: the whole.

    More ranges than one, and what is no range, count as not there; so does one about another version of the body.
    Raises Unsatisfiable.
    """
    match = _ONE_RANGE.fullmatch(headers.get("range", ""))
    if match is None or match[1] == match[2] == "":
        return None
    if headers.get("if-range", etag).strip() != etag:
        return None
    if not match[1]:
        wanted = int(match[2])
        if wanted == 0 or size == 0:
            raise Unsatisfiable
        return max(0, size - wanted), size
    start = int(match[1])
    end = min(int(match[2]) + 1, size) if match[2] else size
    if match[2] and int(match[2]) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, end

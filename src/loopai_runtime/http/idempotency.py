"""`Idempotency-Key`: the same request sent again gets the answer it got, and is executed once.

In memory alone: the last 100,000 keys, for an hour at most, gone with the process. That makes retries after a lost
answer harmless; it is no ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

from loopai_runtime.http.problem import Refused, Response

KEYS = 100_000
SECONDS = 3600.0
MAX_KEY_BYTES = 255


@dataclass(slots=True)
class _Seen:
    body: bytes
    since: float
    answer: asyncio.Future[Response]


class Idempotency:
    """Answers by key; a key belongs to one path, one caller and one body."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def begin(self, key: bytes, scope: str, body: bytes) -> tuple[asyncio.Future[Response], bool]:
        """The future of the answer, and whether the caller is the first and has to fulfil it.

        Raises Refused (400, 422) for a bad key, or one that came with another body before.
        """
        if not key or len(key) > MAX_KEY_BYTES:
            raise Refused(400, f"an Idempotency-Key has from 1 to {MAX_KEY_BYTES} bytes")
        now = time.monotonic()
        self._forget_old(now)
        name = blake2b(scope.encode() + b"\0" + key, digest_size=16).digest()
        digest = blake2b(body, digest_size=16).digest()
        seen = self._seen.get(name)
        if seen is None:
            answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
            self._seen[name] = _Seen(digest, now, answer)
            return answer, True
        if seen.body != digest:
            raise Refused(422, "this Idempotency-Key came with another body before")
        return seen.answer, False

    def fail(self, key: bytes, scope: str) -> None:
        """Forget a key whose request was not executed, so that it may be tried again."""
        name = blake2b(scope.encode() + b"\0" + key, digest_size=16).digest()
        if seen := self._seen.pop(name, None):
            seen.answer.cancel()

    def _forget_old(self, now: float) -> None:
        while self._seen:
            name, oldest = next(iter(self._seen.items()))
            if len(self._seen) < KEYS and now - oldest.since < SECONDS:
                return
            del self._seen[name]

"""Clients for Python: `Client` for plain code, `AsyncClient` for asyncio. Both retry, and execute once.

    with Client("http://127.0.0.1:8080") as client:
        client.execute("spam-detection", {"text": "Buy now!"}).output

Refused connections, 429 and 503 are tried again, after what `Retry-After` says or with jitter. Each request has an
Idempotency-Key, so that one whose answer was lost is not executed a second time.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import httpx
import stamina

from loopai_runtime.errors import AuthError, Busy, InputError, LoopaiError, NotFound, ProgramError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

LOCAL = "http://127.0.0.1:8080"
_TRIED_AGAIN = frozenset({429, 503})
_ERRORS: dict[int, type[LoopaiError]] = {
    401: AuthError,
    404: NotFound,
    422: InputError,
    503: Busy,
    507: StorageError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered: `output` is None where it `abstained`."""

    output: Any
    latency_ms: float
    execution_id: str
    task_id: str
    version: int
    source: str
    confidence: float | None = None
    abstained: bool = False


class _Again(Exception):
    """A response that asks for another try, and after how many seconds."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(str(response.status_code))
        self.response = response
        after = response.headers.get("retry-after", "")
        self.after = float(after) if after.isdigit() else None


def _whether_again(error: Exception) -> bool | float:
    if isinstance(error, _Again):
        return True if error.after is None else error.after
    return isinstance(error, httpx.TransportError)


class _Face:
    """What both clients share: how a request looks, what a response means."""

    def __init__(self, url: str, api_key: str | None, timeout_s: float, attempts: int) -> None:
        self._attempts = attempts
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._settings: dict[str, Any] = {"base_url": url.rstrip("/"), "headers": headers, "timeout": timeout_s}

    def _tries(self) -> Any:
        return stamina.retry_context(on=_whether_again, attempts=self._attempts, timeout=None)

    @staticmethod
    def _headers() -> dict[str, str]:
        return {"idempotency-key": str(uuid.uuid4())}

    @staticmethod
    def _ask_again(response: httpx.Response) -> httpx.Response:
        if response.status_code in _TRIED_AGAIN:
            raise _Again(response)
        return response


def _answer(response: httpx.Response) -> Answer:
    return Answer(**_body(response))


def _results(response: httpx.Response) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = _body(response)["results"]
    return results


def _body(response: httpx.Response) -> dict[str, Any]:
    """Raises the error of the library that a problem document is."""
    try:
        body: dict[str, Any] = response.json()
    except ValueError:
        raise LoopaiError(f"HTTP {response.status_code} without JSON", where=str(response.url)) from None
    if response.is_success:
        return body
    detail = str(body.get("detail", f"HTTP {response.status_code}"))
    if "error" in body:
        raise ProgramError(body["error"]["message"], type=body["error"]["type"], line=body["error"].get("line"))
    if response.status_code == 422:
        raise InputError(detail, path=body.get("path"), hint=body.get("hint"))
    kind = _ERRORS.get(response.status_code, LoopaiError)
    raise kind(detail, where=str(response.url), hint=body.get("hint"))


def _items(inputs: Sequence[Any]) -> dict[str, Any]:
    return {"items": [{"input": value} for value in inputs]}


class Client(_Face):
    """For plain code; use it in a `with`, or `close` it. `attempts` counts all tries of a request."""

    def __init__(
        self, url: str = LOCAL, *, api_key: str | None = None, timeout_s: float = 10.0, attempts: int = 5
    ) -> None:
        super().__init__(url, api_key, timeout_s, attempts)
        self._http = httpx.Client(**self._settings)

    def execute(self, task_id: str, value: Any) -> Answer:
        """One answer.

        Raises InputError, NotFound, AuthError, ProgramError, Busy, StorageError, httpx.TransportError.
        """
        return _answer(self._post(f"/v1/execute/{task_id}", {"input": value}))

    def batch(self, task_id: str, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """A result object for each of at most 1000 inputs, in order; a failed one has `error`."""
        return _results(self._post(f"/api/v1/tasks/{task_id}/batch", _items(inputs)))

    def ready(self) -> dict[str, Any]:
        """What `/readyz` says, ready or not."""
        body: dict[str, Any] = self._http.get("/readyz").json()
        return body

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = self._headers()
        try:
            for attempt in self._tries():
                with attempt:
                    return self._ask_again(self._http.post(path, json=body, headers=headers))
        except _Again as given_up:
            return given_up.response
        raise AssertionError("a retry ended without a result")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Face):
    """For asyncio; use it in an `async with`, or `aclose` it."""

    def __init__(
        self, url: str = LOCAL, *, api_key: str | None = None, timeout_s: float = 10.0, attempts: int = 5
    ) -> None:
        super().__init__(url, api_key, timeout_s, attempts)
        self._http = httpx.AsyncClient(**self._settings)

    async def execute(self, task_id: str, value: Any) -> Answer:
        """One answer. Raises as `Client.execute` does."""
        return _answer(await self._post(f"/v1/execute/{task_id}", {"input": value}))

    async def batch(self, task_id: str, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """A result object for each of at most 1000 inputs, in order; a failed one has `error`."""
        return _results(await self._post(f"/api/v1/tasks/{task_id}/batch", _items(inputs)))

    async def ready(self) -> dict[str, Any]:
        """What `/readyz` says, ready or not."""
        body: dict[str, Any] = (await self._http.get("/readyz")).json()
        return body

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = self._headers()
        try:
            async for attempt in self._tries():
                with attempt:
                    return self._ask_again(await self._http.post(path, json=body, headers=headers))
        except _Again as given_up:
            return given_up.response
        raise AssertionError("a retry ended without a result")

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

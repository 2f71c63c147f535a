"""JSON posted to a service: one deadline over all attempts, and errors that say what to do."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, OracleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

ATTEMPTS = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 20.0
_SAID = 200  # characters of a service's own words that are shown

T = TypeVar("T")


class Again(OracleError):
    """An attempt failed in a way that may pass; `after_s` is when to try again, where the service says."""

    def __init__(self, message: str, *, billed: bool = False, after_s: float | None = None) -> None:
        super().__init__(message, billed=billed)
        self.after_s = after_s


class Refusal(OracleError):
    """The service refuses the request as it is: a status of 4xx, and its words."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message, why="answer")
        self.status = status
        self.said = said


def patiently(attempt: Callable[[float], T], timeout_s: float) -> T:
    """What `attempt(seconds left)` answers, tried again after `Again` while there is time. Raises OracleError."""
    deadline = time.monotonic() + timeout_s
    for number in range(ATTEMPTS):
        try:
            return attempt(max(0.001, deadline - time.monotonic()))
        except Again as again:
            pause = _FIRST_WAIT_S * 2**number * random.uniform(0.5, 1.5)  # noqa: S311  so that not all come back at once
            wait_s = again.after_s if again.after_s is not None else pause
            last = number == ATTEMPTS - 1 or wait_s > _LONGEST_WAIT_S
            if last or time.monotonic() + wait_s >= deadline:
                raise
            time.sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")


class Post:
    """Posts to one address. Safe to use from several threads; `secret` never stands in an error."""

    def __init__(self, url: str, headers: Mapping[str, str], place: str, secret: str | None = None) -> None:
        self._url = url
        self._headers = {**headers, "content-type": "application/json"}
        self._place = place
        self._secret = secret
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def send(self, body: Any, seconds: float) -> Any:
        """The JSON that one attempt is answered with. Raises OracleError, of which Again and Refusal."""
        import httpx

        try:
            response = self._http().post(self._url, content=jsonl.compact(body), timeout=seconds)
        except httpx.TimeoutException:
            raise OracleError(f"no answer from {self._place} within {seconds:.3g} s", billed=True) from None
        except httpx.ConnectError as error:
            raise Again(f"{self._place} cannot be reached: {_why(error)}") from None
        except httpx.HTTPError as error:
            raise Again(f"{self._place}: {_why(error)}", billed=True) from None
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise OracleError(f"{self._place}: {error}") from None
        if response.status_code != 200:
            raise self._failure(response)
        try:
            return jsonl.loads(response.content)
        except InputError as error:
            raise OracleError(f"{self._place} answers what is {error.message}", billed=True) from None

    def _http(self) -> httpx.Client:
        import httpx

        from loopai_runtime.outbound import Outbound

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(transport=Outbound(), headers=self._headers)
            return self._client

    def _failure(self, response: httpx.Response) -> OracleError:
        status, said = response.status_code, self._words(response)
        text = f"{self._place} answers {status}" + (f": {said}" if said else "")
        if status == 429 or status >= 500:
            return Again(text, after_s=_retry_after(response.headers.get("retry-after")))
        if status in (401, 403):
            return OracleError(text, hint="the key is `api_key` of the oracle, best as ${NAME} of the environment")
        if status in (404, 405) or status < 400:
            return OracleError(text, hint="the address is `url` of the oracle")
        return Refusal(text, status, said)

    def _words(self, response: httpx.Response) -> str:
        """What the service says itself, as far as it is text for people."""
        try:
            body = jsonl.loads(response.content)
        except InputError:
            return ""
        for name in ("error", "detail", "message"):
            if isinstance(body, dict) and name in body:
                body = body[name]
        text = body if isinstance(body, str) else ""
        if self._secret:
            text = text.replace(self._secret, "…")
        return "".join(c if c.isprintable() else " " for c in text)[:_SAID]


def _why(error: Exception) -> str:
    text = str(error)
    return "connection refused" if "refused" in text.lower() else text[:_SAID] or type(error).__name__


def _retry_after(text: str | None) -> float | None:
    """Seconds; a date is passed over."""
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None

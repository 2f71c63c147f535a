"""The platform as its clients see it: one place for its address, the key, and what an answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpx

from loopai_runtime import jsonl
from loopai_runtime._version import __version__
from loopai_runtime.errors import (
    AuthError,
    Busy,
    ConfigError,
    Fault,
    InputError,
    LoopaiError,
    NotFound,
    Unreachable,
)
from loopai_runtime.outbound import Outbound, place_of

if TYPE_CHECKING:
    from types import TracebackType

    from loopai_runtime.config import Config

TIMEOUT_S = 30.0
MAX_BODY = 80 * 2**20
_ERRORS: dict[int, type[LoopaiError]] = {401: AuthError, 403: AuthError, 404: NotFound, 429: Busy, 503: Busy}


class PlatformClient:
    """Raises ConfigError where `cloud.api_url` or its key is missing; its calls raise Unreachable, AuthError,
    NotFound, Busy, InputError. Use it in a `with`, or `close` it."""

    def __init__(self, config: Config) -> None:
        url, key = config.cloud.api_url, config.cloud.api_key
        if url is None or key is None:
            missing = "cloud.api_url" if url is None else "cloud.api_key"
            raise ConfigError([Fault(f"{missing} is not set: there is no platform to talk to")])
        self._place = place_of(url)
        headers = {"authorization": f"Bearer {key.get_secret_value()}", "user-agent": f"loopai/{__version__}"}
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT_S, transport=Outbound(MAX_BODY), follow_redirects=False
        )

    # --- what there is

    def tasks(self) -> list[str]:
        """The ids of all tasks of the tenant."""
        found, cursor = [], None
        while True:
            page = self.get("/api/v1/tasks", {"cursor": cursor} if cursor else None)
            found += [str(each["task_id"]) for each in page["tasks"]]
            if (cursor := page.get("next")) is None:
                return found

    def task(self, task_id: str) -> dict[str, Any]:
        return self.get(f"/api/v1/tasks/{task_id}")

    def deployment(self, deployment_id: str) -> dict[str, Any]:
        return self.get(f"/api/v1/deployments/{deployment_id}")

    def versions(self, task_id: str, etag: str | None = None) -> tuple[list[dict[str, Any]], str | None] | None:
        """The versions of a task and the list's ETag; None where the list is still the one of `etag`."""
        path = f"/api/v1/artifacts/{task_id}/versions"
        response = self._send("GET", path, headers={"if-none-match": etag} if etag else None)
        if response.status_code == 304:
            return None
        page = self._read(response)
        found, first = list(page["versions"]), response.headers.get("etag")
        while (cursor := page.get("next")) is not None:
            page = self.get(path, {"cursor": cursor})
            found += page["versions"]
        return found, first

    def download(self, task_id: str, version: int) -> bytes:
        response = self._send("GET", f"/api/v1/artifacts/{task_id}/v{version}/download")
        if response.status_code != 200:
            self._read(response)
        return response.content

    def upload(self, task_id: str, content: bytes) -> dict[str, Any]:
        return self._read(
            self._send(
                "POST",
                f"/api/v1/artifacts/{task_id}/upload",
                content=content,
                headers={"content-type": "application/zip"},
            )
        )

    # --- plainly

    def get(self, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._read(self._send("GET", path, params=query))

    def post(self, path: str, body: Any) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        return self._read(self._send("POST", path, content=jsonl.encode(body), headers=headers))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Unreachable(
                f"{self._place} does not answer: {str(error) or type(error).__name__}",
                hint="cloud.api_url says where the platform is",
            ) from None

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Unreachable(f"{self._place} answers {response.status_code} as no platform does")
        if response.is_success:
            return body
        said = str(body.get("detail", f"HTTP {response.status_code}"))[:500]
        hint = body.get("hint")
        if response.status_code == 422:
            raise InputError(said, path=body.get("path"), hint=hint)
        kind = _ERRORS.get(response.status_code, Unreachable if response.status_code >= 500 else LoopaiError)
        raise kind(said, where=self._place, hint=hint)

"""The platform as its clients see it: one place for its address, the key, and what an answer means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

import httpx

from loopai_runtime import jsonl
from loopai_runtime._version import __version__
from loopai_runtime.artifacts.puller import Piece
from loopai_runtime.errors import (
    AuthError,
    Busy,
    ConfigError,
    Fault,
    InputError,
    LoopaiError,
    NotFound,
    Unreachable,
    UsageError,
)
from loopai_runtime.outbound import Outbound, place_of

if TYPE_CHECKING:
    from types import TracebackType

    from loopai_runtime.config import Config

TIMEOUT_S = 30.0
UPLOAD_S = 600.0
MAX_BODY = 52 * 2**20
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_ERRORS: dict[int, type[LoopaiError]] = {
    400: UsageError,
    401: AuthError,
    403: AuthError,
    404: NotFound,
    429: Busy,
    503: Busy,
}


class PlatformClient:
    """Raises ConfigError where `cloud.api_url` or its key is missing; its calls raise Unreachable, AuthError,
    NotFound, Busy, InputError. Use it in a `with`, or `close` it."""

    def __init__(self, config: Config) -> None:
        url, key = config.cloud.api_url, config.cloud.api_key
        if url is None or key is None:
            missing = "cloud.api_url" if url is None else "cloud.api_key"
            how = "--url or LOOPAI_CLOUD__API_URL" if url is None else "--api-key or LOOPAI_API_KEY"
            raise ConfigError(
                [Fault(f"{missing} is not set: there is no platform to talk to")],
                hint=f"give {how}, or set it with loopai config set {missing} …",
            )
        self.place = place_of(url)
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

    def describe(self, task_id: str, version: int) -> dict[str, Any]:
        """What the platform says that a version is."""
        return self.get(f"/api/v1/artifacts/{task_id}/v{version}/metadata")

    def part(self, task_id: str, version: int, sha256: str, start: int, end: int) -> Piece:
        """The bytes of a version's bundle from `start` up to `end`; the whole, from whoever knows no parts."""
        headers = {"range": f"bytes={start}-{end - 1}", "if-range": f'"{sha256}"'}
        response = self._send("GET", f"/api/v1/artifacts/{task_id}/v{version}/download", headers=headers)
        if response.status_code == 200:
            return Piece(response.content, 0, len(response.content))
        if response.status_code != 206:
            self._read(response)
            raise self._no_platform(response)
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[2]) + 1 - int(match[1]) != len(response.content):
            raise self._no_platform(response)
        return Piece(response.content, int(match[1]), int(match[3]))

    def upload(self, task_id: str, content: bytes) -> dict[str, Any]:
        """Publish a bundle: the answer's `version` and `sha256`, and whether it is `created` or was there."""
        response = self._send(
            "POST",
            f"/api/v1/artifacts/{task_id}/upload",
            content=content,
            headers={"content-type": "application/zip"},
            timeout=UPLOAD_S,
        )
        said = self._read(response)
        if not isinstance(said.get("version"), int) or not isinstance(said.get("sha256"), str):
            raise self._no_platform(response)
        return {**said, "created": response.status_code == 201}

    # --- plainly

    def get(self, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._read(self._send("GET", path, params=query))

    def post(self, path: str, body: Any) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        return self._read(self._send("POST", path, content=jsonl.encode(body), headers=headers))

    def delete(self, path: str) -> dict[str, Any]:
        return self._read(self._send("DELETE", path))

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
                f"{self.place} does not answer: {str(error) or type(error).__name__}",
                hint="cloud.api_url says where the platform is",
            ) from None

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self._no_platform(response)
        if response.is_success:
            return body
        said = str(body.get("detail", f"HTTP {response.status_code}"))[:500]
        hint = body.get("hint")
        if response.status_code == 422:
            raise InputError(said, path=body.get("path"), hint=hint)
        kind = _ERRORS.get(response.status_code, Unreachable if response.status_code >= 500 else LoopaiError)
        raise kind(said, where=self.place, hint=hint)

    def _no_platform(self, response: httpx.Response) -> Unreachable:
        return Unreachable(f"{self.place} answers {response.status_code} as no platform does")

"""One upload over HTTP, by the rules for places that may be hostile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime._version import __version__

if TYPE_CHECKING:
    from loopai_runtime.config import Config

PATH = "/api/v1/telemetry"
TIMEOUT_S = 60.0


class Answer(NamedTuple):
    """What came back; of an exchange that failed, `status` 0 and why."""

    status: int
    body: bytes = b""
    retry_after: str | None = None
    why: str = ""


Send = Callable[[bytes, Mapping[str, str]], Answer]


def sender(config: Config, timeout_s: float = TIMEOUT_S) -> Send:
    """Posts to the platform that the configuration names."""
    import httpx

    from loopai_runtime.outbound import Outbound

    assert config.cloud.api_url is not None
    assert config.cloud.api_key is not None
    url, key = config.cloud.api_url + PATH, config.cloud.api_key.get_secret_value()
    own = {"Authorization": f"Bearer {key}", "User-Agent": f"loopai-runtime/{__version__}"}
    client = httpx.Client(transport=Outbound(), timeout=timeout_s, trust_env=False)

    def send(body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            response = client.post(url, content=body, headers={**headers, **own})
        except httpx.HTTPError as error:
            return Answer(0, why=str(error) or type(error).__name__)
        return Answer(response.status_code, response.content, response.headers.get("Retry-After"))

    return send

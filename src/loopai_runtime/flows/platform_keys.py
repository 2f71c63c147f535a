"""The platform's keys, asked for over HTTP with an admin's key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.flows.platform import PlatformClient

_AT = "/api/v1/keys"


class PlatformKeys:
    """Raises what `PlatformClient` raises."""

    def __init__(self, client: PlatformClient) -> None:
        self._client = client

    def create(
        self, name: str, scopes: Sequence[str], deployment_id: str | None, rate_per_minute: float | None
    ) -> tuple[str, str]:
        """The id of a new key, and the key, which is shown this once."""
        asked = {"name": name, "scopes": list(scopes), "deployment_id": deployment_id}
        made = self._client.post(_AT, asked | {"rate_per_minute": rate_per_minute})
        return str(made["id"]), str(made["key"])

    def list(self) -> list[dict[str, Any]]:
        return list(self._client.get(_AT)["keys"])

    def rotate(self, key_id: str) -> tuple[str, str]:
        """Another key of the same kind; the old one goes on until it is revoked."""
        made = self._client.post(f"{_AT}/{quote(key_id, safe='')}/rotate", {})
        return str(made["id"]), str(made["key"])

    def revoke(self, key_id: str) -> None:
        self._client.delete(f"{_AT}/{quote(key_id, safe='')}")

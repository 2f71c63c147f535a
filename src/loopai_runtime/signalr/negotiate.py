"""The answer to `POST …/negotiate`: who you are here, and how you may connect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopai_runtime.signalr.options import LONG_POLLING, SERVER_SENT_EVENTS, WEBSOCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopai_runtime.signalr.connection import Connection
    from loopai_runtime.signalr.options import Options

_HIGHEST_VERSION = 1
_FORMATS = {
    WEBSOCKETS: ["Text", "Binary"],
    SERVER_SENT_EVENTS: ["Text"],
    LONG_POLLING: ["Text", "Binary"],
}


def version_of(query: Mapping[str, str]) -> int:
    """The version to answer with, 0 without one in the query. Raises ValueError with what to answer instead."""
    asked = query.get("negotiateversion", "0")
    try:
        version = int(asked)
    except ValueError:
        raise ValueError("The client requested a non-integer protocol version.") from None
    if version < 0:
        raise ValueError(
            f"The client requested version '{version}', but the server does not support this version."
        )
    return min(version, _HIGHEST_VERSION)


def wants_stateful(query: Mapping[str, str]) -> bool:
    """Whether the client asks for stateful reconnect."""
    return query.get("usestatefulreconnect", "").strip().lower() == "true"


def answer(connection: Connection, version: int, options: Options, *, stateful: bool) -> dict[str, Any]:
    """In version 0 the id is all there is, so there it is the secret as well."""
    found: dict[str, Any] = {"negotiateVersion": version, "connectionId": connection.id}
    if version:
        found["connectionToken"] = connection.token
    if stateful:
        found["useStatefulReconnect"] = True
    transports = [{"transport": name, "transferFormats": _FORMATS[name]} for name in options.transports]
    return found | {"availableTransports": transports}

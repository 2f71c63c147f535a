"""The first exchange of a connection: which encoding, which version. Always JSON, whatever follows."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from loopai_runtime.signalr.errors import ProtocolError
from loopai_runtime.signalr.protocol.framing import SEPARATOR

VERSIONS = (0, 1, 2)
"""2 is what clients send who asked for stateful reconnect; 0 is what the oldest ones send."""


class HandshakeRequest(NamedTuple):
    """What the client wants to speak."""

    protocol: str
    version: int


def write_request(request: HandshakeRequest) -> bytes:
    """A whole frame."""
    return orjson.dumps({"protocol": request.protocol, "version": request.version}) + SEPARATOR


def read_request(payload: bytes) -> HandshakeRequest:
    """Raises ProtocolError."""
    found = _object(payload)
    protocol, version = found.get("protocol"), found.get("version")
    if not isinstance(protocol, str):
        raise ProtocolError("Missing required property 'protocol'.")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ProtocolError("Missing required property 'version'.")
    return HandshakeRequest(protocol, version)


def write_response(error: str | None = None) -> bytes:
    """A whole frame."""
    return orjson.dumps({} if error is None else {"error": error}) + SEPARATOR


def read_response(payload: bytes) -> str | None:
    """The error, if there was one. Raises ProtocolError."""
    found = _object(payload)
    if "type" in found:
        raise ProtocolError("Expected a handshake response from the server.")
    error = found.get("error")
    return None if error is None else str(error)


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(payload)
    except ValueError:
        raise ProtocolError("The handshake is not JSON.") from None
    if not isinstance(found, dict):
        raise ProtocolError("The handshake is not a JSON object.")
    return found

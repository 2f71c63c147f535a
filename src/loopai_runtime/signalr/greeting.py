"""The hub's side of the handshake: which encoding it will be, or why none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.signalr.errors import ProtocolError
from loopai_runtime.signalr.protocol import handshake
from loopai_runtime.signalr.protocol.codecs import codec_named

if TYPE_CHECKING:
    from loopai_runtime.signalr.protocol.messages import Codec

FAILED = "An unexpected error occurred during connection handshake."


def choose(payload: bytes, *, text_only: bool, detailed: bool) -> Codec:
    """What the client asks for. Raises ProtocolError with what to answer instead, as ASP.NET Core says it."""
    try:
        wanted = handshake.read_request(payload)
    except ProtocolError as exc:
        raise ProtocolError(f"{FAILED} InvalidDataException: {exc}" if detailed else FAILED) from None
    codec = codec_named(wanted.protocol)
    if codec is None:
        raise ProtocolError(f"The protocol '{wanted.protocol}' is not supported.")
    if codec.binary and text_only:
        raise ProtocolError(
            f"Cannot use the '{codec.name}' protocol on the current transport. "
            "The transport does not support 'Binary' transfer format."
        )
    if wanted.version not in handshake.VERSIONS:
        raise ProtocolError(
            f"The server does not support version {wanted.version} of the '{wanted.protocol}' protocol."
        )
    return codec

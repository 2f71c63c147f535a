"""Which encodings there are here."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from loopai_runtime.signalr.protocol.json_codec import JsonCodec

if TYPE_CHECKING:
    from loopai_runtime.signalr.protocol.messages import Codec


@cache
def codec_named(name: str) -> Codec | None:
    """`json`, or `messagepack` where `msgpack` is installed."""
    if name == JsonCodec.name:
        return JsonCodec()
    if name != "messagepack":
        return None
    try:
        from loopai_runtime.signalr.protocol.msgpack_codec import MsgpackCodec
    except ImportError:
        return None
    return MsgpackCodec()

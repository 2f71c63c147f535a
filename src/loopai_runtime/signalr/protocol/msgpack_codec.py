"""Messages as MessagePack arrays, each after its length. Needs `msgpack`, which only this module imports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgpack

from loopai_runtime.signalr.errors import ProtocolError
from loopai_runtime.signalr.protocol.framing import with_length
from loopai_runtime.signalr.protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Message,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
    Type,
)

_ERROR, _VOID, _RESULT = 1, 2, 3
_TIMES_AS_DATETIME = 3


class MsgpackCodec:
    """The encoding `messagepack`. Maps have keys of text, times are UTC, other extension types are refused."""

    name = "messagepack"
    binary = True

    def encode(self, message: Message) -> bytes:
        try:
            return with_length(msgpack.packb(_written(message), datetime=True, default=_plain))
        except (TypeError, OverflowError, RecursionError) as exc:
            raise ValueError(str(exc)) from None

    def decode(self, payload: bytes) -> Message | None:
        try:
            found = msgpack.unpackb(payload, timestamp=_TIMES_AS_DATETIME, ext_hook=_no_extension)
        except ProtocolError:
            raise
        # Beside its own errors the library lets out ValueError, TypeError (a key that cannot be hashed),
        # OverflowError (a time out of range) and, in its Python version, RecursionError.
        except Exception:
            raise ProtocolError("Reading the message as MessagePack failed.") from None
        if not isinstance(found, list) or not found:
            raise ProtocolError("Reading array length for 'message' failed.")
        try:
            read = _READERS.get(Type(_of(found, 0, "messageType", int)))
        except ValueError:
            return None
        return read(found) if read else None


def _written(message: Message) -> list[Any]:
    match message:
        case Invocation():
            return [
                1,
                message.headers,
                message.invocation_id,
                message.target,
                message.arguments,
                message.stream_ids,
            ]
        case StreamItem():
            return [2, message.headers, message.invocation_id, message.item]
        case Completion() if message.error is not None:
            return [3, message.headers, message.invocation_id, _ERROR, message.error]
        case Completion() if message.has_result:
            return [3, message.headers, message.invocation_id, _RESULT, message.result]
        case Completion():
            return [3, message.headers, message.invocation_id, _VOID]
        case StreamInvocation():
            return [
                4,
                message.headers,
                message.invocation_id,
                message.target,
                message.arguments,
                message.stream_ids,
            ]
        case CancelInvocation():
            return [5, message.headers, message.invocation_id]
        case Ping():
            return [6]
        case Close():
            return [7, message.error, message.allow_reconnect]
        case Ack():
            return [8, message.sequence_id]
        case Sequence():
            return [9, message.sequence_id]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):  # only one without a zone gets here
        return value.isoformat()
    raise TypeError(f"Type is not MessagePack serializable: {type(value).__name__}")


def _no_extension(code: int, _data: bytes) -> Any:
    raise ProtocolError(f"Extension type {code} is not supported.")


def _invocation(found: list[Any]) -> Message:
    return Invocation(
        _text(found, 3, "target"),
        _of(found, 4, "arguments", list),
        _of(found, 2, "invocationId", str, optional=True) or None,
        _stream_ids(found),
        _headers(found),
    )


def _stream_invocation(found: list[Any]) -> Message:
    arguments = _of(found, 4, "arguments", list)
    return StreamInvocation(_id(found), _text(found, 3, "target"), arguments, _stream_ids(found), _headers(found))


def _stream_item(found: list[Any]) -> Message:
    return StreamItem(_id(found), _at(found, 3, "item"), _headers(found))


def _completion(found: list[Any]) -> Message:
    kind = _of(found, 3, "resultKind", int)
    if kind == _ERROR:
        return Completion(_id(found), error=_of(found, 4, "error", str), headers=_headers(found))
    if kind == _RESULT:
        return Completion(_id(found), _at(found, 4, "result"), has_result=True, headers=_headers(found))
    if kind == _VOID:
        return Completion(_id(found), headers=_headers(found))
    raise ProtocolError("Invalid invocation result kind.")


def _close(found: list[Any]) -> Message:
    allow = _of(found, 2, "allowReconnect", bool, optional=True) if len(found) > 2 else False
    return Close(_of(found, 1, "error", str, optional=True), bool(allow))


_READERS: dict[Type, Any] = {
    Type.INVOCATION: _invocation,
    Type.STREAM_ITEM: _stream_item,
    Type.COMPLETION: _completion,
    Type.STREAM_INVOCATION: _stream_invocation,
    Type.CANCEL_INVOCATION: lambda found: CancelInvocation(_id(found), _headers(found)),
    Type.PING: lambda _found: Ping(),
    Type.CLOSE: _close,
    Type.ACK: lambda found: Ack(_sequence_id(found)),
    Type.SEQUENCE: lambda found: Sequence(_sequence_id(found)),
}


def _at(found: list[Any], index: int, name: str) -> Any:
    if index >= len(found):
        raise ProtocolError(f"Reading '{name}' failed.")
    return found[index]


def _of(found: list[Any], index: int, name: str, kind: type, *, optional: bool = False) -> Any:
    value = _at(found, index, name)
    if optional and value is None:
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise ProtocolError(f"Reading '{name}' as {_NAMES[kind]} failed.")
    return value


def _id(found: list[Any]) -> str:
    return _text(found, 2, "invocationId")


def _text(found: list[Any], index: int, name: str) -> str:
    value: str = _of(found, index, name, str)
    if not value:
        raise ProtocolError(f"Null or empty {name}.")
    return value


def _sequence_id(found: list[Any]) -> int:
    value: int = _of(found, 1, "sequenceId", int)
    if not 0 <= value < 2**63:
        raise ProtocolError("Reading 'sequenceId' as Int64 failed.")
    return value


def _stream_ids(found: list[Any]) -> list[str]:
    if len(found) <= 5:
        return []  # clients that know no uploads
    ids: list[Any] = _of(found, 5, "streamIds", list, optional=True) or []
    if not all(isinstance(each, str) and each for each in ids):
        raise ProtocolError("Reading 'streamIds' as String failed.")
    return ids


def _headers(found: list[Any]) -> dict[str, str]:
    headers: dict[str, str] = _of(found, 1, "headers", dict, optional=True) or {}
    if not all(isinstance(part, str) for pair in headers.items() for part in pair):
        raise ProtocolError("Reading 'headers' as String failed.")
    return headers


_NAMES = {str: "String", int: "Int32", list: "array", dict: "map", bool: "Boolean"}

"""Messages as JSON objects, each ended by the record separator."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from loopai_runtime.signalr.errors import ProtocolError
from loopai_runtime.signalr.protocol.framing import SEPARATOR
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

_ABSENT: Any = object()
_MAX_SEQUENCE = 2**53


class JsonCodec:
    """The encoding `json`. Bytes in arguments become base64, times RFC 3339."""

    name = "json"
    binary = False

    def encode(self, message: Message) -> bytes:
        try:
            return orjson.dumps(_written(message), default=_plain) + SEPARATOR
        except TypeError as exc:
            raise ValueError(str(exc)) from None

    def decode(self, payload: bytes) -> Message | None:
        try:
            found = orjson.loads(payload)
        except ValueError:
            raise ProtocolError("Error reading JSON.") from None
        if not isinstance(found, dict):
            raise ProtocolError(f"Unexpected JSON Token Type '{_kind(found)}'. Expected a JSON Object.")
        number = _field(found, "type", int)
        try:
            read = _READERS.get(Type(number))
        except ValueError:
            return None
        return read(found) if read else None


def _written(message: Message) -> dict[str, Any]:
    body: dict[str, Any]
    match message:
        case Invocation():
            body = {"type": 1, "target": message.target, "arguments": message.arguments}
            if message.invocation_id is not None:
                body["invocationId"] = message.invocation_id
            if message.stream_ids:
                body["streamIds"] = message.stream_ids
        case StreamItem():
            body = {"type": 2, "invocationId": message.invocation_id, "item": message.item}
        case Completion():
            body = {"type": 3, "invocationId": message.invocation_id}
            if message.error is not None:
                body["error"] = message.error
            elif message.has_result:
                body["result"] = message.result
        case StreamInvocation():
            body = {"type": 4, "invocationId": message.invocation_id, "target": message.target}
            body |= {"arguments": message.arguments} | (
                {"streamIds": message.stream_ids} if message.stream_ids else {}
            )
        case CancelInvocation():
            body = {"type": 5, "invocationId": message.invocation_id}
        case Ping():
            return {"type": 6}
        case Close():
            error = {} if message.error is None else {"error": message.error}
            return {"type": 7} | error | ({"allowReconnect": True} if message.allow_reconnect else {})
        case Ack():
            return {"type": 8, "sequenceId": message.sequence_id}
        case Sequence():
            return {"type": 9, "sequenceId": message.sequence_id}
    if message.headers:
        body["headers"] = message.headers
    return body


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    raise TypeError


def _invocation(found: dict[str, Any]) -> Message:
    return Invocation(
        _named(found, "target"),
        _field(found, "arguments", list),
        _field(found, "invocationId", str, None) or None,
        _stream_ids(found),
        _headers(found),
    )


def _stream_invocation(found: dict[str, Any]) -> Message:
    arguments = _field(found, "arguments", list)
    return StreamInvocation(_id(found), _named(found, "target"), arguments, _stream_ids(found), _headers(found))


def _stream_item(found: dict[str, Any]) -> Message:
    if "item" not in found:
        raise ProtocolError("Missing required property 'item'.")
    return StreamItem(_id(found), found["item"], _headers(found))


def _completion(found: dict[str, Any]) -> Message:
    error = _field(found, "error", str, None)
    if error is not None and "result" in found:
        raise ProtocolError("The 'error' and 'result' properties are mutually exclusive.")
    return Completion(_id(found), found.get("result"), error, "result" in found, _headers(found))


def _close(found: dict[str, Any]) -> Message:
    return Close(_field(found, "error", str, None), bool(_field(found, "allowReconnect", bool, None)))


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


def _field(found: dict[str, Any], name: str, kind: type, default: Any = _ABSENT) -> Any:
    value = found.get(name, _ABSENT)
    if value is _ABSENT or (value is None and default is None):
        if default is _ABSENT:
            raise ProtocolError(f"Missing required property '{name}'.")
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise ProtocolError(f"Expected '{name}' to be of type {_NAMES[kind]}.")
    return value


def _id(found: dict[str, Any]) -> str:
    return _named(found, "invocationId")


def _named(found: dict[str, Any], name: str) -> str:
    value: str = _field(found, name, str)
    if not value:
        raise ProtocolError(f"Expected '{name}' not to be empty.")
    return value


def _sequence_id(found: dict[str, Any]) -> int:
    value: int = _field(found, "sequenceId", int)
    if not 0 <= value <= _MAX_SEQUENCE:
        raise ProtocolError("Expected 'sequenceId' to be a positive number.")
    return value


def _stream_ids(found: dict[str, Any]) -> list[str]:
    ids: list[Any] = _field(found, "streamIds", list, None) or []
    if not all(isinstance(each, str) and each for each in ids):
        raise ProtocolError("Expected 'streamIds' to be of type Array of String.")
    return ids


def _headers(found: dict[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = _field(found, "headers", dict, None) or {}
    if not all(isinstance(value, str) for value in headers.values()):
        raise ProtocolError("Expected header values to be of type String.")
    return headers


_NAMES = {str: "String", int: "Number", list: "Array", dict: "Object", bool: "Boolean"}


def _kind(value: Any) -> str:
    return "Null" if value is None else _NAMES.get(type(value), "Number")

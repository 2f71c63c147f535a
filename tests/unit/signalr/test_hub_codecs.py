"""Both encodings: every message survives the way there and back, and no bytes do worse than a ProtocolError."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loopai_runtime.signalr.errors import ProtocolError
from loopai_runtime.signalr.protocol.framing import SEPARATOR, Deframer, with_length
from loopai_runtime.signalr.protocol.json_codec import JsonCodec
from loopai_runtime.signalr.protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Codec,
    Completion,
    Invocation,
    Message,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)
from loopai_runtime.signalr.protocol.msgpack_codec import MsgpackCodec

CODECS: list[Codec] = [JsonCodec(), MsgpackCodec()]

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_headers = st.dictionaries(_name, _text, max_size=2)
_arguments = st.lists(_values, max_size=4)
_streams = st.lists(_name, max_size=3)
_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Invocation, _name, _arguments, st.none() | _name, _streams, _headers),
    st.builds(StreamInvocation, _name, _name, _arguments, _streams, _headers),
    st.builds(StreamItem, _name, _values, _headers),
    st.builds(Completion, _name, headers=_headers),
    st.builds(Completion, _name, error=_text, headers=_headers),
    st.builds(Completion, _name, result=_values, has_result=st.just(True), headers=_headers),
    st.builds(CancelInvocation, _name, _headers),
    st.just(Ping()),
    st.builds(Close, st.none() | _text, st.booleans()),
    st.builds(Ack, st.integers(0, 2**53)),
    st.builds(Sequence, st.integers(0, 2**53)),
)


def payload_of(codec: Codec, frame: bytes, limit: int = 1 << 20) -> bytes:
    deframer = Deframer(limit, binary=codec.binary)
    deframer.feed(frame)
    (payload,) = deframer.payloads()
    return payload


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@given(message=_messages)
def test_every_message_survives(codec: Codec, message: Message) -> None:
    assert codec.decode(payload_of(codec, codec.encode(message))) == message


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@given(garbage=st.binary(max_size=200))
@example(b"")
@example(b"\x91")
@example(b"\xdd\xff\xff\xff\xff")  # an array of four thousand million
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
@example(b"\xdb\xff\xff\xff\xff")
@example(b"\x91" * 200)
@example(b"\x81\x90\x01")  # a list as a key
@example(b"\xc7\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")  # a time beyond all times
@example(b"\xd6\x05\x00\x00\x00\x00")  # an unknown extension type
@example(b"\xc1")
def test_no_bytes_do_worse_than_a_protocol_error(codec: Codec, garbage: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        codec.decode(garbage)


@given(
    value=st.recursive(_values | st.binary(max_size=8), lambda inner: st.lists(inner, max_size=8), max_leaves=8)
)
def test_no_structure_does_worse_than_a_protocol_error(value: Any) -> None:
    for codec, raw in (
        (CODECS[0], orjson.dumps(value, default=lambda b: b.hex())),
        (CODECS[1], msgpack.packb(value)),
    ):
        with contextlib.suppress(ProtocolError):
            codec.decode(raw)


@given(message=_messages, data=st.data())
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_flipped_byte_does_no_worse(codec: Codec, message: Message, data: st.DataObject) -> None:
    raw = bytearray(payload_of(codec, codec.encode(message)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ProtocolError):
        codec.decode(bytes(raw))


@pytest.mark.parametrize(
    "raw",
    [
        '{"type":1}', '{"type":1,"target":"T"}', '{"type":1,"target":"","arguments":[]}',
        '{"type":1,"target":7,"arguments":[]}', '{"type":1,"target":"T","arguments":{}}',
        '{"type":1,"target":"T","arguments":[],"streamIds":[1]}', '{"type":1,"target":"T","arguments":[],"headers":{"a":1}}',
        '{"type":4,"target":"T","arguments":[]}', '{"type":2,"invocationId":"1"}', '{"type":2,"item":1}', '{"type":3}',
        '{"type":3,"invocationId":"1","result":1,"error":"x"}', '{"type":5}', '{"type":7,"error":1}', '{"type":8}',
        '{"type":8,"sequenceId":-1}', '{"type":9,"sequenceId":"1"}', '{"type":true}', '{"type":"1"}', "{}", "[]", "1", "null",
        "", "{", '{"type":6', "NaN", '"' + "\\ud800" + '"',
    ],
)  # fmt: skip
def test_json_that_is_no_message(raw: str) -> None:
    with pytest.raises(ProtocolError):
        CODECS[0].decode(raw.encode())


@pytest.mark.parametrize(
    "items",
    [
        [], [None], ["1"], [True], {}, 1, None, [1], [1, {}, None, "T"], [1, {}, None, "", []], [1, {}, None, 7, []], [1, {}, 7, "T", []],
        [1, {}, None, "T", {}], [1, {}, None, "T", [], [1]], [1, {"a": 1}, None, "T", []], [1, [], None, "T", []], [4, {}, None, "T", []],
        [2, {}, "1"], [3, {}, "1"], [3, {}, "1", 9], [3, {}, "1", 1], [3, {}, "1", 1, 2], [3, {}, "1", 3], [5, {}], [7], [7, 1],
        [8], [8, -1], [9, "1"], [8, 2**63],
    ],
)  # fmt: skip
def test_messagepack_that_is_no_message(items: Any) -> None:
    with pytest.raises(ProtocolError):
        CODECS[1].decode(msgpack.packb(items))


def test_messages_of_the_future_are_ignored() -> None:
    assert CODECS[0].decode(b'{"type":10,"what":"ever"}') is None
    assert CODECS[0].decode(b'{"type":-1}') is None
    assert CODECS[1].decode(msgpack.packb([10, {}, "what", "ever"])) is None


def test_the_examples_of_the_specification() -> None:
    """The bytes that the public specification gives for MessagePack."""
    decode = CODECS[1].decode
    assert decode(bytes.fromhex("96 01 80 a3 78797a a6 6d6574686f64 91 2a 90")) == Invocation(
        "method", [42], "xyz"
    )
    assert decode(bytes.fromhex("96 01 80 c0 a6 6d6574686f64 91 2a 90")) == Invocation("method", [42])
    assert decode(bytes.fromhex("96 04 80 a3 78797a a6 6d6574686f64 91 2a 90")) == StreamInvocation(
        "xyz", "method", [42]
    )
    assert decode(bytes.fromhex("94 02 80 a3 78797a 2a")) == StreamItem("xyz", 42)
    assert decode(bytes.fromhex("95 03 80 a3 78797a 01 a5 4572726f72")) == Completion("xyz", error="Error")
    assert decode(bytes.fromhex("94 03 80 a3 78797a 02")) == Completion("xyz")
    assert decode(bytes.fromhex("95 03 80 a3 78797a 03 2a")) == Completion("xyz", 42, has_result=True)
    assert decode(bytes.fromhex("93 05 80 a3 78797a")) == CancelInvocation("xyz")
    assert decode(bytes.fromhex("91 06")) == Ping()
    assert decode(bytes.fromhex("92 07 a3 78797a")) == Close("xyz")
    assert decode(bytes.fromhex("93 07 a3 78797a c3")) == Close("xyz", allow_reconnect=True)
    assert decode(bytes.fromhex("92 08 cc 24")) == Ack(36)
    assert decode(bytes.fromhex("92 09 cc 13")) == Sequence(19)
    headers = Invocation("method", [42], "xyz", headers={"x": "y", "z": "z"})
    assert decode(bytes.fromhex("96 01 82 a1 78 a1 79 a1 7a a1 7a a3 78797a a6 6d6574686f64 91 2a 90")) == headers
    assert CODECS[1].encode(Ping()) == bytes.fromhex("02 91 06")


def test_clients_that_know_no_uploads_send_five_items() -> None:
    assert CODECS[1].decode(msgpack.packb([1, {}, "1", "T", [2]])) == Invocation("T", [2], "1")


def test_bytes_and_times() -> None:
    when = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
    item = StreamItem("1", [b"\x00\xff", when])
    assert CODECS[1].decode(payload_of(CODECS[1], CODECS[1].encode(item))) == item
    told = orjson.loads(payload_of(CODECS[0], CODECS[0].encode(item)))["item"]
    assert base64.b64decode(told[0]) == b"\x00\xff"
    assert datetime.fromisoformat(told[1]) == when


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("value", [object(), 2**64, "\ud800", {1, 2}])
def test_what_cannot_be_sent_is_a_value_error(codec: Codec, value: Any) -> None:
    with pytest.raises(ValueError):
        codec.encode(StreamItem("1", value))


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_what_is_nested_without_end_cannot_be_sent(codec: Codec) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError):
        codec.encode(StreamItem("1", value))


@pytest.mark.parametrize("depth", [10, 300, 5_000, 100_000])
def test_deep_nesting_is_taken_or_refused(depth: int) -> None:
    for codec, raw in (
        (CODECS[0], b'{"type":2,"invocationId":"1","item":' + b"[" * depth + b"]" * depth + b"}"),
        (CODECS[1], b"\x94\x02\x80\xa11" + b"\x91" * depth + b"\xc0"),
    ):
        try:
            assert isinstance(codec.decode(raw), StreamItem)
        except ProtocolError:
            assert depth > 100


# --- frames


@given(
    payloads=st.lists(st.binary(max_size=300).filter(lambda raw: SEPARATOR not in raw), max_size=8),
    binary=st.booleans(),
    data=st.data(),
)
def test_frames_are_found_however_they_are_cut(payloads: list[bytes], binary: bool, data: st.DataObject) -> None:
    stream = b"".join(with_length(each) if binary else each + SEPARATOR for each in payloads)
    deframer = Deframer(300, binary=binary)
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        deframer.feed(stream[:size])
        stream = stream[size:]
        found += deframer.payloads()
    assert found == payloads


@given(garbage=st.lists(st.binary(max_size=50), max_size=10), binary=st.booleans())
def test_no_bytes_break_the_framing(garbage: list[bytes], binary: bool) -> None:
    deframer = Deframer(64, binary=binary)
    try:
        for each in garbage:
            deframer.feed(each)
            assert all(len(payload) <= 64 for payload in deframer.payloads())
    except ProtocolError:
        pass


@pytest.mark.parametrize("binary", [False, True])
def test_the_limit_is_exact(binary: bool) -> None:
    for size in (64, 65):
        deframer = Deframer(64, binary=binary)
        deframer.feed(with_length(b"x" * size) if binary else b"x" * size + SEPARATOR)
        if size <= 64:
            assert list(deframer.payloads()) == [b"x" * 64]
        else:
            with pytest.raises(ProtocolError, match="The maximum message size of 64B was exceeded"):
                list(deframer.payloads())


def test_a_message_that_is_too_long_is_refused_before_its_end() -> None:
    text, binary = Deframer(64), Deframer(64, binary=True)
    text.feed(b"x" * 65)
    binary.feed(b"\xff\xff\xff\xff\x07")
    for deframer in (text, binary):
        with pytest.raises(ProtocolError):
            list(deframer.payloads())


def test_a_length_without_end_is_refused() -> None:
    deframer = Deframer(64, binary=True)
    deframer.feed(b"\xff" * 5)
    with pytest.raises(ProtocolError, match="2GB"):
        list(deframer.payloads())


@given(size=st.integers(0, 70_000))
def test_lengths_are_written_as_they_are_read(size: int) -> None:
    deframer = Deframer(70_000, binary=True)
    deframer.feed(with_length(bytes(size)))
    assert [len(payload) for payload in deframer.payloads()] == [size]


def test_what_is_incomplete_is_forgotten_on_reset() -> None:
    deframer = Deframer(64)
    deframer.feed(b"half")
    assert list(deframer.payloads()) == []
    deframer.reset()
    deframer.feed(b"whole" + SEPARATOR)
    assert list(deframer.payloads()) == [b"whole"]

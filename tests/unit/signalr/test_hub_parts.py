"""The small parts of a hub: declared methods, streams, buffers, negotiation, scrubbed logs, waiting."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict

import pytest

from loopai_runtime.errors import MissingExtra
from loopai_runtime.signalr import client as client_module
from loopai_runtime.signalr.dial import Backoff
from loopai_runtime.signalr.errors import HubException, ProtocolError
from loopai_runtime.signalr.incoming import Incoming
from loopai_runtime.signalr.link import Link
from loopai_runtime.signalr.logs import report, scrub_server_logs, scrubbed
from loopai_runtime.signalr.methods import Methods
from loopai_runtime.signalr.negotiate import version_of, wants_stateful
from loopai_runtime.signalr.protocol import handshake
from loopai_runtime.signalr.protocol.codecs import codec_named

# --- handshake, negotiation


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"protocol":"json"}', b'{"protocol":1,"version":1}',
                                 b'{"protocol":"json","version":"1"}', b'{"protocol":"json","version":true}'])  # fmt: skip
def test_what_is_no_handshake(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        handshake.read_request(raw)


def test_a_handshake_survives() -> None:
    wanted = handshake.HandshakeRequest("json", 1)
    assert handshake.read_request(handshake.write_request(wanted)[:-1]) == wanted
    assert handshake.read_request(b'{"protocol":"json","version":1,"more":2}') == wanted
    assert handshake.write_response() == b"{}\x1e"
    assert handshake.read_response(b"{}") is None
    assert handshake.read_response(handshake.write_response("no")[:-1]) == "no"
    with pytest.raises(ProtocolError):
        handshake.read_response(b'{"type":6}')


@pytest.mark.parametrize(("asked", "version"), [(None, 0), ("0", 0), ("1", 1), ("2", 1), ("99", 1)])
def test_the_version_of_a_negotiation(asked: str | None, version: int) -> None:
    assert version_of({} if asked is None else {"negotiateversion": asked}) == version


@pytest.mark.parametrize("asked", ["", "one", "-1", "1.5"])
def test_versions_that_are_none(asked: str) -> None:
    with pytest.raises(ValueError, match="The client requested"):
        version_of({"negotiateversion": asked})


def test_stateful_reconnect_has_to_be_asked_for() -> None:
    assert wants_stateful({"usestatefulreconnect": "True"})
    assert not wants_stateful({"usestatefulreconnect": "1"})
    assert not wants_stateful({})


# --- methods


class Shape(TypedDict):
    side: int


async def sample(caller: Any, a: int, b: str | None = None, *, items: Incoming) -> None: ...


def methods(**functions: Any) -> Methods:
    found = Methods()
    for name, function in functions.items():
        found.add(name, function)
    return found


@pytest.mark.parametrize("arguments", [[1], [1, "b"], [1, None]])
def test_calls_that_fit(arguments: list[Any]) -> None:
    method = methods(Sample=sample).find("sAMPLE")
    assert method is not None
    method.check(arguments)
    assert method.uploads == ("items",)


@pytest.mark.parametrize("arguments", [[], [1, "b", 3], ["1"], [True], [1.0], [None], [1, 2], [[1]]])
def test_calls_that_do_not(arguments: list[Any]) -> None:
    method = methods(Sample=sample).find("Sample")
    assert method is not None
    with pytest.raises(ProtocolError):
        method.check(arguments)


def test_annotations_of_many_kinds() -> None:
    async def many(caller: Any, a: float, b: list[int], c: Any, d: Literal["x", "y"], e: Shape, f) -> None: ...  # type: ignore[no-untyped-def]

    method = methods(Many=many).find("Many")
    assert method is not None
    method.check([1, [1], object(), "x", {"side": 1}, None])
    for bad in ([True, [], 0, "x", {}, 0], [1, (), 0, "x", {}, 0], [1, [], 0, "z", {}, 0], [1, [], 0, "x", [], 0]):
        with pytest.raises(ProtocolError):
            method.check(bad)


async def with_rest(caller: Any, *rest: Any) -> None: ...
async def with_options(caller: Any, **options: Any) -> None: ...
async def without_caller() -> None: ...
def plain(caller: Any) -> None: ...


@pytest.mark.parametrize("function", [with_rest, with_options, without_caller, plain])
def test_functions_that_cannot_be_methods(function: Any) -> None:
    with pytest.raises(ValueError):
        methods(Bad=function)


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="already"):
        methods(Sample=sample, sample=sample)


def test_async_generators_stream() -> None:
    async def stream(caller: Any) -> AsyncIterator[int]:
        yield 1

    found = methods(Stream=stream, Sample=sample)
    assert [bool((method := found.find(name)) and method.streams) for name in ("Stream", "Sample")] == [
        True,
        False,
    ]


# --- streams and buffers


def test_a_stream_waits_for_its_reader() -> None:
    async def run() -> None:
        stream = Incoming(2)
        await stream.put(1)
        assert stream.offer(2)
        assert not stream.offer(3)
        third = asyncio.create_task(stream.put(3))
        await asyncio.sleep(0)
        assert not third.done()
        assert await anext(stream) == 1
        await third
        stream.end()
        stream.end(HubException("too late"))
        await stream.put(4)
        assert [item async for item in stream] == [2, 3]

    asyncio.run(run())


def test_a_stream_fails_after_its_items() -> None:
    async def run() -> list[Any]:
        stream = Incoming(9)
        await stream.put(1)
        stream.completed("lost")
        first = await anext(stream)
        with pytest.raises(HubException, match="lost"):
            await anext(stream)
        return [first]

    assert asyncio.run(run()) == [1]


def test_a_reader_that_waits_is_woken_by_the_end() -> None:
    async def run() -> list[Any]:
        stream = Incoming(1)

        async def read() -> list[Any]:
            return [item async for item in stream]

        reading = asyncio.create_task(read())
        blocked = [asyncio.create_task(stream.put(n)) for n in range(3)]
        await asyncio.sleep(0)
        stream.end()
        await asyncio.gather(*blocked)
        return await reading

    assert asyncio.run(run()) == [0]


def test_a_link_holds_a_bounded_number_of_bytes() -> None:
    async def run() -> None:
        drained: list[None] = []
        link = Link("WebSockets", 100, 64, lambda: drained.append(None))
        assert link.take() == b""
        assert link.put(b"x" * 60)
        assert link.put(b"y" * 40)
        assert not link.put(b"z")
        assert link.size == 100
        await link.ready()
        assert link.take() == b"x" * 60 + b"y" * 40
        assert (link.size, drained) == (0, [None])
        assert link.put(b"x" * 1000)  # alone it may be as large as it is
        link.finish()
        assert link.put(b"never sent")
        await link.ready()
        assert link.take() == b"x" * 1000
        await link.ready()
        assert link.take() == b""

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_link_gives_chunks_of_whole_frames() -> None:
    link = Link("WebSockets", 1 << 20, 64, lambda: None)
    for _ in range(4):
        link.put(b"x" * 30_000)
    assert [len(link.take()) for _ in range(3)] == [60_000, 60_000, 0]


def test_what_is_cut_is_not_sent() -> None:
    link = Link("WebSockets", 100, 64, lambda: None)
    link.put(b"x")
    link.cut()
    assert (link.take(), link.size, link.finished) == (b"", 0, True)


# --- logs


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("/hub?access_token=SECRET", "/hub?access_token=***"),
        ("/hub?id=SECRET&access_token=SECRET&a=1", "/hub?id=***&access_token=***&a=1"),
        ('"GET /hub?a=1&ACCESS_TOKEN=SECRET HTTP/1.1"', '"GET /hub?a=1&ACCESS_TOKEN=*** HTTP/1.1"'),
        ("/hub?grid=1&void=2", "/hub?grid=1&void=2"),
        ("", ""),
    ],
)
def test_secrets_leave_a_line(line: str, kept: str) -> None:
    assert scrubbed(line) == kept


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.mark.parametrize("name", ["uvicorn.access", "uvicorn.error"])
def test_secrets_leave_uvicorns_logs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logger, heard = logging.getLogger(name), Heard()
    monkeypatch.setattr(logger, "filters", [])  # litellm, once imported, has one of its own there
    scrub_server_logs()
    scrub_server_logs()
    level = logger.level
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)
    try:
        logger.info('%s - "%s %s" %d', "127.0.0.1", "GET", "/hub?id=SECRET&access_token=SECRET", 200)
        logger.info("plain /hub?access_token=SECRET")
        logger.error("ASGI callable returned without completing handshake.")
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)
    assert heard.lines == ['127.0.0.1 - "GET /hub?id=***&access_token=***" 200', "plain /hub?access_token=***"]
    assert len([each for each in logger.filters if type(each).__name__ == "_Scrub"]) == 1


def test_a_failure_is_told_without_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    try:
        raise KeyError("a secret")
    except KeyError as exc:
        report(logging.getLogger("test"), "something", exc)
    assert "something raised KeyError at " in caplog.text
    assert "a secret" not in caplog.text


# --- the client's waiting


def test_waiting_grows_to_its_bound_and_starts_again() -> None:
    backoff = Backoff(1, 60, random.Random(7))
    waits = [backoff.next_s() for _ in range(200)]
    assert all(0 <= wait <= 60 for wait in waits)
    assert all(wait <= 2**tries for tries, wait in enumerate(waits[:6]))
    assert min(waits[10:]) < 5 < 50 < max(waits[10:])
    backoff.reset()
    assert backoff.next_s() <= 1


def test_a_protocol_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "codec_named", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"\[central\]"):
        client_module.HubClient("http://127.0.0.1", protocol="messagepack")


def test_without_msgpack_there_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    monkeypatch.delitem(sys.modules, "loopai_runtime.signalr.protocol.msgpack_codec", raising=False)
    codec_named.cache_clear()
    try:
        assert codec_named("messagepack") is None
        assert codec_named("json") is not None
    finally:
        codec_named.cache_clear()


def test_known_protocols() -> None:
    assert [getattr(codec_named(name), "name", None) for name in ("json", "messagepack", "xml")] == [
        "json",
        "messagepack",
        None,
    ]

"""Our own client: what it calls and answers, and how it stays connected."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.integration.signalr.arena import ANN, PATH, Arena, arena, make_hub
from tests.integration.signalr.wire import Wire

from loopai_runtime.signalr.client import HubClient
from loopai_runtime.signalr.errors import ConnectionLost, HubException, Refused
from loopai_runtime.signalr.hub import Hub

COUNT = 8_000


@pytest.fixture(params=[("json", False), ("json", True), ("messagepack", False), ("messagepack", True)])
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    protocol, stateful = request.param
    return {"protocol": protocol, "stateful": stateful}


def run(work: Callable[[], Awaitable[None]], timeout_s: float = 120) -> None:
    asyncio.run(asyncio.wait_for(work(), timeout_s))


def client(url: str, token: Any = ANN, **options: Any) -> HubClient:
    return HubClient(url, token=token, reconnect_s=(0.05, 0.5), **options)


async def failed(hub: HubClient) -> None:
    """Until it has tried in vain."""
    async with asyncio.timeout(60):
        while hub.last_error is None:
            await asyncio.sleep(0.01)


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def test_calls_and_is_called(server: Arena, way: dict[str, Any]) -> None:
    async def work() -> None:
        hub = client(server.url, **way)
        hub.on("OnQuestion", lambda question: f"{question}? yes")
        heard: list[Any] = []
        hub.on("Welcome", heard.append)
        async with hub:
            await hub.connected(60)
            assert hub.connection_id
            assert await hub.invoke("Add", 40, 2) == 42
            assert heard == ["ann"]
            assert await hub.invoke("Ask", "well") == ["answered", "well? yes"]
            assert [item async for item in hub.stream("Count", 5)] == [0, 1, 2, 3, 4]
            assert await hub.invoke("Total", 2, numbers(5)) == 20
            assert [item async for item in hub.stream("Scale", 10, numbers(3))] == [0, 10, 20]
            await hub.invoke("Forget")
            await hub.send("Note", "a note")
            assert await hub.invoke("Seen") == ["a note"]
            with pytest.raises(HubException, match="on purpose"):
                await hub.invoke("Fail")
            with pytest.raises(HubException, match="out of numbers"):
                [item async for item in hub.stream("CountAndFail", 2)]
            with pytest.raises(ValueError, match=r"serializable|integer"):
                await hub.invoke("Echo", object())
            assert await hub.invoke("Add", 1, 1) == 2
        assert not hub.is_connected
        with pytest.raises(ConnectionLost):
            await hub.invoke("Add", 1, 1)

    run(work)


def test_leaving_a_stream_cancels_it(server: Arena, way: dict[str, Any]) -> None:
    async def work() -> None:
        async with client(server.url, **way) as hub:
            await hub.connected(60)
            await hub.invoke("Forget")
            async with contextlib.aclosing(hub.stream("Forever")) as items:
                async for item in items:
                    if item == 3:
                        break
            async with asyncio.timeout(60):
                while "stream over" not in await hub.invoke("Over"):
                    await asyncio.sleep(0.01)

    run(work)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_five_cuts_lose_and_repeat_nothing(server: Arena, protocol: str) -> None:
    async def work() -> None:
        async with Wire(server.port) as wire:
            hub = client(wire.url, protocol=protocol, stateful=True)
            heard: list[int] = []
            hub.on("OnNumber", heard.append)
            async with hub:
                await hub.connected(60)
                before = hub.connection_id
                await hub.invoke("Forget")
                streamed: list[int] = []

                async def stream() -> None:
                    streamed.extend([item async for item in hub.stream("PacedCount", 500, 0.002)])

                async def note() -> None:
                    for number in range(500):
                        await hub.send("Note", number)
                        await asyncio.sleep(0.002)

                work = [asyncio.create_task(each) for each in (stream(), note(), hub.invoke("SendMe", COUNT))]
                for _ in range(5):
                    await asyncio.sleep(0.2)
                    await wire.cut_in_use()
                await asyncio.gather(*work)
                assert streamed == list(range(500))
                assert await hub.invoke("Seen") == list(range(500))
                await asyncio.sleep(0.1)  # a duplicate would come now
                assert heard == list(range(COUNT))
                assert hub.connection_id == before

    run(work, 240)


def test_without_stateful_reconnect_a_cut_is_told_and_overcome(server: Arena) -> None:
    async def work() -> None:
        events: asyncio.Queue[str] = asyncio.Queue()

        async def up() -> None:
            events.put_nowait("up")

        async def down() -> None:
            events.put_nowait("down")

        async with Wire(server.port) as wire:
            hub = client(wire.url, on_connected=up, on_disconnected=down)
            async with hub:
                assert await asyncio.wait_for(events.get(), 60) == "up"
                before = hub.connection_id
                pending = asyncio.create_task(hub.invoke("Hang"))
                await asyncio.sleep(0.05)
                wire.cut()
                with pytest.raises(ConnectionLost):
                    await pending
                assert await asyncio.wait_for(events.get(), 60) == "down"
                assert await asyncio.wait_for(events.get(), 60) == "up"
                assert hub.connection_id != before
                assert await hub.invoke("Add", 1, 1) == 2
            assert await asyncio.wait_for(events.get(), 60) == "down"

    run(work)


def test_comes_back_after_the_hub_closed_it(server: Arena, way: dict[str, Any]) -> None:
    async def work() -> None:
        async with client(server.url, **way) as hub:
            await hub.connected(60)
            before = hub.connection_id
            with pytest.raises(ConnectionLost):
                await hub.invoke("CloseMe", "enough", False)
            assert "enough" in str(hub.last_error)
            await hub.connected(60)
            assert hub.connection_id != before
            assert await hub.invoke("Add", 1, 1) == 2

    run(work)


def test_comes_back_after_the_hub_was_started_again(way: dict[str, Any]) -> None:
    async def work() -> None:
        with contextlib.ExitStack() as first:
            server = first.enter_context(arena(make_hub))
            async with client(server.url, **way) as hub:
                await hub.connected(60)
                before = hub.connection_id
                await asyncio.to_thread(first.close)
                assert not hub.is_connected
                with arena(make_hub, port=server.port):
                    await hub.connected(60)
                    assert hub.connection_id != before
                    assert await hub.invoke("Add", 1, 1) == 2

    run(work)


def test_calls_that_wait_for_a_lost_socket_fail_without_noise(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        with contextlib.ExitStack() as first:
            server = first.enter_context(arena(make_hub))
            async with Wire(server.port) as wire, client(wire.url, stateful=True) as hub:
                await hub.connected(60)
                wire.stop()
                wire.cut()
                await asyncio.sleep(0.2)  # until the client looks for another socket
                calls = [asyncio.create_task(hub.invoke("Add", 1, 1)) for _ in range(3)]
                await asyncio.sleep(0.3)
                await asyncio.to_thread(first.close)
        assert [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == [
            ConnectionLost
        ] * 3

    run(work)
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_handler_may_call_the_hub(server: Arena, way: dict[str, Any]) -> None:
    async def work() -> None:
        hub = client(server.url, **way)
        sums: list[int] = []

        async def add(number: int) -> None:
            sums.append(await hub.invoke("Add", number, 1))

        hub.on("OnNumber", add)
        async with hub:
            await hub.connected(60)
            await hub.invoke("SendMe", 3)
            async with asyncio.timeout(60):
                while sums != [1, 2, 3]:
                    await asyncio.sleep(0.01)

    run(work)


def test_waits_for_a_hub_that_is_not_there_yet(way: dict[str, Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def work() -> None:
        async with client(f"http://127.0.0.1:{port}{PATH}", **way) as hub:
            await failed(hub)
            with pytest.raises(TimeoutError):
                await hub.connected(0.1)
            assert isinstance(hub.last_error, ConnectionLost)
            assert f"127.0.0.1:{port}" in str(hub.last_error)
            async with await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port):
                await asyncio.sleep(0.2)
            assert isinstance(hub.last_error, ConnectionLost)

    run(work)


def test_asks_for_its_token_again_and_again(server: Arena) -> None:
    tokens = iter(["", "token-of-eve", "token-of-eve"])

    async def work() -> None:
        async with client(server.url, lambda: next(tokens, ANN)) as hub:
            await hub.connected(60)
            assert await hub.invoke("WhoAmI") == "ann"
            refused = [str(hub.last_error)]
        assert refused == ["None"]

    run(work)


def test_a_refusal_says_why(server: Arena) -> None:
    async def work() -> None:
        async with client(server.url, "token-of-eve") as hub:
            await failed(hub)
            with pytest.raises(TimeoutError):
                await hub.connected(0.1)
            assert isinstance(hub.last_error, Refused)
            assert hub.last_error.status == 401
            assert "token-of-eve" not in str(hub.last_error)

    run(work)


def test_a_function_that_cannot_fetch_the_token_is_asked_again(server: Arena) -> None:
    there = threading.Event()

    def fetch() -> str:
        if not there.is_set():
            raise KeyError("a secret")
        return ANN

    async def work() -> None:
        async with client(server.url, fetch) as hub:
            await failed(hub)
            assert str(hub.last_error) == "connecting raised KeyError"
            there.set()
            await hub.connected(60)
            assert await hub.invoke("WhoAmI") == "ann"

    run(work)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", "is no SignalR hub"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "is no SignalR hub"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n" + '{"error":"go away"}', "refused: go away"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + "x" * 1_000_000, "too large"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n" + "[" * 3000, "is no SignalR hub"),
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "refused: 302"),
        ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "refused: 500"),
        ("nonsense\r\n\r\n", "cannot be reached"),
        ("", "cannot be reached"),
    ],
)
def test_a_server_that_is_no_hub(answer: str, error: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def work() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with client(f"http://127.0.0.1:{port}/hub") as hub:
                await failed(hub)
                assert error in str(hub.last_error)
                assert not hub.is_connected

    run(work)


def test_a_quiet_connection_is_kept_alive_by_both() -> None:
    def make() -> Hub:
        return make_hub(keep_alive_s=0.5, client_timeout_s=2.5)

    async def work() -> None:
        with arena(make) as server:
            hub = client(server.url, keep_alive_s=0.5, server_timeout_s=2.5)
            async with hub:
                await hub.connected(60)
                before = hub.connection_id
                await asyncio.sleep(4)
                assert hub.connection_id == before
                assert await hub.invoke("Add", 1, 1) == 2

    run(work)


def test_an_answer_goes_to_a_hub_that_asks_a_client_that_fails(server: Arena) -> None:
    async def work() -> None:
        hub = client(server.url)

        def fail(_question: str) -> None:
            raise KeyError("a secret of the client")

        hub.on("OnQuestion", fail)
        async with hub:
            await hub.connected(60)
            with pytest.raises(HubException, match="The client failed") as caught:
                await hub.invoke("Ask", "well")
            assert "secret" not in str(caught.value)

    run(work)

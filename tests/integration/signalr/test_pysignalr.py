"""The Python community's client: WebSockets, negotiation of version 0, JSON and MessagePack."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pysignalr.client import SignalRClient
from pysignalr.exceptions import AuthorizationError
from pysignalr.messages import CompletionMessage
from pysignalr.protocol.json import JSONProtocol
from pysignalr.protocol.messagepack import MessagepackProtocol
from tests.integration.signalr.arena import ANN, Arena

PROTOCOLS: dict[str, Callable[[], Any]] = {"json": JSONProtocol, "messagepack": MessagepackProtocol}


class Talk:
    """A connected client whose calls can be awaited."""

    def __init__(self, client: SignalRClient) -> None:
        self.client = client
        self.texts: asyncio.Queue[Any] = asyncio.Queue()

    async def invoke(self, method: str, *arguments: Any) -> CompletionMessage:
        """The completion, with or without an error."""
        answer: asyncio.Future[CompletionMessage] = asyncio.get_running_loop().create_future()

        async def done(message: CompletionMessage) -> None:
            answer.set_result(message)

        self.client.on_error(done)
        await self.client.send(method, list(arguments), on_invocation=done)  # type: ignore[arg-type]
        return await asyncio.wait_for(answer, 60)

    async def result(self, method: str, *arguments: Any) -> Any:
        message = await self.invoke(method, *arguments)
        assert message.error is None
        return message.result


@contextlib.asynccontextmanager
async def talking(server: Arena, protocol: str, token: str = ANN) -> AsyncIterator[Talk]:
    client = SignalRClient(
        server.url, protocol=PROTOCOLS[protocol](), headers={"Authorization": f"Bearer {token}"}, retry_count=1
    )
    talk = Talk(client)
    opened = asyncio.Event()

    async def on_open() -> None:
        opened.set()

    async def on_text(arguments: list[Any]) -> None:
        talk.texts.put_nowait(arguments)

    client.on_open(on_open)
    client.on("OnText", on_text)
    client.on("Welcome", on_text)
    running = asyncio.create_task(client.run())
    try:
        waiting = asyncio.create_task(opened.wait())
        await asyncio.wait({waiting, running}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            waiting.cancel()
            running.result()
        yield talk
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await running
        if socket := client._transport._ws:  # type: ignore[attr-defined]
            await socket.close()  # it has no end of its own


def check(work: Callable[[Talk], Awaitable[None]], server: Arena, protocol: str) -> None:
    async def run() -> None:
        async with talking(server, protocol) as talk:
            await work(talk)

    asyncio.run(asyncio.wait_for(run(), 120))


@pytest.fixture(params=list(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_invoke_answers(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        assert await talk.result("Add", 40, 2) == 42
        assert await talk.result("Add", 41) == 42
        assert await talk.result("WhoAmI") == "ann"
        assert await talk.result("Nothing") is None

    check(work, server, protocol)


def test_on_connect_is_heard(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        assert await asyncio.wait_for(talk.texts.get(), 60) == ["ann"]

    check(work, server, protocol)


def test_values_come_back_as_they_were(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        for value in [
            True,
            0,
            -1,
            1.5,
            2**40,
            "",
            '\n\t"\\ 漢字 🐎',
            [],
            {},
            {"a": [1, {"b": None}]},
            "x" * 20_000,
        ]:
            assert await talk.result("Echo", value) == value

    check(work, server, protocol)


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("Fail", "An unexpected error occurred invoking 'Fail' on the server. HubException: on purpose"),
        ("Crash", "An unexpected error occurred invoking 'Crash' on the server."),
        ("Nope", "Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist."),
        ("Add", "Failed to invoke 'Add' due to an error on the server."),
        (
            "Count",
            "Failed to invoke 'Count' due to an error on the server.",
        ),
    ],
)
def test_errors_are_worded_as_elsewhere(server: Arena, protocol: str, method: str, error: str) -> None:
    async def work(talk: Talk) -> None:
        assert (await talk.invoke(method)).error == error

    check(work, server, protocol)


def test_sends_keep_their_order(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        await talk.result("Forget")
        for number in range(100):
            await talk.client.send("Note", [number])
        assert await talk.result("Seen") == list(range(100))

    check(work, server, protocol)


def test_stream_yields(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        items: list[Any] = []
        ended = asyncio.Event()

        async def on_next(item: Any) -> None:
            items.append(item)

        async def on_complete(_message: Any) -> None:
            ended.set()

        await talk.client.stream("Count", [5], on_next, on_complete, on_complete)
        await asyncio.wait_for(ended.wait(), 60)
        assert items == [0, 1, 2, 3, 4]

    check(work, server, protocol)


def test_stream_that_fails(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        told: asyncio.Queue[Any] = asyncio.Queue()

        async def ignore(_item: Any) -> None: ...

        async def on_error(message: CompletionMessage) -> None:
            told.put_nowait(message.error)

        await talk.client.stream("CountAndFail", [2], ignore, ignore, on_error)
        error = await asyncio.wait_for(told.get(), 60)
        assert error == "An error occurred on the server while streaming results. HubException: out of numbers"

    check(work, server, protocol)


def test_upload_is_read(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        await talk.result("Forget")
        async with talk.client.client_stream("UploadQuietly") as stream:
            for number in range(30):
                await stream.send(number)
        async with asyncio.timeout(60):
            while len(await talk.result("Seen")) < 30:
                await asyncio.sleep(0.01)
        assert await talk.result("Seen") == list(range(30))

    check(work, server, protocol)


def test_client_result(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        async def answer(arguments: list[Any]) -> str:
            return f"{arguments[0]}? yes"

        talk.client.on("OnQuestion", answer)
        assert await talk.result("Ask", "well") == ["answered", "well? yes"]

    check(work, server, protocol)


def test_client_result_without_a_handler(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        error = "HubException: Client didn't provide a result."
        assert str((await talk.invoke("Ask", "well")).error).endswith(error)

    check(work, server, protocol)


def test_groups_and_users(server: Arena, protocol: str) -> None:
    async def work(talk: Talk) -> None:
        assert await asyncio.wait_for(talk.texts.get(), 60) == ["ann"]
        async with talking(server, protocol) as other:
            assert await asyncio.wait_for(other.texts.get(), 60) == ["ann"]
            await other.result("Join", "readers")
            assert await talk.result("Tell", "readers", "one") == 1
            assert await asyncio.wait_for(other.texts.get(), 60) == ["readers", "one"]
            await other.result("Leave", "readers")
            assert await talk.result("Tell", "readers", "two") == 0
            assert await talk.result("TellUser", "ann", "three") == 2
            for each in (talk, other):
                assert await asyncio.wait_for(each.texts.get(), 60) == ["user", "three"]

    check(work, server, protocol)


def test_a_bad_token_is_refused(server: Arena, protocol: str) -> None:
    async def run() -> None:
        async with talking(server, protocol, "token-of-eve"):
            pass

    with pytest.raises(AuthorizationError):
        asyncio.run(asyncio.wait_for(run(), 120))

"""A hub with something of everything, behind a real uvicorn, and a wire to it that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from loopai_runtime.signalr.connection import Connection
from loopai_runtime.signalr.hub import Hub, HubException, Incoming, Options, bearer_token

T = TypeVar("T")
USERS = {"token-of-ann": "ann", "token-of-bob": "bob"}
ANN = "token-of-ann"
PATH = "/hubs/arena"


async def authenticate(request: HTTPConnection) -> str | None:
    return USERS.get(bearer_token(request) or "")


def make_hub(**options: Any) -> Hub:
    """Methods that the suites of both clients call."""
    left: list[str] = []

    async def on_connect(connection: Connection) -> None:
        await connection.send("Welcome", connection.principal)

    async def on_disconnect(connection: Connection, error: str | None) -> None:
        left.append(connection.id)

    options = {"finish_s": 0.3} | options
    hub = Hub(authenticate, options=Options(**options), on_connect=on_connect, on_disconnect=on_disconnect)
    seen: list[Any] = []
    over: list[str] = []
    talking: set[asyncio.Task[None]] = set()

    @hub.method("Echo")
    async def echo(caller: Connection, value: Any) -> Any:
        return value

    @hub.method("Add")
    async def add(caller: Connection, one: int, two: int = 1) -> int:
        return one + two

    @hub.method("WhoAmI")
    async def who_am_i(caller: Connection) -> str:
        return str(caller.principal)

    @hub.method("Nothing")
    async def nothing(caller: Connection) -> None: ...

    @hub.method("Fail")
    async def fail(caller: Connection) -> None:
        raise HubException("on purpose")

    @hub.method("Crash")
    async def crash(caller: Connection) -> None:
        raise KeyError("secret of the server")

    @hub.method("Unsendable")
    async def unsendable(caller: Connection) -> object:
        return object()

    @hub.method("Count")
    async def count(caller: Connection, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    @hub.method("CountAndFail")
    async def count_and_fail(caller: Connection, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number
        raise HubException("out of numbers")

    @hub.method("Forever")
    async def forever(caller: Connection) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
                await asyncio.sleep(0.005)
        finally:
            over.append("stream over")

    @hub.method("Hang")
    async def hang(caller: Connection) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            over.append("hang over")

    @hub.method("Total")
    async def total(caller: Connection, factor: int, *, numbers: Incoming) -> int:
        return factor * sum([number async for number in numbers])

    @hub.method("Scale")
    async def scale(caller: Connection, factor: int, *, numbers: Incoming) -> AsyncIterator[int]:
        async for number in numbers:
            yield factor * number

    @hub.method("TotalOfTwo")
    async def total_of_two(caller: Connection, factor: int, *, ones: Incoming, tens: Incoming) -> int:
        return sum([one async for one in ones]) + factor * sum([ten async for ten in tens])

    @hub.method("UploadQuietly")
    async def upload_quietly(caller: Connection, *, numbers: Incoming) -> None:
        seen.extend([number async for number in numbers])

    @hub.method("Note")
    async def note(caller: Connection, value: Any) -> None:
        seen.append(value)

    @hub.method("Seen")
    async def seen_so_far(caller: Connection) -> list[Any]:
        return list(seen)

    @hub.method("Forget")
    async def forget(caller: Connection) -> None:
        seen.clear()
        over.clear()

    @hub.method("Over")
    async def what_is_over(caller: Connection) -> list[str]:
        return list(over)

    @hub.method("Join")
    async def join(caller: Connection, group: str) -> None:
        hub.join(caller, group)

    @hub.method("Leave")
    async def leave(caller: Connection, group: str) -> None:
        hub.leave(caller, group)

    @hub.method("Tell")
    async def tell(caller: Connection, group: str, text: str) -> int:
        return hub.send_group(group, "OnText", [group, text])

    @hub.method("TellMe")
    async def tell_me(caller: Connection, *, numbers: Incoming) -> None:
        async for number in numbers:
            await caller.send("OnNumber", number)

    @hub.method("SendMe")
    async def send_me(caller: Connection, count: int) -> None:
        for number in range(count):
            await caller.send("OnNumber", number)

    @hub.method("Pace")
    async def pace(caller: Connection, count: int, wait_s: float) -> None:
        async def tell() -> None:
            for number in range(count):
                await caller.send("OnNumber", number)
                await asyncio.sleep(wait_s)

        task = asyncio.create_task(tell())  # other calls of this client go on meanwhile
        talking.add(task)
        task.add_done_callback(talking.discard)

    @hub.method("PacedCount")
    async def paced_count(caller: Connection, to: int, wait_s: float) -> AsyncIterator[int]:
        for number in range(to):
            yield number
            await asyncio.sleep(wait_s)

    @hub.method("TellUser")
    async def tell_user(caller: Connection, user: str, text: str) -> int:
        return hub.send_user(user, "OnText", ["user", text])

    @hub.method("TellAll")
    async def tell_all(caller: Connection, text: str) -> int:
        return hub.send_all("OnText", ["all", text])

    @hub.method("Ask")
    async def ask(caller: Connection, question: str) -> Any:
        return ["answered", await caller.invoke("OnQuestion", question)]

    @hub.method("CloseMe")
    async def close_me(caller: Connection, error: str | None, again: bool) -> None:
        caller.close(error, allow_reconnect=again)

    @hub.method("Revoke")
    async def revoke(caller: Connection, user: str) -> int:
        return hub.close_user(user, "revoked")

    @hub.method("Left")
    async def who_left(caller: Connection) -> list[str]:
        return list(left)

    return hub


@dataclass
class Arena:
    """A running server. `on` runs a coroutine function of the server's loop and returns what it returns."""

    hub: Hub
    port: int
    loop: asyncio.AbstractEventLoop
    path: str = PATH

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def on(self, work: Coroutine[Any, Any, T], timeout_s: float = 60) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)


@contextlib.contextmanager
def arena(make: Callable[[], Hub], log_level: str = "info", port: int = 0, path: str = PATH) -> Iterator[Arena]:
    """A hub behind uvicorn on a port, a free one if it does not matter, in a thread of its own."""
    started = threading.Event()
    box: dict[str, Any] = {}

    async def run() -> None:
        hub = make()
        app = Starlette(routes=hub.routes(path))
        config = uvicorn.Config(
            app, "127.0.0.1", port, lifespan="off", log_level=log_level, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        found = server.servers[0].sockets[0].getsockname()[1]
        box.update(arena=Arena(hub, found, asyncio.get_running_loop(), path), server=server)
        started.set()
        await serving

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(60)
    found: Arena = box["arena"]
    try:
        yield found
    finally:
        with contextlib.suppress(Exception):
            found.on(found.hub.close(1), 5)
        box["server"].should_exit = True
        thread.join(60)

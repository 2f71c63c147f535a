"""A network that fails: a TCP relay that cuts what goes through it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tests.integration.signalr.arena import PATH


class Wire:
    """A TCP relay to a port; `cut` resets everything that goes through it, as a network does that fails."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[asyncio.StreamWriter] = set()
        self._in_use: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def stop(self) -> None:
        """Let nobody through any more."""
        assert self._server is not None
        self._server.close()

    async def cut_in_use(self) -> None:
        """Cut as soon as a client has gone on speaking after it was answered: one that is cut while it still connects
        gives up, and has the right to."""
        async with asyncio.timeout(60):
            while not self._in_use:
                await asyncio.sleep(0.005)
        self.cut()

    def cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()
        self._open.clear()
        self._in_use.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        ends = (writer, back)
        self._open.update(ends)
        answered = False

        def spoke(by: asyncio.StreamReader) -> None:
            nonlocal answered
            if by is there:
                answered = True
            elif answered and writer in self._open:
                self._in_use.add(writer)

        try:
            await asyncio.gather(_pump(reader, back, spoke), _pump(there, writer, spoke))
        finally:
            self._open.difference_update(ends)
            self._in_use.discard(writer)
            for end in ends:
                end.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, spoke: Callable[[asyncio.StreamReader], None]
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            spoke(reader)
            writer.write(data)
            await writer.drain()
        writer.write_eof()

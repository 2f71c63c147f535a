"""The platform's life as a process: one lock, one socket, one loop; signals, drain, end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.central.news import MAX_MESSAGE_BYTES
from loopai_runtime.central.platform import Platform
from loopai_runtime.central.routes import app
from loopai_runtime.http.serving import (
    calm_the_collector,
    give_memory_back,
    listening,
    more_descriptors,
    only_server,
    signals,
    tls_of,
    url_of,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_KEEP_ALIVE_S = 75
_DRAIN_S = 30


@dataclass(frozen=True, slots=True)
class Exposure:
    """Where the platform listens."""

    host: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None


def serve(
    config: Config, layout: Layout, exposure: Exposure, *, announce: Callable[[str], None] = lambda _url: None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises Busy, ConfigError, UsageError, StorageError."""
    import uvloop

    more_descriptors()
    with (
        only_server(layout, exposure, "central"),
        listening(exposure) as sock,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(config, layout, exposure, sock, announce))


async def _serve(
    config: Config, layout: Layout, exposure: Exposure, sock: socket.socket, announce: Callable[[str], None]
) -> None:
    import uvicorn

    from loopai_runtime.http.patience import PatientProtocol

    async with Platform(config, layout) as platform:
        calm_the_collector()
        settings = uvicorn.Config(
            app(platform),
            http=PatientProtocol,
            ws="auto",
            ws_max_size=2 * MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
        )
        settings.load()
        settings.ssl = tls_of(exposure)
        server = uvicorn.Server(settings)
        loop = asyncio.get_running_loop()
        leaving: list[asyncio.Task[None]] = []

        async def leave() -> None:
            await platform.news.close()  # uvicorn would wait for what the hub holds open
            server.should_exit = True

        def stop() -> None:
            platform.draining = True
            if not leaving:
                leaving.append(loop.create_task(leave()))

        with signals(loop, stop, lambda: None):
            beside = [
                loop.create_task(_tell(server, sock, exposure, announce)),
                loop.create_task(give_memory_back()),
            ]
            await server._serve(sockets=[sock])  # the part of `serve` that leaves signals alone
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, *leaving, return_exceptions=True)


async def _tell(server: object, sock: socket.socket, exposure: Exposure, announce: Callable[[str], None]) -> None:
    while not getattr(server, "started", False):
        await asyncio.sleep(0.001)
    announce(url_of(sock, exposure))

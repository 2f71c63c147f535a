"""The edge's life as a process: one lock, one socket, one loop; signals, drain, end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.edge.agent import Edge
from loopai_runtime.edge.trials import judging, observing
from loopai_runtime.edge.upkeep import keep_delivering, keep_reporting, keep_up
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
    from loopai_runtime.edge.routes import Door
    from loopai_runtime.layout import Layout

KEEP_ALIVE_S = 75
_DRAIN_S = 30


@dataclass(frozen=True, slots=True)
class Exposure:
    """Where the edge listens and who may enter."""

    host: str
    port: int
    door: Door
    tls_cert: Path | None = None
    tls_key: Path | None = None


def serve(
    config: Config,
    layout: Layout,
    exposure: Exposure,
    *,
    only: str | None = None,
    reload: Callable[[], None] = lambda: None,
    announce: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `announce` is called with the address once it answers.

    Raises Busy where another server has the data directory or the port, ConfigError, UsageError, NotFound,
    StorageError.
    """
    import uvloop

    more_descriptors()
    with (
        only_server(layout, exposure),
        listening(exposure) as sock,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(config, layout, exposure, sock, only, reload, announce))


async def _serve(
    config: Config,
    layout: Layout,
    exposure: Exposure,
    sock: socket.socket,
    only: str | None,
    reload: Callable[[], None],
    announce: Callable[[str], None],
) -> None:
    import uvicorn

    from loopai_runtime.edge.protocol import GuardedProtocol, cut_off_the_slow

    every_s = float(config.runtime.upkeep_interval_sec)
    async with Edge(config, layout, exposure.door, only) as edge:
        calm_the_collector()
        settings = uvicorn.Config(
            edge.routes,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
            h11_max_incomplete_event_size=64 * 1024,
        )
        settings.load()
        settings.ssl = tls_of(exposure)
        server = uvicorn.Server(settings)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            edge.pages.draining = True
            server.should_exit = True

        def hang_up() -> None:
            reload()
            edge.refresh_soon()

        with signals(loop, stop, hang_up):
            beside = [
                loop.create_task(_tell(server, sock, exposure, announce)),
                loop.create_task(cut_off_the_slow(server.server_state.connections)),
                loop.create_task(give_memory_back()),
                loop.create_task(keep_up(config, layout, edge.log, edge.with_oracle, every_s=every_s)),
                loop.create_task(keep_reporting(config, layout)),
                loop.create_task(observing(config, layout, edge.traffic)),
                loop.create_task(judging(config, layout, lambda task_id: task_id in edge.traffic.lanes)),
                loop.create_task(keep_delivering(config, layout)),
            ]
            if edge.link is not None:
                beside.append(loop.create_task(edge.link.run()))
            await server._serve(sockets=[sock])  # the part of `serve` that leaves signals alone
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


async def _tell(server: object, sock: socket.socket, exposure: Exposure, announce: Callable[[str], None]) -> None:
    while not getattr(server, "started", False):
        await asyncio.sleep(0.001)
    announce(url_of(sock, exposure))

"""The hub of the real platform, listened to by pysignalr."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from pysignalr.client import SignalRClient
from pysignalr.exceptions import ServerError
from tests.integration.central.conftest import PlatformProcess
from tests.integration.signalr.test_pysignalr import PROTOCOLS
from tests.integration.test_server import SPAM


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_it_hears_of_an_upload_and_is_ended_with_its_key(platform_process: PlatformProcess, protocol: str) -> None:
    platform = platform_process
    task = f"spam-{protocol}"
    platform.upload(task, SPAM)
    key_id, key = platform.key("read")

    async def talk() -> None:
        client = SignalRClient(
            f"{platform.url}/hubs/loopai",
            protocol=PROTOCOLS[protocol](),
            headers={"Authorization": f"Bearer {key}"},
            retry_count=1,
        )
        opened, answered = asyncio.Event(), asyncio.Event()
        heard: asyncio.Queue[list[Any]] = asyncio.Queue()

        async def on_open() -> None:
            opened.set()

        async def on_answer(_message: Any) -> None:
            answered.set()

        async def on_news(arguments: list[Any]) -> None:
            heard.put_nowait(arguments)

        client.on_open(on_open)
        client.on("OnNewArtifactAvailable", on_news)
        running = asyncio.create_task(client.run())
        try:
            async with asyncio.timeout(20):
                await opened.wait()
                await client.send("SubscribeTask", [task], on_invocation=on_answer)
                await answered.wait()
                version = await asyncio.to_thread(platform.upload, task, "def run(x):\n    return 'two'\n")
                assert await heard.get() == [task, version]
                status, _, _ = await asyncio.to_thread(platform.call, "DELETE", f"/api/v1/keys/{key_id}")
                assert status == 200
                with pytest.raises(ServerError, match="The key was revoked"):
                    await running
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await running

    asyncio.run(talk())

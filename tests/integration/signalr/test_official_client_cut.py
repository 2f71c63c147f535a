"""The official client when its socket is cut, and when nobody says anything."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.integration.signalr.arena import Arena, arena, make_hub
from tests.integration.signalr.conftest import Node
from tests.integration.signalr.wire import Wire

COUNT = 400


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_five_cuts_lose_and_repeat_nothing(server: Arena, node: Node, protocol: str) -> None:
    async def talk() -> str:
        async with Wire(server.port) as wire:
            process = node.start("stateful.mjs", wire.url, protocol, COUNT)
            try:
                assert process.stdout is not None
                ready = await asyncio.to_thread(process.stdout.readline)
                assert ready == "ready\n", process.stderr
                for _ in range(5):
                    await asyncio.sleep(0.3)
                    await wire.cut_in_use()
                out, err = await asyncio.to_thread(process.communicate, timeout=180)
            finally:
                process.kill()
            assert process.returncode == 0, err
            return out

    told = json.loads(asyncio.run(talk()))
    assert told["closed"] is None
    assert told["same"]
    every = list(range(COUNT))
    assert told["numbers"] == every
    assert told["streamed"] == every
    assert told["seen"] == every
    assert told["results"] == [2 * each for each in every[::20]]


@pytest.mark.parametrize("transport", ["WebSockets", "ServerSentEvents", "LongPolling"])
def test_it_comes_back_after_a_cut(server: Arena, node: Node, transport: str) -> None:
    async def talk() -> str:
        async with Wire(server.port) as wire:
            process = node.start("reconnect.mjs", wire.url, transport)
            try:
                assert process.stdout is not None
                assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
                await asyncio.sleep(0.2)
                await wire.cut_in_use()
                out, _ = await asyncio.to_thread(process.communicate, timeout=180)
            finally:
                process.kill()
            return out

    told = json.loads(asyncio.run(talk()))
    assert told == {"events": ["reconnecting", "reconnected"], "failed": True, "other": True, "sum": 42}


def test_quiet_connections_are_kept_alive_by_both(node: Node) -> None:
    with arena(lambda: make_hub(keep_alive_s=0.5, client_timeout_s=2.5, poll_timeout_s=1)) as server:
        told = json.loads(node.run("quiet.mjs", server.url, 4500)[0])
    for transport in ("WebSockets", "ServerSentEvents", "LongPolling"):
        assert told[transport] == {"closed": None, "same": True, "sum": 42}

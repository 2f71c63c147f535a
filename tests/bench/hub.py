"""How long a push to one group takes until the last of its clients has it; the hub is one process, its clients another.

python -m tests.bench.hub [--clients 2000] [--rounds 20]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOKEN = "token-of-ann"
PUSH = '{"type":1,"target":"Tell","arguments":["all","spam-detection"]}\x1e'


@dataclass(frozen=True)
class Measured:
    """Seconds from the call that causes a push until the last client has it, one for each round."""

    clients: int
    rounds: list[float]
    connecting_s: float
    kb_per_client: float
    cpu_s: float  # of the hub's process, for one push

    def __str__(self) -> str:
        ms = sorted(1000 * each for each in self.rounds)
        return (
            f"{self.clients} clients: median {statistics.median(ms):.0f} ms, worst {ms[-1]:.0f} ms; "
            f"connected in {self.connecting_s:.1f} s, {self.kb_per_client:.0f} KiB each in the hub, "
            f"{1000 * self.cpu_s:.0f} ms of its processor time a push"
        )


class Listener(asyncio.Protocol):
    """A client that costs little: it shakes hands, joins, and then counts what it hears."""

    def __init__(
        self,
        ready: Callable[[], None],
        heard: Callable[[], None],
        *,
        path: str = "/hubs/arena",
        token: str = TOKEN,
        join: str = '"Join","arguments":["all"]',
        target: str = "OnText",
    ) -> None:
        self._ready, self._heard = ready, heard
        self._path, self._token, self._join, self._target = path, token, join, f'"{target}"'.encode()
        self._joined = False
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self._token}\r\nupgrade: websocket\r\n"
            "connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )

    def say(self, text: str) -> None:
        """One masked text frame, the mask being zero."""
        payload = text.encode()
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self.transport.write(b"\x81" + size + b"\0\0\0\0" + payload)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 101"):
            self.say(
                f'{{"protocol":"json","version":1}}\x1e{{"type":1,"invocationId":"j","target":{self._join}}}\x1e'
            )
        data = self._tail + data
        if not self._joined and b'"invocationId":"j"' in data:
            self._joined = True
            self._ready()
        for _ in range(data.count(self._target)):
            self._heard()
        self._tail = data[-17:] if not self._joined else b""


async def measure(port: int, pid: int, clients: int, rounds: int) -> Measured:
    """Connect, then let one of them cause the pushes."""
    loop = asyncio.get_running_loop()
    waiting = clients
    arrived = asyncio.Event()

    def one() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            arrived.set()

    before, began = rss_kb(pid), time.perf_counter()
    listeners: list[Listener] = []
    for start in range(0, clients, 100):
        batch = [
            loop.create_connection(lambda: Listener(one, one), "127.0.0.1", port)
            for _ in range(min(100, clients - start))
        ]
        listeners += [protocol for _, protocol in await asyncio.gather(*batch)]
    await asyncio.wait_for(arrived.wait(), 300)
    connecting_s = time.perf_counter() - began
    kb = (rss_kb(pid) - before) / clients
    took: list[float] = []
    busy = cpu_s(pid)
    for number in range(rounds):
        waiting = clients
        arrived.clear()
        began = time.perf_counter()
        listeners[number % clients].say(PUSH)
        await asyncio.wait_for(arrived.wait(), 300)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.05)
    busy = (cpu_s(pid) - busy) / rounds
    for listener in listeners:
        listener.transport.abort()
    return Measured(clients, took, connecting_s, kb, busy)


def rss_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.split("VmRSS:")[1].split()[0])


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve() -> None:
    """The hub's process: prints its port, serves until its input ends."""
    import uvloop
    from tests.integration.signalr.arena import arena, make_hub

    uvloop.install()
    with arena(lambda: make_hub(max_connections_per_user=100_000), log_level="warning") as found:
        print(found.port, flush=True)
        sys.stdin.read()


def run(clients: int, rounds: int) -> Measured:
    """A hub in a process of its own, and what it measures."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    command = [sys.executable, "-m", "tests.bench.hub", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hub:
        try:
            assert hub.stdout is not None
            port = int(hub.stdout.readline())
            return asyncio.run(measure(port, hub.pid, clients, rounds))
        finally:
            assert hub.stdin is not None
            hub.stdin.close()
            hub.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--serve", action="store_true")
    asked = parser.parse_args()
    if asked.serve:
        serve()
    else:
        print(run(asked.clients, asked.rounds))


if __name__ == "__main__":
    main()

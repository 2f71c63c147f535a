"""How fast a server answers on this machine: open-loop load, latencies counted from when a request was due.

Requests leave on schedule whether or not earlier ones came back, so a stall of the server shows in every request
that it delayed, and not only in one (the "coordinated omission" of closed loops).
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest, jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import LoopaiError, NotFound
from loopai_runtime.flows.measure import percentile
from loopai_runtime.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GRACE_S = 5.0
_START_S = 30.0


@dataclass(slots=True)
class Load:
    """What came of a load: of each answer the milliseconds since it was due and the status; what got none."""

    rate: float
    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    unanswered: int = 0

    @property
    def failed(self) -> int:
        """Answers that were not a 200."""
        return len(self.statuses) - self.statuses.count(200)

    def summary(self) -> dict[str, Any]:
        done = self.latencies_ms or [0.0]
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "answered": len(self.latencies_ms),
            "failed": self.failed,
            "unanswered": self.unanswered,
            **{f"p{name}_ms": round(percentile(done, share), 3) for name, share in _SHARES.items()},
            "max_ms": round(max(done), 3),
        }

    def histogram(self) -> list[tuple[str, int]]:
        """Counts by latency, in steps of a factor of two from 0.25 ms."""
        counts: dict[float, int] = {}
        for latency in self.latencies_ms:
            bound = 0.25
            while latency > bound:
                bound *= 2
            counts[bound] = counts.get(bound, 0) + 1
        return [(f"<= {bound:g} ms", counts[bound]) for bound in sorted(counts)]


_SHARES = {"50": 0.5, "90": 0.9, "99": 0.99, "99_9": 0.999}


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, free: deque[_Connection], load: Load) -> None:
        self._free = free
        self._load = load
        self._due: float | None = None
        self._received = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._free.append(self)

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or self._due is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self._load.latencies_ms.append((asyncio.get_running_loop().time() - self._due) * 1000)
        self._load.statuses.append(int(head[9:12]))
        self._received, self._due = b"", None
        self._free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._free:
            self._free.remove(self)


def run_load(
    host: str,
    port: int,
    task_id: str,
    inputs: Sequence[Any],
    *,
    rate: float,
    seconds: float,
    connections: int,
    api_key: str | None = None,
) -> Load:
    """Send `rate` requests a second for `seconds`. Raises LoopaiError where nobody answers."""
    import uvloop

    requests = [_request(host, port, task_id, value, api_key) for value in inputs]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_drive(host, port, requests, rate, seconds, connections))


async def _drive(
    host: str, port: int, requests: list[bytes], rate: float, seconds: float, connections: int
) -> Load:
    loop = asyncio.get_running_loop()
    load = Load(rate, seconds)
    free: deque[_Connection] = deque()
    try:
        made = [
            await loop.create_connection(lambda: _Connection(free, load), host, port) for _ in range(connections)
        ]
    except OSError as error:
        raise LoopaiError(f"nobody answers at {host}:{port}: {error}", hint="loopai start serves") from None
    total, sent, started = round(rate * seconds), 0, loop.time()
    while loop.time() < started + seconds + _GRACE_S:
        while sent < total and free and started + sent / rate <= loop.time():
            free.popleft().send(requests[sent % len(requests)], started + sent / rate)
            sent += 1
        if len(load.latencies_ms) >= total:
            break
        await asyncio.sleep(0 if free and sent < total else 0.0005)
    load.unanswered = total - len(load.latencies_ms)
    for transport, _ in made:
        transport.close()
    return load


def _request(host: str, port: int, task_id: str, value: Any, api_key: str | None) -> bytes:
    body = jsonl.encode({"input": value})
    lines = [f"POST /v1/execute/{task_id} HTTP/1.1", f"Host: {host}:{port}", f"Content-Length: {len(body)}"]
    if api_key is not None:
        lines.append(f"Authorization: Bearer {api_key}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def example_inputs(layout: Layout, task_id: str, most: int = 1000) -> list[Any]:
    """Inputs of the task's stored examples. Raises NotFound where there are none."""
    path = layout.examples(task_id)
    try:
        with at_rest.opened(layout, path) as file:
            found = [
                jsonl.loads(line.raw)["input"] for _, line in zip(range(most), jsonl.lines(file), strict=False)
            ]
    except FileNotFoundError:
        found = []
    if not found:
        raise NotFound(f"the task {task_id} has no stored examples to send", hint="--input gives one")
    return found


@contextlib.contextmanager
def own_server(layout: Layout, reference: str, workers: int | None) -> Iterator[int]:
    """A server of one version over a data directory of its own, so that no log of real traffic gets the load.

    Answers its port. Raises LoopaiError where it does not start.
    """
    stored = ArtifactStore(layout).read(reference)
    task_id = stored.artifact.task_id
    with tempfile.TemporaryDirectory(prefix="loopai-bench-") as root:
        own = Layout(root)
        with own.lock(task_id, 5):
            store = ArtifactStore(own)
            added = store.add(stored.artifact, stored.code, stored.status)
            store.activate(task_id, added.version)
        command = [sys.executable, "-m", "loopai_runtime", "start", "--port", "0", "--data-dir", root]
        command += ["--workers", str(workers)] if workers else []
        errors = Path(root) / "stderr"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            if not url:
                said = errors.read_text("utf-8", "replace").strip().splitlines()
                raise LoopaiError(f"the server did not start: {said[-1] if said else 'it said nothing'}")
            yield int(url.rpartition(":")[2])
        finally:
            process.terminate()
            try:
                process.wait(_START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

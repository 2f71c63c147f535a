"""The official client, listening to a platform, as a process that is told what to call."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from typing import Any

from tests.integration.signalr.conftest import Node


class Listener:
    """Everything that happens comes out of `next`, in order; `call` adds to it."""

    def __init__(
        self,
        node: Node,
        url: str,
        key: str,
        *tasks: str,
        transport: str = "WebSockets",
        protocol: str = "json",
        stateful: bool = False,
    ) -> None:
        self._process = subprocess.Popen(
            [node.node, str(node.folder / "news.mjs"), f"{url}/hubs/loopai", transport, protocol, *tasks],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"KEY": key} | ({"STATEFUL": "1"} if stateful else {}),
        )
        self._said: queue.Queue[list[Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(json.loads(line))
        assert self._process.stderr is not None
        self._said.put(["ended", self._process.stderr.read()])

    def next(self, seconds: float = 60) -> list[Any]:
        return self._said.get(timeout=seconds)

    def until(self, name: str) -> list[list[Any]]:
        """What happens up to `name`, which is the last."""
        seen = [self.next()]
        while seen[-1][0] != name:
            assert seen[-1][0] != "ended", seen
            seen.append(self.next())
        return seen

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """What the hub answers; what is heard before that is dropped."""
        self.tell(method, *arguments)
        return self.until(method)[-1]

    def tell(self, method: str, *arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self._process.stdin.flush()

    def heard(self) -> list[list[Any]]:
        """What is heard until the client has stopped."""
        self.tell("stop")
        return self.until("closed")[:-1]

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

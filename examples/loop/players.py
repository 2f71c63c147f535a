"""Who plays in the story: edges, the platform, customers that write mail, and a line that can be cut."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx
import mail

from loopai_runtime import Client
from loopai_runtime.errors import LoopaiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

TASK = "shop-mail"
PATIENCE_S = 300.0
"""How long anything may take; usually it takes seconds."""
_LOOK_EVERY_S = 0.1


class Stuck(Exception):
    """What the story waited for did not happen."""


def until(what: str, look: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """What `look` returns once that is true. Raises Stuck."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Stuck(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(_LOOK_EVERY_S)
    return found


def loopai(root: Path, *command: object, codes: tuple[int, ...] = (0,), **environment: str) -> str:
    """Run a command on a data directory, as a person would; what it prints."""
    line = [sys.executable, "-m", "loopai_runtime", *map(str, command)]
    done = subprocess.run(line, capture_output=True, text=True, env=_environment(root, environment), check=False)
    if done.returncode not in codes:
        raise Stuck(f"loopai {' '.join(map(str, command))}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _environment(root: Path, more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPAI_")}
    return {**kept, "LOOPAI_DATA_DIR": str(root), **more}


class Server:
    """A `loopai` that serves: an edge, or the platform. `log` is the file of its messages."""

    command: tuple[str, ...] = ("start",)

    def __init__(self, name: str, root: Path, **settings: Any) -> None:
        self.name = name
        self.root = root
        self.port = 0
        self.log = root.parent / f"{root.name}.log"
        self._process: subprocess.Popen[str] | None = None
        config = root / "config" / "deployment.yaml"
        config.parent.mkdir(parents=True, mode=0o700)
        config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML

    def start(self) -> Self:
        """Start it, at the port it had before; it answers when this returns."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "loopai_runtime", *self.command, "--port", str(self.port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_environment(self.root, {}),
            )
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        if not url:
            raise Stuck(f"{self.name} does not start: {self.log.read_text('utf-8')[-500:]}")
        self.port = int(url.rpartition(":")[2])
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdout is not None:
            process.send_signal(how)
            process.wait()
            process.stdout.close()

    def said(self, text: str) -> bool:
        """Whether it has logged this."""
        return text in self.log.read_text("utf-8")

    def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            content = body if isinstance(body, bytes) or body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            raw = response.read()
            kind = response.getheader("content-type") or ""
            return response.status, json.loads(raw) if "json" in kind else raw.decode()
        finally:
            connection.close()

    def metrics(self, prefix: str) -> dict[str, float]:
        """The numbers of `/metrics` whose names begin so, with their labels."""
        lines = self.call("GET", "/metrics")[1].splitlines()
        found = [line.rpartition(" ") for line in lines if line.startswith(prefix)]
        return {name: float(value) for name, _, value in found}

    def audit(self) -> list[dict[str, Any]]:
        """Every line of its audit, the oldest first."""
        files = sorted((self.root / "audit").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


class Platform(Server):
    """The central platform."""

    command = ("central", "start")

    @property
    def admin_key(self) -> str:
        return (self.root / "secrets" / "admin.key").read_text("utf-8").strip()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """As its administrator. Raises Stuck where it refuses."""
        status, said = self.call(method, path, body, self.admin_key)
        if status >= 300:
            raise Stuck(f"{method} {path}: {status} {said}")
        return said

    def key(self, *scopes: str, deployment: str | None = None) -> str:
        made = self.ask("POST", "/api/v1/keys", {"name": "story", "scopes": scopes, "deployment_id": deployment})
        key: str = made["key"]
        return key


class Edge(Server):
    """One running edge."""

    @property
    def serves(self) -> int:
        """The version that is active; 0: none."""
        tasks = self.call("GET", "/readyz")[1].get("tasks", {})
        return int(tasks.get(TASK, {}).get("version", 0))

    def execute(self, given: dict[str, Any]) -> tuple[int, Any]:
        return self.call("POST", f"/v1/execute/{TASK}", {"input": given})

    def rollout(self) -> dict[str, Any]:
        """What `loopai rollout status` says."""
        return json.loads(loopai(self.root, "rollout", "status", TASK, "-o", "json"))

    def has(self, event: str, **facts: Any) -> dict[str, Any] | None:
        """The last line of the audit with an event and some facts."""
        wanted = {"kind": event, **facts}
        return next((line for line in reversed(self.audit()) if wanted.items() <= line.items()), None)


class Customers:
    """They write to an edge all the time, from a thread; `drifted` and `bells` say what about.

    Used in a `with`. `answers` counts what came back, by version; whatever is no answer ends in `refused`.
    """

    def __init__(self, edge: Edge, seed: int, every_s: float = 0.02) -> None:
        self.drifted = self.bells = 0.0
        self.answers: Counter[int] = Counter()
        self.refused: list[str] = []
        self._edge = edge
        self._chance = random.Random(seed)  # noqa: S311  a seed, not a secret
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        with Client(self._edge.url, timeout_s=60.0, attempts=1) as client:
            while not self._over.wait(self._every_s):
                given = mail.message(self._chance, drifted=self.drifted, bells=self.bells)
                try:
                    self.answers[client.execute(TASK, given).version] += 1
                except (LoopaiError, httpx.HTTPError) as error:
                    self.refused.append(repr(error))


class Line:
    """A line to a server that can be cut and mended, for an edge that is offline for a while. Use in a `with`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def cut(self) -> None:
        self._is_cut = True
        for connection in list(self._open):
            _close(connection)

    def mend(self) -> None:
        self._is_cut = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        _close(self._listening)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                if self._is_cut:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._server.port))
            except OSError:
                _close(client)
                continue
            self._open |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            _close(each)
            self._open.discard(each)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

"""Pulling from a place that lies, breaks off, or is no platform: nothing of it is kept, and what served serves."""

from __future__ import annotations

import http.server
import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.integration.central.conftest import zipped
from tests.integration.conftest import Loopai
from tests.integration.test_server import add

from loopai_runtime import signing
from loopai_runtime.artifacts import archive, puller
from loopai_runtime.artifacts.bundle import SIGNATURE, Bundle, sha256
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.config import Config
from loopai_runtime.errors import LoopaiError, PolicyRefused, TamperedArtifact, Unreachable
from loopai_runtime.flows.pull import pull
from loopai_runtime.layout import Layout

MINE = signing.Signer(b"\5" * 32)
MET: dict[str, Any] = {"accuracy": {"value": 0.95}, "latency_ms": {"p99": 1.0}}


def program(answer: str) -> str:
    return f"def run(input_data):\n    return {answer!r}\n"


def pulled(liar: Liar, layout: Layout, reference: str = "lied") -> LoopaiError | None:
    """What stands against pulling from it."""
    environ = {"LOOPAI_CLOUD__API_URL": liar.url, "LOOPAI_API_KEY": "lp_x_y"}
    try:
        pull(reference, layout, Config.load(data_dir=layout.root, environ=environ))
    except LoopaiError as error:
        return error
    return None


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puller, "_WAIT_S", 0.0)


@dataclass
class Liar:
    """A platform with one version, of which `answer(handler, content)` sends the download its own way."""

    content: bytes
    about: dict[str, Any]
    answer: Callable[[http.server.BaseHTTPRequestHandler, bytes], None]
    url: str = ""
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def lie() -> Iterator[Callable[..., Liar]]:
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(answer: Callable[..., None], content: bytes | None = None, **about: Any) -> Liar:
        content = content if content is not None else signed(MINE)
        said = {"digest": archive.unzip(content, "x").digest, "sha256": sha256(content), "size": len(content)}
        liar = Liar(content, said | about, answer)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.endswith("/versions"):
                    body = {"versions": [{"version": 1, "status": "validated"}], "next": None}
                elif self.path.endswith("/metadata"):
                    body = liar.about
                else:
                    liar.ranges.append(self.headers.get("range", ""))
                    liar.answer(self, liar.content)
                    return
                send(self, 200, json.dumps(body).encode(), **{"content-type": "application/json"})

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        liar.url = f"http://127.0.0.1:{server.server_port}"
        return liar

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def signed(signer: signing.Signer, answer: str = "spam", digest: str | None = None) -> bytes:
    found = archive.unzip(zipped("lied", program(answer)), "x")
    files = {**found.files, SIGNATURE: signer.sign(digest or found.digest)}
    return archive.write_zip(Bundle(found.artifact, files, found.digest))


def send(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"content-length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def honest(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    first, last = (int(each) for each in handler.headers["range"].removeprefix("bytes=").split("-"))
    part = content[first : last + 1]
    send(handler, 206, part, **{"content-range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"})


def wrong_bytes(handler: Any, content: bytes) -> None:
    send(handler, 200, b"x" * len(content))


def too_short(handler: Any, content: bytes) -> None:
    send(handler, 200, content[:-10], **{"content-length": str(len(content))})
    handler.close_connection = True


def too_long(handler: Any, content: bytes) -> None:
    send(handler, 200, content + b"more")


def endless(handler: Any, content: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 2**20)
    except OSError:
        handler.close_connection = True


def elsewhere(handler: Any, content: bytes) -> None:
    send(handler, 302, b"", location="http://127.0.0.1:1/evil.zip")


def another_part(handler: Any, content: bytes) -> None:
    send(handler, 206, content[5:], **{"content-range": f"bytes 5-{len(content) - 1}/{len(content)}"})


def nonsense_range(handler: Any, content: bytes) -> None:
    send(handler, 206, content, **{"content-range": "bytes */*"})


def html(handler: Any, content: bytes) -> None:
    send(handler, 500, b"<html>it works</html>", **{"content-type": "text/html"})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (wrong_bytes, TamperedArtifact),
        (too_short, Unreachable),
        (too_long, TamperedArtifact),
        (endless, Unreachable),
        (elsewhere, Unreachable),
        (another_part, TamperedArtifact),
        (nonsense_range, Unreachable),
        (html, Unreachable),
    ],
)
def test_a_server_that_lies_is_not_believed(
    lie: Callable[..., Liar], tmp_path: Path, answer: Any, kind: type[LoopaiError]
) -> None:
    liar, layout = lie(answer), Layout(tmp_path)
    add(layout, "lied", program("good"), **MET)
    error = pulled(liar, layout)
    assert isinstance(error, kind)
    assert error.exit_code == 1
    assert "\n" not in str(error)
    state = ArtifactStore(layout).state("lied")
    assert (list(state.versions), state.active) == ([1], 1)
    assert not layout.platform_key.exists()


@pytest.mark.parametrize(
    ("content", "about"),
    [
        (zipped("lied", program("unsigned")), {}),
        (signed(MINE, digest="00" * 32), {}),
        (zipped("another", program("spam")), {}),
        (zipped("lied", program("spam"), version=7), {}),
        (signed(MINE), {"digest": "00" * 32}),
        (signed(MINE), {"sha256": "00" * 32}),
        (signed(MINE), {"sha256": "../../x"}),
        (signed(MINE), {"size": 10**12}),
        (signed(MINE), {"size": "many"}),
        (signed(MINE), {"digest": None}),
    ],
)  # fmt: skip
def test_what_is_not_what_it_is_said_to_be_is_not_stored(
    lie: Callable[..., Liar], tmp_path: Path, content: bytes, about: dict[str, Any]
) -> None:
    layout = Layout(tmp_path)
    assert isinstance(pulled(lie(honest, content, **about), layout), TamperedArtifact)
    assert not layout.artifacts("lied").exists()
    assert not layout.platform_key.exists()


def test_a_program_that_the_policy_refuses_is_not_stored_whoever_signed_it(
    lie: Callable[..., Liar], tmp_path: Path
) -> None:
    found = archive.unzip(zipped("lied", "import os\ndef run(input_data):\n    return os.getcwd()\n"), "x")
    files = {**found.files, SIGNATURE: MINE.sign(found.digest)}
    layout = Layout(tmp_path)
    liar = lie(honest, archive.write_zip(Bundle(found.artifact, files, found.digest)))
    assert isinstance(pulled(liar, layout), PolicyRefused)
    assert not layout.artifacts("lied").exists()


def test_one_who_lies_is_told_of_in_two_lines(lie: Callable[..., Liar], tmp_path: Path) -> None:
    done = Loopai(tmp_path / "data")(
        "pull", "lied", env={"LOOPAI_CLOUD__API_URL": lie(wrong_bytes).url, "LOOPAI_API_KEY": "x"}
    )
    assert done.code == 1
    assert "was announced" in done.err
    assert len(done.err.splitlines()) <= 2


def test_a_download_that_broke_off_is_gone_on_with_after_a_kill(lie: Callable[..., Liar], tmp_path: Path) -> None:
    """The first two pieces come, then nothing; the process is killed; the next one asks for the rest alone."""
    big = "def run(input_data):\n    return 'spam'\n" + "\n".join(
        f"A{n} = '{sha256(str(n).encode())}'" for n in range(45_000)
    )
    found = archive.unzip(zipped("lied", big), "x")
    files = {**found.files, SIGNATURE: MINE.sign(found.digest)}
    content = archive.write_zip(Bundle(found.artifact, files, found.digest))
    assert len(content) > 1.5 * 2**20
    stuck, go_on = threading.Event(), threading.Event()

    def hangs(handler: Any, content: bytes) -> None:
        if not go_on.is_set() and not handler.headers["range"].startswith("bytes=0-"):
            stuck.set()
            go_on.wait(120)
        honest(handler, content)

    liar = lie(hangs, content)
    loopai, layout = Loopai(tmp_path), Layout(tmp_path)
    add(layout, "lied", program("good"), **MET)
    process = loopai.start("pull", "lied@1", "--url", liar.url, "--api-key", "lp_x_y")
    assert stuck.wait(120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.stat().st_size for path in layout.pulls.glob("*.part")] == [2**20]
    assert loopai("run", "lied", '{"text": "x"}').out == '"good"\n'

    go_on.set()
    before = len(liar.ranges)
    done = loopai("pull", "lied@1", "-o", "json", "--url", liar.url, "--api-key", "lp_x_y")
    assert (done.code, done.json["version"], done.json["new"]) == (0, 2, True), done.err
    assert liar.ranges[before].startswith(f"bytes={2**20}-")
    assert not list(layout.pulls.glob("*.part"))
    assert loopai("run", "lied@2", '{"text": "x"}').out == '"spam"\n'

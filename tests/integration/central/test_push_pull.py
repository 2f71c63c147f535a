"""`loopai push`, `pull` and `verify` against a real platform, and against places that are none."""

from __future__ import annotations

import http.server
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.integration.central.conftest import PlatformProcess, running, zipped
from tests.integration.conftest import Done, Loopai
from tests.integration.test_server import add

from loopai_runtime import signing
from loopai_runtime.artifacts import archive
from loopai_runtime.artifacts.bundle import SIGNATURE, Bundle, sha256
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.layout import Layout

MET: dict[str, Any] = {"accuracy": {"value": 0.95}, "latency_ms": {"p99": 1.0}}


def program(answer: str) -> str:
    return f"def run(input_data):\n    return {answer!r}\n"


@dataclass
class Edge:
    """A data directory that knows a platform."""

    loopai: Loopai
    url: str
    key: str

    @property
    def layout(self) -> Layout:
        return Layout(self.loopai.data_dir)

    def __call__(self, *args: object, **env: str) -> Done:
        return self.loopai(*args, env={"LOOPAI_CLOUD__API_URL": self.url, "LOOPAI_API_KEY": self.key, **env})


@pytest.fixture
def edge(platform_process: PlatformProcess, tmp_path: Path) -> Edge:
    return Edge(Loopai(tmp_path / "edge"), platform_process.url, platform_process.admin_key)


# --- push ---------------------------------------------------------------------------------------------------


def test_a_version_is_pushed_once_and_pulled_elsewhere_as_what_it_was(edge: Edge, tmp_path: Path) -> None:
    add(edge.layout, "roundtrip", program("spam"), **MET)
    done = edge("push", "roundtrip", "-o", "json")
    assert (done.code, done.json["version"], done.json["new"]) == (0, 1, True), done.err
    again = edge("push", "roundtrip@v1", "-o", "json")
    assert (again.code, again.json["version"], again.json["new"]) == (0, 1, False)
    assert "had it already" in again.err

    other = Edge(Loopai(tmp_path / "other"), edge.url, edge.key)
    started = time.monotonic()
    done = other("pull", "roundtrip", "-o", "json")
    assert time.monotonic() - started < 5
    assert (done.code, done.json["version"], done.json["status"]) == (0, 1, "active"), done.err
    here = ArtifactStore(other.layout).read("roundtrip")
    there = ArtifactStore(edge.layout).read("roundtrip")
    assert (here.digest, here.code) == (there.digest, there.code)
    assert here.artifact.origin is not None
    assert (here.artifact.origin["version"], here.artifact.origin["platform"]) == (1, edge.url.split("//")[1])
    assert other("run", "roundtrip", '{"text": "x"}').out == '"spam"\n'
    assert other("verify", "roundtrip").err == "roundtrip@v1 is signed by the platform\n"

    again = other("pull", "roundtrip", "-o", "json")
    assert (again.code, again.json["new"]) == (0, False)


def test_what_holds_personal_data_is_not_pushed(edge: Edge, platform_process: PlatformProcess) -> None:
    add(edge.layout, "leaky", program("write to jane.doe@example.com"), **MET)
    done = edge("push", "leaky")
    assert done.code == 1
    assert "was not pushed: program.py:2 (EMAIL j…m" in done.err
    assert "jane.doe@example.com" not in done.err
    assert platform_process.call("GET", "/api/v1/artifacts/leaky/versions")[0] == 404
    add(edge.layout, "leaky", program("fine"), description="As Jane's IBAN DE89370400440532013000 says", **MET)
    assert edge("push", "leaky@2").code == 1


def test_a_push_is_in_the_audit(edge: Edge) -> None:
    add(edge.layout, "audited", program("spam"), **MET)
    assert edge("push", "audited").code == 0
    (day,) = edge.layout.audit.iterdir()
    (entry,) = [json.loads(line) for line in day.read_text().splitlines()]
    assert (entry["kind"], entry["task_id"], entry["platform_version"]) == ("push", "audited", 1)


def test_exit_codes_say_who_is_wrong(edge: Edge, platform_process: PlatformProcess) -> None:
    add(edge.layout, "codes", program("spam"), **MET)
    _, reader = platform_process.key("read")
    wrong = "lp_0123456789ab_wrong"
    assert edge("push", "codes", LOOPAI_API_KEY=wrong).code == 4
    assert edge("push", "codes", LOOPAI_API_KEY=reader).code == 4
    assert edge("pull", "codes", LOOPAI_API_KEY=wrong).code == 4
    assert edge("push", "none").code == 5
    assert edge("push", "codes@9").code == 5
    assert edge("pull", "never-published").code == 5
    assert edge("push", "codes").code == 0
    assert edge("pull", "codes@9").code == 5
    assert edge("pull", "Not_A_Task").code == 2
    assert edge("pull", "codes@previous").code == 2
    nowhere = edge.loopai("pull", "codes")
    assert nowhere.code == 2
    assert "--url" in nowhere.err


def test_flags_win_over_the_environment_and_a_key_in_a_flag_is_warned_of(edge: Edge) -> None:
    add(edge.layout, "flags", program("spam"), **MET)
    done = edge(
        "push", "flags", "--url", edge.url, "--api-key", edge.key,
        LOOPAI_CLOUD__API_URL="http://127.0.0.1:1", LOOPAI_API_KEY="wrong",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "warning: a key on the command line" in done.err
    assert edge.key not in done.out + done.err


# --- pull ---------------------------------------------------------------------------------------------------


def test_an_active_version_is_never_changed_and_a_taken_number_gives_way(
    edge: Edge, platform_process: PlatformProcess
) -> None:
    add(edge.layout, "taken", program("mine"), **MET)
    platform_process.upload("taken", program("theirs"))
    done = edge("pull", "taken@1", "-o", "json")
    assert (done.json["version"], done.json["platform_version"], done.json["status"]) == (2, 1, "validated")
    assert "loopai activate taken@2" in done.err
    assert ArtifactStore(edge.layout).active_version("taken") == 1
    platform_process.upload("taken", program("third"))
    platform_process.upload("taken", program("fourth"))
    done = edge("pull", "taken", "-o", "json")
    assert (done.json["version"], done.json["platform_version"]) == (3, 3)
    assert edge("run", "taken", '{"text": "x"}').out == '"mine"\n'


def test_the_newest_version_that_is_not_given_up_is_meant(edge: Edge, platform_process: PlatformProcess) -> None:
    for answer in ("one", "two", "three"):
        platform_process.upload("newest", program(answer))
    platform_process.upload("newest", program("draft"), accuracy={"value": 0.1})
    platform_process.call("POST", "/api/v1/artifacts/newest/v3/deprecate", {"reason": "wrong"})
    assert edge("pull", "newest", "-o", "json").json["platform_version"] == 2
    assert edge("pull", "newest@4", "-o", "json").json["status"] == "draft"


def test_without_the_platform_what_is_on_disk_goes_on(edge: Edge, platform_process: PlatformProcess) -> None:
    platform_process.upload("offline", program("spam"))
    assert edge("pull", "offline").code == 0
    away = {"LOOPAI_CLOUD__API_URL": "http://127.0.0.1:1"}
    for reference in ("offline", "offline@1"):
        done = edge("pull", reference, "-o", "json", **away)
        assert (done.code, done.json["version"], done.json["new"]) == (0, 1, False), done.err
        assert "does not answer" in done.err
        assert "offline v1 is on disk (active) and goes on" in done.err
    assert edge("run", "offline", '{"text": "x"}', **away).out == '"spam"\n'
    for reference in ("offline@2", "other"):
        assert edge("pull", reference, **away).code == 1


def test_two_pulls_at_the_same_time_store_it_once(edge: Edge, platform_process: PlatformProcess) -> None:
    platform_process.upload("twice", program("spam"))
    command = ("pull", "twice", "--url", edge.url, "--api-key", edge.key)
    started = [edge.loopai.start(*command) for _ in range(3)]
    assert [process.communicate() and process.returncode for process in started] == [0, 0, 0]
    assert list(ArtifactStore(edge.layout).state("twice").versions) == [1]


# --- whom to believe ----------------------------------------------------------------------------------------


def test_the_first_key_is_pinned_and_another_platforms_is_refused(edge: Edge, tmp_path: Path) -> None:
    key = Edge(Loopai(tmp_path / "x"), edge.url, edge.key)
    with running(tmp_path / "second") as second:
        second.upload("believed", program("evil"))
        first = Edge(Loopai(tmp_path / "y"), second.url, second.admin_key)
        assert "is pinned from now on" in first("pull", "believed").err
        assert "is pinned" not in first("pull", "believed").err

        add(key.layout, "own", program("spam"), **MET)
        assert key("push", "own").code == 0
        elsewhere = Edge(Loopai(tmp_path / "z"), edge.url, edge.key)
        assert elsewhere("pull", "own").code == 0
        moved = Edge(elsewhere.loopai, second.url, second.admin_key)
        refused = moved("pull", "believed")
        assert refused.code == 1
        assert "and the pinned one is" in refused.err
        assert "cloud.pinned_key" in refused.err
        assert not elsewhere.layout.artifacts("believed").exists()

        theirs = second.call("GET", "/api/v1/signing-key")[1]["key"]
        assert moved("pull", "believed", LOOPAI_CLOUD__PINNED_KEY=theirs).code == 0
        assert moved("verify", "believed").code == 1
        assert moved("verify", "believed", LOOPAI_CLOUD__PINNED_KEY=theirs).code == 0


def test_verify_tells_a_forged_signature_and_one_that_nobody_vouches_for(edge: Edge, tmp_path: Path) -> None:
    stranger = signing.Signer(b"\7" * 32)
    found = archive.unzip(zipped("forged", program("spam")), "x")
    for name, digest in (("good", found.digest), ("forged", "00" * 32)):
        files = {**found.files, SIGNATURE: stranger.sign(digest)}
        (tmp_path / f"{name}.zip").write_bytes(archive.write_zip(Bundle(found.artifact, files, found.digest)))
    done = edge("verify", str(tmp_path / "good.zip"))
    assert done.code == 0
    assert f"is signed by {stranger.public}, and no platform's key is pinned here" in done.err
    done = edge("verify", str(tmp_path / "forged.zip"))
    assert done.code == 1
    assert "does not sign what is here" in done.err


# --- a place that lies --------------------------------------------------------------------------------------


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
        content = content if content is not None else signed(signing.Signer(b"\5" * 32))
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
    "answer", [wrong_bytes, too_short, too_long, endless, elsewhere, another_part, nonsense_range, html]
)
def test_a_server_that_lies_is_not_believed(lie: Callable[..., Liar], tmp_path: Path, answer: Any) -> None:
    liar = lie(answer)
    edge = Edge(Loopai(tmp_path / "edge"), liar.url, "lp_x_y")
    add(edge.layout, "lied", program("good"), **MET)
    done = edge("pull", "lied@2")
    assert done.code == 1, (done.out, done.err)
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) <= 2
    assert list(ArtifactStore(edge.layout).state("lied").versions) == [1]
    assert edge("run", "lied", '{"text": "x"}').out == '"good"\n'
    assert not edge.layout.platform_key.exists()


@pytest.mark.parametrize(
    ("content", "about"),
    [
        (zipped("lied", program("unsigned")), {}),
        (signed(signing.Signer(b"\5" * 32), digest="00" * 32), {}),
        (zipped("another", program("spam")), {}),
        (signed(signing.Signer(b"\5" * 32)), {"digest": "00" * 32}),
        (signed(signing.Signer(b"\5" * 32)), {"sha256": "00" * 32}),
        (signed(signing.Signer(b"\5" * 32)), {"sha256": "../../x"}),
        (signed(signing.Signer(b"\5" * 32)), {"size": 10**12}),
        (signed(signing.Signer(b"\5" * 32)), {"size": "many"}),
        (signed(signing.Signer(b"\5" * 32)), {"digest": None}),
    ],
)  # fmt: skip
def test_what_is_not_what_it_is_said_to_be_is_not_stored(
    lie: Callable[..., Liar], tmp_path: Path, content: bytes, about: dict[str, Any]
) -> None:
    liar = lie(honest, content, **about)
    edge = Edge(Loopai(tmp_path / "edge"), liar.url, "lp_x_y")
    done = edge("pull", "lied")
    assert done.code == 1, done.err
    assert len(done.err.splitlines()) <= 2
    assert not edge.layout.artifacts("lied").exists()
    assert not edge.layout.platform_key.exists()


def test_a_program_that_the_policy_refuses_is_not_stored_whoever_signed_it(
    lie: Callable[..., Liar], tmp_path: Path
) -> None:
    found = archive.unzip(zipped("lied", "import os\ndef run(input_data):\n    return os.getcwd()\n"), "x")
    files = {**found.files, SIGNATURE: signing.Signer(b"\5" * 32).sign(found.digest)}
    liar = lie(honest, archive.write_zip(Bundle(found.artifact, files, found.digest)))
    edge = Edge(Loopai(tmp_path / "edge"), liar.url, "lp_x_y")
    assert edge("pull", "lied").code == 2
    assert not edge.layout.artifacts("lied").exists()


def test_a_download_that_broke_off_is_gone_on_with_after_a_kill(lie: Callable[..., Liar], tmp_path: Path) -> None:
    """The first two pieces come, then nothing; the process is killed; the next one asks for the rest alone."""
    big = "def run(input_data):\n    return 'spam'\n" + "\n".join(
        f"A{n} = '{sha256(str(n).encode())}'" for n in range(45_000)
    )
    found = archive.unzip(zipped("lied", big), "x")
    files = {**found.files, SIGNATURE: signing.Signer(b"\5" * 32).sign(found.digest)}
    content = archive.write_zip(Bundle(found.artifact, files, found.digest))
    assert len(content) > 1.5 * 2**20
    stuck, go_on = threading.Event(), threading.Event()

    def hangs(handler: Any, content: bytes) -> None:
        if not go_on.is_set() and not handler.headers["range"].startswith("bytes=0-"):
            stuck.set()
            go_on.wait(30)
        honest(handler, content)

    liar = lie(hangs, content)
    edge = Edge(Loopai(tmp_path / "edge"), liar.url, "lp_x_y")
    add(edge.layout, "lied", program("good"), **MET)
    process = edge.loopai.start("pull", "lied@1", "--url", liar.url, "--api-key", "lp_x_y")
    assert stuck.wait(30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.stat().st_size for path in edge.layout.pulls.glob("*.part")] == [2**20]
    assert edge("run", "lied", '{"text": "x"}').out == '"good"\n'

    go_on.set()
    before = len(liar.ranges)
    done = edge("pull", "lied@1", "-o", "json")
    assert (done.code, done.json["version"], done.json["new"]) == (0, 2, True), done.err
    assert liar.ranges[before].startswith(f"bytes={2**20}-")
    assert not list(edge.layout.pulls.glob("*.part"))
    assert edge("run", "lied", '{"text": "x"}').out == '"good"\n'
    assert edge("run", "lied@2", '{"text": "x"}').out == '"spam"\n'

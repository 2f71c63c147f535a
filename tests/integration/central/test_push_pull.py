"""`loopai push`, `pull` and `verify` against a real platform, and against places that are none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.bars import within
from tests.integration.central.conftest import PlatformProcess, running, zipped
from tests.integration.conftest import Done, Loopai
from tests.integration.test_server import add

from loopai_runtime import signing
from loopai_runtime.artifacts import archive
from loopai_runtime.artifacts.bundle import SIGNATURE, Bundle
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
    with within(5):
        done = other("pull", "roundtrip", "-o", "json")
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

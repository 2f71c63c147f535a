"""What an edge takes of what its platform has, and what it leaves."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_server import SPAM, artifact

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.config import Config
from loopai_runtime.datasets import labels
from loopai_runtime.errors import AuthError, Busy, NotFound
from loopai_runtime.files import make_dir
from loopai_runtime.flows import follow, roll_out
from loopai_runtime.flows.follow import Follower
from loopai_runtime.flows.pull import Pulled
from loopai_runtime.layout import Layout
from loopai_runtime.models import VersionStatus


class Platform:
    """What a platform answers, without one."""

    def __init__(self) -> None:
        self.known: dict[str, list[dict[str, Any]]] = {}
        self.assigned: list[str] | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.wrong: Exception | None = None

    def tasks(self) -> list[str]:
        if self.wrong:
            raise self.wrong
        return list(self.known)

    def deployment(self, deployment_id: str) -> dict[str, Any]:
        if self.assigned is None:
            raise NotFound("no deployment")
        return {"deployment_id": deployment_id, "tasks": self.assigned}

    def versions(self, task_id: str, etag: str | None) -> tuple[list[dict[str, Any]], str] | None:
        self.asked.append((task_id, etag))
        current = f"e{len(self.known[task_id])}"
        return None if etag == current else (self.known[task_id], current)

    def publish(self, task_id: str, status: str = "validated") -> None:
        listed = self.known.setdefault(task_id, [])
        listed.append({"version": len(listed) + 1, "status": status})


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Platform:
    """`pull` stores a version under the platform's number."""
    found = Platform()

    def pull(reference: str, layout: Layout, config: Config) -> Pulled:
        task_id, _, number = reference.partition("@")
        store = ArtifactStore(layout)
        with layout.lock(task_id, 5):
            if int(number) in store.state(task_id).versions:
                return Pulled(task_id, int(number), True)
            while True:
                stored = store.add(artifact(task_id), SPAM, VersionStatus.VALIDATED)
                if stored.version == int(number):
                    return Pulled(task_id, stored.version, False)

    monkeypatch.setattr(follow, "pull", pull)
    monkeypatch.setattr(follow, "PlatformClient", lambda _config: found)
    return found


def follower(tmp_path: Path, mode: str = "hybrid", only: str | None = None, **more: Any) -> Follower:
    flags = {"runtime.mode": mode, "runtime.deployment_id": "shop", "rollout.auto": False}
    flags |= {name.replace("__", "."): value for name, value in more.items()}
    return Follower(Layout(tmp_path), Config.load(flags=flags, environ={}), only)


def active(tmp_path: Path, task_id: str) -> int | None:
    return ArtifactStore(Layout(tmp_path)).active_version(task_id)


def test_the_first_version_serves_and_later_ones_wait(tmp_path: Path, platform: Platform) -> None:
    platform.assigned = ["spam"]
    platform.publish("spam")
    one = follower(tmp_path)
    assert one.look() == 1
    assert active(tmp_path, "spam") == 1
    platform.publish("spam")
    assert one.look() == 1
    assert active(tmp_path, "spam") == 1
    assert 2 in ArtifactStore(Layout(tmp_path)).state("spam").versions


def test_what_was_seen_is_not_asked_for_again_even_by_the_next_process(tmp_path: Path, platform: Platform) -> None:
    platform.assigned = ["spam"]
    platform.publish("spam")
    follower(tmp_path).look()
    again = follower(tmp_path)
    assert again.look() == 0
    assert platform.asked == [("spam", None), ("spam", "e1")]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"spam": 1}', b'{"spam": {"version": "x", "etag": 1}}'])
def test_a_damaged_cache_says_nothing(tmp_path: Path, platform: Platform, damage: bytes) -> None:
    platform.assigned = ["spam"]
    platform.publish("spam")
    path = make_dir(Layout(tmp_path).cache("platform")) / "seen.json"
    path.write_bytes(damage)
    assert follower(tmp_path).look() == 1


def test_drafts_and_deprecated_versions_are_left(tmp_path: Path, platform: Platform) -> None:
    platform.assigned = ["spam"]
    platform.publish("spam", "draft")
    platform.publish("spam", "deprecated")
    assert follower(tmp_path).look() == 0
    assert active(tmp_path, "spam") is None


def test_without_an_assignment_only_what_is_here_is_followed(tmp_path: Path, platform: Platform) -> None:
    make_dir(Layout(tmp_path).task("here"))
    for task_id in ("here", "there"):
        platform.publish(task_id)
    one = follower(tmp_path)
    one.look()
    assert one.followed == ("here",)


def test_one_task_alone(tmp_path: Path, platform: Platform) -> None:
    platform.assigned = ["ham", "spam"]
    for task_id in platform.assigned:
        platform.publish(task_id)
    one = follower(tmp_path, only="ham")
    assert one.look() == 1
    assert one.followed == ("ham",)


def test_in_edge_mode_it_is_said_once(
    tmp_path: Path, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    platform.assigned = ["spam"]
    platform.publish("spam")
    one = follower(tmp_path, "edge")
    for _ in range(3):
        assert one.look() == 0
    assert [record.message for record in caplog.records] == [
        "spam: the platform has v1; loopai pull spam@1 fetches it"
    ]


def test_what_was_only_said_or_is_gone_comes_in_later(tmp_path: Path, platform: Platform) -> None:
    platform.assigned = ["spam"]
    platform.publish("spam")
    assert follower(tmp_path, "edge").look() == 0
    assert follower(tmp_path).look() == 1
    shutil.rmtree(Layout(tmp_path).artifacts("spam"))
    assert follower(tmp_path).look() == 1


def test_a_task_in_trouble_is_tried_again_and_does_not_hold_up_others(
    tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    platform.assigned = ["ham", "spam"]
    for task_id in platform.assigned:
        platform.publish(task_id)
    works = follow.pull

    def pull(reference: str, layout: Layout, config: Config) -> Pulled:
        if reference.startswith("ham"):
            raise Busy("another process is changing the task ham")
        return works(reference, layout, config)

    monkeypatch.setattr(follow, "pull", pull)
    one = follower(tmp_path)
    assert [one.look(), one.look()] == [1, 0]
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    monkeypatch.setattr(follow, "pull", works)
    assert one.look() == 1
    assert active(tmp_path, "ham") == 1


def test_a_key_that_is_refused_is_the_callers_matter(tmp_path: Path, platform: Platform) -> None:
    platform.wrong = AuthError("no key")
    with pytest.raises(AuthError):
        follower(tmp_path).look()


def test_a_rollout_starts_by_itself_and_a_refused_one_is_tried_again(
    tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    refusals = [Busy("a rollout is under way")]

    def start(layout: Layout, config: Config, reference: str, *, by: str) -> None:
        if refusals:
            raise refusals.pop()
        started.append(reference)

    monkeypatch.setattr(roll_out, "start", start)
    platform.assigned = ["spam"]
    platform.publish("spam")
    one = follower(tmp_path, rollout__auto=True)
    one.look()
    assert started == []  # nothing served before: there is nothing to roll out beside
    platform.publish("spam")
    one.look()
    assert started == []
    one.look()
    one.look()
    assert started == ["spam@2"]


def test_what_this_edge_knows_to_be_wrong_is_not_tried(
    tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's label that the version here gets right, and the new one does not."""
    started: list[str] = []
    monkeypatch.setattr(roll_out, "start", lambda *given, **_by: started.append(given[2]))
    platform.assigned = ["spam"]
    platform.publish("spam")
    one = follower(tmp_path, rollout__auto=True)
    one.look()
    layout = Layout(tmp_path)
    make_dir(layout.task("spam"))
    labels.append(layout, "spam", [labels.label({"text": "lunch"}, "ham", "person")])
    with layout.lock("spam", 5):
        ArtifactStore(layout).add(artifact("spam"), "def run(x):\n    return 'spam'\n", VersionStatus.VALIDATED)
    platform.publish("spam")
    one.look()
    one.look()
    assert started == []
    audit = "".join(path.read_text() for path in layout.audit.glob("*.jsonl"))
    assert audit.count('"kind":"improvement.refused"') == 1
    assert "a person has labelled" in audit

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loopai_runtime import files
from loopai_runtime.artifacts import archive, bundle
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import NotFound, StorageError, TamperedArtifact, UsageError
from loopai_runtime.layout import Layout
from loopai_runtime.models import ProgramArtifact, VersionStatus

Make = Callable[..., ProgramArtifact]
TASK = "spam-detection"
ACTIVE, DRAFT, VALIDATED = VersionStatus.ACTIVE, VersionStatus.DRAFT, VersionStatus.VALIDATED
DEPRECATED = VersionStatus.DEPRECATED


@pytest.fixture
def three(store: ArtifactStore, artifact: Make, code: str) -> ArtifactStore:
    """v1 served, v2 serves, v3 is validated."""
    store.add(artifact(), code, ACTIVE)
    store.add(artifact(), code + "# two\n", VALIDATED)
    store.activate(TASK, 2, reason="better")
    store.add(artifact(), code + "# three\n", VALIDATED)
    return store


def place(store: ArtifactStore, version: int) -> Path:
    return store.layout.version(TASK, version)


def statuses(store: ArtifactStore) -> dict[int, VersionStatus]:
    return {listed.version: listed.status for listed in store.versions(TASK)}


# --- storing and naming


def test_versions_count_from_one_and_read_as_they_were_stored(
    store: ArtifactStore, artifact: Make, code: str
) -> None:
    first = store.add(artifact(version=1), code, DRAFT)
    second = store.add(artifact(version=1), code + "#", DRAFT)
    assert (first.version, second.version) == (1, 2)
    stored = store.read(f"{TASK}@1")
    assert (stored.code, stored.artifact, stored.status) == (code, first, DRAFT)


def test_every_reference_finds_its_version(three: ArtifactStore) -> None:
    found = {ref: three.resolve(f"{TASK}{ref}")[1] for ref in ("", "@active", "@previous", "@3", "@v1")}
    assert found == {"": 2, "@active": 2, "@previous": 1, "@3": 3, "@v1": 1}


def test_what_is_not_there_is_not_found_and_says_what_is(three: ArtifactStore, artifact: Make, code: str) -> None:
    with pytest.raises(NotFound) as caught:
        three.read(f"{TASK}@9")
    assert "v1, v2, v3" in (caught.value.hint or "")
    with pytest.raises(NotFound) as caught:
        three.read("spam-detektion")
    assert TASK in (caught.value.hint or "")
    three.add(artifact(task_id="other"), code, DRAFT)
    with pytest.raises(NotFound) as caught:
        three.read("other")
    assert "loopai activate other@1" in (caught.value.hint or "")
    with pytest.raises(NotFound):
        three.read("other@previous")


@pytest.mark.parametrize("task_id", ["../x", "a/b", "", ".", "A"])
def test_a_task_that_would_leave_the_directory_is_refused(store: ArtifactStore, task_id: str) -> None:
    with pytest.raises(UsageError):
        store.read(task_id)
    with pytest.raises(UsageError):
        store.active_version(task_id)


def test_directories_and_files_are_the_owners_alone(three: ArtifactStore) -> None:
    for path in three.layout.root.rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


# --- the lifecycle


def test_activating_moves_active_previous_and_the_statuses(three: ArtifactStore) -> None:
    assert statuses(three) == {1: DEPRECATED, 2: ACTIVE, 3: VALIDATED}
    three.activate(TASK, 3, reason="even better")
    assert statuses(three) == {1: DEPRECATED, 2: DEPRECATED, 3: ACTIVE}
    state = three.state(TASK)
    assert (state.active, state.previous) == (3, 2)
    assert three.layout.active_link(TASK).readlink() == Path("v3")


def test_rollback_goes_back_and_forth(three: ArtifactStore) -> None:
    assert three.rollback(TASK, reason="worse after all") == 1
    assert (three.state(TASK).active, three.state(TASK).previous) == (1, 2)
    assert three.rollback(TASK) == 2


def test_rollback_with_nothing_before_is_not_found(store: ArtifactStore, artifact: Make, code: str) -> None:
    store.add(artifact(), code, ACTIVE)
    with pytest.raises(NotFound):
        store.rollback(TASK)


def test_history_keeps_what_when_and_why(three: ArtifactStore) -> None:
    three.rollback(TASK, reason="worse")
    history = json.loads(three.layout.state(TASK).read_text())["history"]
    told = [(e["action"], e["version"], e["replaced"], e["reason"]) for e in history]
    assert told == [
        ("add", 1, None, None),
        ("activate", 1, None, None),
        ("add", 2, None, None),
        ("activate", 2, 1, "better"),
        ("add", 3, None, None),
        ("rollback", 1, 2, "worse"),
    ]
    assert all(e["at"].endswith("Z") for e in history)


def test_activating_what_is_active_changes_nothing(three: ArtifactStore) -> None:
    before = three.layout.state(TASK).read_bytes()
    three.activate(TASK, 2)
    assert three.layout.state(TASK).read_bytes() == before


# --- damage


@pytest.mark.parametrize("name", ["program.py", "metadata.json", "__main__.py", "Dockerfile"])
def test_a_tampered_version_is_refused_by_name_and_digest(three: ArtifactStore, name: str) -> None:
    path = place(three, 2) / name
    path.write_bytes(path.read_bytes().replace(b" ", b"  ", 1) if name != "metadata.json" else b"{}")
    with pytest.raises(TamperedArtifact) as caught:
        three.read(TASK)
    assert f"{TASK} v2: {name}" in str(caught.value)
    assert bundle.sha256(path.read_bytes()) in str(caught.value)
    assert "v1 is good: loopai activate spam-detection@1" in (caught.value.hint or "")


def test_a_whole_version_rewritten_in_agreement_with_itself_is_refused(
    three: ArtifactStore, artifact: Make
) -> None:
    forged = bundle.build(artifact(version=2), "def run(x):\n    return 'ham'\n")
    for name, content in forged.files.items():
        (place(three, 2) / name).write_bytes(content)
    was = json.loads(three.layout.state(TASK).read_text())["versions"]["2"]["sha256"]
    with pytest.raises(TamperedArtifact) as caught:
        three.read(TASK)
    assert was in str(caught.value)
    assert forged.digest in str(caught.value)


def test_one_version_in_the_place_of_another_is_refused(three: ArtifactStore) -> None:
    shutil.rmtree(place(three, 2))
    shutil.copytree(place(three, 1), place(three, 2))
    with pytest.raises(TamperedArtifact, match=r"v2: metadata\.json is that of spam-detection v1"):
        three.read(TASK)


def test_a_missing_version_folder_is_damage_and_the_others_work(three: ArtifactStore) -> None:
    shutil.rmtree(place(three, 2))
    with pytest.raises(TamperedArtifact, match="v2"):
        three.read(TASK)
    assert three.read(f"{TASK}@3").artifact.version == 3
    assert [listed.damage is None for listed in three.versions(TASK)] == [True, False, True]


def test_a_damaged_version_cannot_be_activated_and_the_old_one_serves_on(three: ArtifactStore) -> None:
    (place(three, 3) / "program.py").write_text("def run(x): return 1")
    with pytest.raises(TamperedArtifact) as caught:
        three.activate(TASK, 3)
    assert caught.value.hint == "v2 is good and still works"
    assert three.read(TASK).artifact.version == 2


def test_rollback_to_a_damaged_version_is_refused(three: ArtifactStore) -> None:
    (place(three, 1) / "evil.py").write_text("")
    with pytest.raises(TamperedArtifact, match=r"evil\.py"):
        three.rollback(TASK)
    assert three.active_version(TASK) == 2


def test_the_last_good_version_is_the_latest_that_served_undamaged(three: ArtifactStore) -> None:
    assert three.last_good(TASK).artifact.version == 2
    (place(three, 2) / "evil.py").write_text("")
    assert three.last_good(TASK).artifact.version == 1
    (place(three, 1) / "evil.py").write_text("")
    assert three.last_good(TASK).artifact.version == 3
    (place(three, 3) / "evil.py").write_text("")
    with pytest.raises(NotFound):
        three.last_good(TASK)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"active": 1}', b'{"schema": 2}', b'{"previous": 4}', b'{"x": 1}', b"\xff"]
)
def test_a_damaged_state_is_named(three: ArtifactStore, content: bytes) -> None:
    three.layout.state(TASK).write_bytes(content)
    with pytest.raises(StorageError, match=r"state\.json: damaged"):
        three.read(TASK)


def test_without_its_state_every_version_is_a_draft_again(three: ArtifactStore) -> None:
    three.layout.state(TASK).unlink()
    assert statuses(three) == {1: DRAFT, 2: DRAFT, 3: DRAFT}
    three.activate(TASK, 2, reason="restored")
    assert three.read(TASK).artifact.version == 2
    assert three.layout.active_link(TASK).readlink() == Path("v2")


# --- what a killed or failing process leaves


def test_leftovers_are_swept_and_the_link_is_mended_on_the_next_write(
    three: ArtifactStore, artifact: Make, code: str
) -> None:
    here = three.layout.artifacts(TASK)
    (here / ".tmp-v4-1-abcd").mkdir()
    (here / ".tmp-state.json-1-abcd").write_text("{")
    three.layout.active_link(TASK).unlink()
    three.layout.active_link(TASK).symlink_to("v1")
    assert three.add(artifact(), code, DRAFT).version == 4
    assert sorted(entry.name for entry in here.iterdir()) == ["active", "state.json", "v1", "v2", "v3", "v4"]
    assert three.layout.active_link(TASK).readlink() == Path("v2")


def test_an_unlisted_version_is_a_draft_and_keeps_its_number(
    three: ArtifactStore, artifact: Make, code: str
) -> None:
    lost = bundle.build(artifact(version=4), code)
    place(three, 4).mkdir()
    for name, content in lost.files.items():
        (place(three, 4) / name).write_bytes(content)
    assert statuses(three)[4] is DRAFT
    assert three.read(f"{TASK}@4").code == code
    assert three.add(artifact(), code, DRAFT).version == 5
    listed = json.loads(three.layout.state(TASK).read_text())["versions"]
    assert listed["4"]["sha256"] == lost.digest


def test_an_unlisted_damaged_folder_is_refused_and_in_nobodys_way(
    three: ArtifactStore, artifact: Make, code: str
) -> None:
    place(three, 4).mkdir()
    with pytest.raises(TamperedArtifact):
        three.read(f"{TASK}@4")
    assert three.add(artifact(), code, DRAFT).version == 5
    assert three.read(TASK).artifact.version == 2


@pytest.mark.parametrize("failing", ["program.py", "README.md", "state.json"])
def test_a_full_disk_leaves_nothing_of_the_new_version(
    three: ArtifactStore, artifact: Make, code: str, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.write_file

    def full(path: Path, content: bytes, *like: Path) -> None:
        if failing in path.name:
            with files.storage_errors(path):
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, content, *like)

    before = sorted(three.layout.artifacts(TASK).rglob("*"))
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_file", full)
        patched.setattr("loopai_runtime.artifacts.store.write_file", full)
        with pytest.raises(StorageError, match="disk is full"):
            three.add(artifact(), code, DRAFT)
    assert sorted(three.layout.artifacts(TASK).rglob("*")) == before
    assert three.add(artifact(), code, DRAFT).version == 4


# --- bundles from elsewhere


def foreign(artifact: Make, code: str, **changes: object) -> bundle.Bundle:
    return archive.unzip(archive.write_zip(bundle.build(artifact(**changes), code)), "b.zip")


def test_an_import_keeps_number_and_digest_where_it_can(store: ArtifactStore, artifact: Make, code: str) -> None:
    source = foreign(artifact, code, version=5)
    stored, new = store.import_bundle(source, ACTIVE)
    assert (stored.artifact.version, stored.digest, stored.status, new) == (5, source.digest, ACTIVE, True)
    assert stored.artifact.origin is not None
    assert stored.artifact.origin["sha256"] == source.digest
    assert store.read(TASK).code == code


def test_an_import_takes_the_next_number_where_its_own_is_taken(
    three: ArtifactStore, artifact: Make, code: str
) -> None:
    source = foreign(artifact, code + "# foreign\n", version=2)
    stored, new = three.import_bundle(source, VALIDATED)
    assert (stored.artifact.version, stored.digest, new) == (4, source.digest, True)
    assert three.active_version(TASK) == 2


def test_the_same_artifact_is_stored_once(three: ArtifactStore) -> None:
    source = archive.unzip(archive.write_zip(three.read(f"{TASK}@3").bundle), "b.zip")
    stored, new = three.import_bundle(source, VALIDATED)
    assert (stored.artifact.version, new) == (3, False)
    assert len(three.versions(TASK)) == 3


def test_an_import_replaces_a_damaged_copy_by_a_new_version(three: ArtifactStore) -> None:
    source = archive.unzip(archive.write_zip(three.read(f"{TASK}@3").bundle), "b.zip")
    (place(three, 3) / "program.py").write_text("")
    stored, new = three.import_bundle(source, VALIDATED)
    assert (stored.artifact.version, new) == (4, True)
    assert three.read(f"{TASK}@4").digest == source.digest


def test_an_import_under_another_task_is_another_artifact(store: ArtifactStore, artifact: Make, code: str) -> None:
    source = foreign(artifact, code, version=3)
    stored, _ = store.import_bundle(source, ACTIVE, "letters")
    assert (stored.artifact.task_id, stored.artifact.version) == ("letters", 3)
    assert stored.digest != source.digest
    assert store.read("letters").code == code


def test_a_wild_number_does_not_use_up_the_numbers(store: ArtifactStore, artifact: Make, code: str) -> None:
    stored, _ = store.import_bundle(foreign(artifact, code, version=10**40), DRAFT)
    assert stored.artifact.version == 1


def test_two_layouts_of_one_directory_see_the_same(three: ArtifactStore) -> None:
    other = ArtifactStore(Layout(three.layout.root))
    assert other.read(TASK).digest == three.read(TASK).digest

"""Numbers and digests of versions, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.integration.test_server import artifact

from loopai_runtime.artifacts import archive, bundle
from loopai_runtime.central.blobs import DiskBlobs
from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.tables import tasks
from loopai_runtime.central.repository import Repository
from loopai_runtime.config import Config
from loopai_runtime.errors import InputError, NotFound, StorageError
from loopai_runtime.signing import Signer


def zipped(answer: str, task_id: str = "spam", **changes: Any) -> bytes:
    met: dict[str, Any] = {"accuracy": {"value": 0.95}, "latency_ms": {"p99": 1.0}}
    code = f"def run(input_data):\n    return {answer!r}\n"
    return archive.write_zip(bundle.build(artifact(task_id, **(met | changes)), code))


def repository(db: Database, place: Path) -> Repository:
    return Repository(db, DiskBlobs(place), Signer(b"\1" * 32), Config())


def test_two_processes_never_give_one_number_twice(db: Database, tmp_path: Path) -> None:
    """Two repositories with locks of their own, as two platforms over one database have them."""
    both = [repository(db, tmp_path) for _ in range(2)]
    bundles = [zipped(str(n)) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: both[n % 2].publish("one", "spam", bundles[n // 2], "key"), range(16)))
    assert sorted(each.version for each in made if each.created) == list(range(1, 9))
    for n in range(8):
        assert (made[2 * n].version, made[2 * n].sha256) == (made[2 * n + 1].version, made[2 * n + 1].sha256)
    assert [each["version"] for each in both[0].versions("one", "spam").versions] == list(range(1, 9))


def test_tenants_have_numbers_and_bundles_of_their_own(db: Database, tmp_path: Path) -> None:
    there = repository(db, tmp_path)
    assert there.publish("one", "spam", zipped("a"), "key").version == 1
    with pytest.raises(NotFound):
        there.versions("two", "spam")
    with pytest.raises(NotFound):
        there.read("two", "spam", 1)
    assert there.publish("two", "spam", zipped("b"), "key").version == 1
    assert (
        archive.unzip(there.read("one", "spam", 1), "x").code
        != archive.unzip(there.read("two", "spam", 1), "x").code
    )


@pytest.mark.parametrize(
    "text", ["a\0b", "'; DROP TABLE artifacts; --", "\ud7ff\U0001f600", "x" * 100_000, "%s {} $1"]
)
def test_a_description_may_hold_anything(db: Database, tmp_path: Path, text: str) -> None:
    there = repository(db, tmp_path)
    made = there.publish("one", "spam", zipped("a", description=text), "key")
    assert there.describe("one", "spam", made.version)["metadata"]["description"] == text


def test_a_version_is_served_as_it_was_stored_or_not_at_all(db: Database, tmp_path: Path) -> None:
    there = repository(db, tmp_path)
    made = there.publish("one", "spam", zipped("a"), "key")
    (path,) = tmp_path.rglob("*.zip")
    content = path.read_bytes()
    assert there.read("one", "spam", 1) == content
    path.write_bytes(content[:-1])
    with pytest.raises(StorageError, match="is damaged"):
        there.read("one", "spam", 1)
    path.unlink()
    with pytest.raises(StorageError, match="is lost"):
        there.read("one", "spam", 1)
    assert not there.publish("one", "spam", zipped("a"), "key").created
    assert made.version == 1


def test_a_deleted_task_that_is_published_again_is_a_task_again(db: Database, tmp_path: Path) -> None:
    there = repository(db, tmp_path)
    there.publish("one", "spam", zipped("a"), "key")
    with db.write() as connection:
        connection.execute(update(tasks).values(deleted_at="2026-01-01T00:00:00Z"))
    for ask in (lambda: there.versions("one", "spam"), lambda: there.read("one", "spam", 1)):
        with pytest.raises(NotFound):
            ask()
    assert there.publish("one", "spam", zipped("b"), "key").version == 2
    assert len(there.versions("one", "spam").versions) == 2


def test_a_version_can_be_given_up_once_and_keeps_its_first_reason(db: Database, tmp_path: Path) -> None:
    there = repository(db, tmp_path)
    there.publish("one", "spam", zipped("a"), "key")
    there.deprecate("one", "spam", 1, "first", "me")
    there.deprecate("one", "spam", 1, "second", "me")
    assert there.describe("one", "spam", 1)["deprecated_reason"] == "first"
    with pytest.raises(NotFound):
        there.deprecate("one", "spam", 2, "none", "me")
    with pytest.raises(NotFound):
        there.deprecate("two", "spam", 1, "not mine", "me")


def test_what_is_no_bundle_of_the_task_is_an_error_of_the_input(db: Database, tmp_path: Path) -> None:
    there = repository(db, tmp_path)
    for content in (b"", b"PK", zipped("a", task_id="other"), zipped("a")[:-1]):
        with pytest.raises(InputError):
            there.publish("one", "spam", content, "key")
    assert not list(tmp_path.rglob("*.zip"))


def grow_old(place: Path, days: float) -> None:
    at = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for path in place.rglob("*.zip"):
        os.utime(path, (at, at))


def test_bundles_that_no_version_names_go_when_they_are_old(db: Database, tmp_path: Path) -> None:
    place = tmp_path / "blobs"
    there, blobs = repository(db, place), DiskBlobs(place)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for answer in ("a", "b"):
        there.publish("one", "spam", zipped(answer), "key")
    there.deprecate("one", "spam", 1, "old", "key")
    named = set(blobs.keys())
    left = f"one/spam/{'0' * 64}.zip"
    others = {f"two/spam/{Path(min(named)).name}", f"one/ham/{'1' * 64}.zip"}
    for key in (left, *others, "one/notes.txt"):
        blobs.put(key, b"x")
    assert there.sweep(yesterday) == 0
    grow_old(place, 2)
    blobs.put(left, b"x")  # again, a moment ago
    assert there.sweep(yesterday, lambda: True) == 0
    assert there.sweep(yesterday) == 2
    assert set(blobs.keys()) == {*named, left, "one/notes.txt"}
    assert there.read("one", "spam", 1)


def test_a_bundle_that_gets_its_version_while_it_is_looked_at_stays(db: Database, tmp_path: Path) -> None:
    """Stored and never committed, a day later published again: its number, and so its bytes, are the same."""

    class Slow(DiskBlobs):
        seen = 0

        def written_at(self, key: str) -> datetime:
            found = super().written_at(key)
            self.seen += 1
            if self.seen == 1:  # the sweep has decided, and not yet deleted
                assert there.publish("one", "spam", zipped("a"), "key").version == 1
            return found

    blobs = Slow(tmp_path)
    there = Repository(db, blobs, Signer(b"\1" * 32), Config())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(db, "write", failing)
        with pytest.raises(OSError, match="killed"):
            there.publish("one", "spam", zipped("a"), "key")
    grow_old(tmp_path, 2)
    assert there.sweep(datetime.now(UTC) - timedelta(days=1)) == 0
    assert blobs.seen == 1
    assert there.read("one", "spam", 1)


def failing() -> None:
    raise OSError("killed")

"""What was acknowledged stays: through kills in the middle of work, and in a backup made in the middle of work."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest
from sqlalchemy import text
from tests import nursery, postgres
from tests.integration.central.conftest import PlatformProcess, running, zipped
from tests.unit.central.test_collector import stats

from loopai_runtime.central.db.database import Database

SOAK = float(os.environ.get("LOOPAI_SOAK", "0.05"))
_PATIENCE_S = 120


class Work:
    """Uploads, reports and keys, each from a thread of its own, and what of them was acknowledged."""

    def __init__(self, platform: PlatformProcess, salt: object) -> None:
        self._platform = platform
        self._salt = salt
        self._ended = threading.Event()
        self._more = threading.Condition()
        self.versions: dict[int, str] = {}
        """Number -> SHA-256."""
        self.keys: dict[str, str] = {}
        """Id -> key."""
        self.records = 0
        self.sent = 0

    def _upload(self, n: int) -> None:
        content = zipped("work", f"def run(x):\n    return '{self._salt}-{n}'\n")
        status, said, _ = self._platform.call("POST", "/api/v1/artifacts/work/upload", content)
        assert status == 201, said
        self.versions[said["version"]] = said["sha256"]

    def _report(self, n: int) -> None:
        records = [stats(20 * n + k, 3) | {"task_id": "work"} for k in range(1, 21)]
        body = {"schema": 1, "deployment_id": f"edge-{self._salt}", "records": records}
        self.sent += len(records)
        status, said, _ = self._platform.call("POST", "/api/v1/telemetry", body, idempotency_key=f"{n}")
        assert (status, said["accepted"]) == (202, 20), said
        self.records += 20

    def _key(self, n: int) -> None:
        key_id, key = self._platform.key("read", deployment=f"shop-{self._salt}-{n}")
        self.keys[key_id] = key

    def _go_on(self, step: Callable[[int], None]) -> None:
        for n in itertools.count():
            if self._ended.is_set():
                return
            try:
                step(n)
            except (
                OSError,
                HTTPException,
                ValueError,
            ):  # killed in the middle of this one, which is not acknowledged then
                return
            with self._more:
                self._more.notify_all()

    def done(self) -> int:
        return min(len(self.versions), self.records // 20, len(self.keys))

    def wait_for(self, count: int) -> None:
        """Until so many of each kind are acknowledged."""
        with self._more:
            assert self._more.wait_for(lambda: self.done() >= count, _PATIENCE_S)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        threads = [
            threading.Thread(target=self._go_on, args=(step,)) for step in (self._upload, self._report, self._key)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(_PATIENCE_S)

    def snapshot(self) -> Work:
        """What is acknowledged now."""
        found = Work(self._platform, self._salt)
        found.records, found.sent = self.records, self.sent
        found.versions, found.keys = dict(self.versions), dict(self.keys)
        return found

    def require_in(self, platform: PlatformProcess, most_sent: int) -> None:
        """That all of it is there, and counted once."""
        _, listed, _ = platform.call("GET", "/api/v1/artifacts/work/versions")
        there = {each["version"]: each["sha256"] for each in listed["versions"]}
        assert self.versions.items() <= there.items()
        for version in random.Random(0).sample(sorted(there), min(10, len(there))):
            status, content, headers = platform.call("GET", f"/api/v1/artifacts/work/v{version}/download")
            assert (status, headers["etag"]) == (200, f'"{there[version]}"')
            assert content
        deployment = f"edge-{self._salt}"
        _, found, _ = platform.call("GET", f"/api/v1/deployments/{deployment}/telemetry")
        assert self.records <= found["received"] <= most_sent
        _, metrics, _ = platform.call("GET", "/api/v1/tasks/work/metrics")
        assert metrics["deployments"][deployment]["count"] == 3 * found["received"]
        assert self.keys.keys() <= {each["id"] for each in platform.call("GET", "/api/v1/keys")[1]["keys"]}
        for key_id, key in itertools.islice(self.keys.items(), 5):
            assert platform.call("GET", "/api/v1/tasks", key=key)[0] == 200, key_id


def loopai(*args: object) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPAI_")}
    return nursery.run(["central", *map(str, args)], kept)


def killed_again_and_again(root: Path, times: int, rng: random.Random, **environment: str) -> None:
    work = None
    for n in range(times + 1):
        with running(root, **environment) as platform:
            if work is not None:
                work.require_in(platform, work.sent)
            work = Work(platform, n)
            with work.going_on():
                work.wait_for(rng.randrange(1, 6))
                platform.process.kill()
                platform.process.wait()


@pytest.mark.slow
def test_a_kill_in_the_middle_of_work_loses_nothing_acknowledged(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path / "data", max(3, round(40 * SOAK)), random.Random(1))


@pytest.mark.slow
def test_nor_does_it_with_postgresql(tmp_path: Path) -> None:
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    with postgres.server() as url:
        times = max(2, round(10 * SOAK))
        killed_again_and_again(tmp_path / "data", times, random.Random(2), LOOPAI_CENTRAL__DATABASE_URL=url)


def test_sqlite_answers_only_what_is_on_the_disk(tmp_path: Path) -> None:
    """A kill keeps what the kernel has; a lost power supply keeps what was synced."""
    db = Database(f"sqlite:///{tmp_path / 'central.db'}")
    for transaction in (db.read, db.write, db.snapshot):
        with transaction() as connection:
            full = 2
            assert connection.scalar(text("PRAGMA synchronous")) == full
            assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    db.close()


@pytest.mark.slow
def test_a_backup_made_in_the_middle_of_work_is_a_platform(tmp_path: Path) -> None:
    out = tmp_path / "central.tar"
    with running(tmp_path / "data") as platform:
        work = Work(platform, "backup")
        with work.going_on():
            work.wait_for(2)
            before = work.snapshot()
            done = loopai("backup", out, "--data-dir", platform.root)
            after = work.snapshot()
            work.wait_for(after.done() + 1)  # nobody had to wait for the backup
        assert (done.returncode, done.stdout.decode().strip()) == (0, str(out)), done.stderr
        second = loopai("restore", out, "--data-dir", platform.root)
        assert second.returncode == 6, second.stderr
        _, signed_by, _ = platform.call("GET", "/api/v1/signing-key")
        admin_key = platform.admin_key
    over = loopai("restore", out, "--data-dir", tmp_path / "data")
    assert over.returncode == 2
    assert b"a platform is here already" in over.stderr
    restored = loopai("restore", out, "--data-dir", tmp_path / "restored")
    assert restored.returncode == 0, restored.stderr
    with running(tmp_path / "restored") as platform:
        assert platform.admin_key == admin_key
        before.require_in(platform, after.sent)
        assert platform.call("GET", "/api/v1/signing-key")[1] == signed_by
        assert platform.upload("work", "def run(x):\n    return 'new'\n") > max(before.versions)


def test_what_nobody_needs_any_more_goes_beside_the_work(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with running(root) as platform:
        platform.upload("work", "def run(x):\n    return 'kept'\n")
        body = {"schema": 1, "deployment_id": "edge-1", "records": [stats(1, 3) | {"task_id": "work"}]}
        assert platform.call("POST", "/api/v1/telemetry", body)[0] == 202
        before = platform.call("GET", "/api/v1/tasks/work/metrics")[1]
    left = root / "central" / "blobs" / "main" / "work" / f"{'0' * 64}.zip"
    left.write_bytes(b"never committed")
    os.utime(left, (1e9, 1e9))
    db = Database(f"sqlite:///{root / 'central' / 'central.db'}")
    with db.write() as connection:
        connection.execute(text("UPDATE telemetry_records SET received_at = '2020-01-01T00:00:00.000000Z'"))
    with running(root) as platform:
        until(lambda: b"1 bundles of no version deleted" in b"".join(platform.log))
        assert b"1 records of telemetry deleted" in b"".join(platform.log)
        assert platform.call("GET", "/api/v1/artifacts/work/v1/download")[0] == 200
        assert platform.call("GET", "/api/v1/tasks/work/metrics")[1] == before
        platform.process.terminate()
        assert platform.process.wait(_PATIENCE_S) == 0
    assert not left.exists()
    with db.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM telemetry_records")) == 0
    db.close()


def test_what_is_under_way_when_the_end_is_asked_for_is_answered(tmp_path: Path) -> None:
    content = zipped("work", "def run(x):\n    return 'late'\n")
    with running(tmp_path / "data") as platform:
        port = int(platform.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as late:
            head = f"POST /api/v1/artifacts/work/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n"
            late.sendall(f"{head}Authorization: Bearer {platform.admin_key}\r\n\r\n".encode() + content[:100])
            assert platform.call("GET", "/readyz")[0] == 200  # by then the first half has been read
            platform.process.terminate()
            until(lambda: nobody_listens(port))
            assert platform.process.poll() is None
            late.sendall(content[100:])
            answer = late.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 201 "), answer
        assert platform.process.wait(_PATIENCE_S) == 0
    with running(tmp_path / "data") as platform:
        assert platform.call("GET", "/api/v1/artifacts/work/v1/download")[0] == 200


def nobody_listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S).close()
    except OSError:
        return True
    return False


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)

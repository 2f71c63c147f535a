"""A platform in one file and out of it again, from either database into either."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select
from tests.unit.central.test_collector import batch, record, stats
from tests.unit.central.test_repository import zipped

from loopai_runtime.central import collector
from loopai_runtime.central.access import Keys, Scope
from loopai_runtime.central.backup import MANIFEST, BackedUp, backup
from loopai_runtime.central.blobs import DiskBlobs
from loopai_runtime.central.db import dump
from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.migrations import HEAD
from loopai_runtime.central.db.tables import metadata, telemetry_records, tenants
from loopai_runtime.central.repository import Repository
from loopai_runtime.central.restore import restore
from loopai_runtime.config import Config
from loopai_runtime.errors import Busy, LoopaiError, NotFound, StorageError, UsageError
from loopai_runtime.http.serving import alone
from loopai_runtime.layout import Layout
from loopai_runtime.signing import Signer

Place = tuple[Layout, Config]
_LOG = "datasets/spam/executions/2026-03-04.jsonl"


def content(connection: Connection) -> dict[str, list[bytes]]:
    return {table.name: sorted(dump.lines(connection, table)) for table in dump.tables()}


def fill(place: Place) -> str:
    """A platform with something in every part; a key of it."""
    layout, config = place
    db = opened(place)
    db.upgrade()
    with db.write() as connection:
        connection.execute(db.insert_new(tenants), {"id": "one", "name": "Ünïcode", "created_at": "2026"})
    _, key = Keys(db).create("one", "admin", [Scope.ADMIN], by="operator", deployment_id="edge-1")
    there = Repository(db, DiskBlobs(layout.blobs), Signer.of(layout), config)
    for answer in ("a", "b"):
        there.publish("one", "spam", zipped(answer), "key")
    collector.collect(db, "one", batch(stats(1, 10), record(2, "dropped", totals={"x": 1})), key="k", sha256="x")
    path = layout.tenant("one").root / _LOG
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"execution_id": "1"}\n')
    (path.parent / ".tmp-half").write_bytes(b"{")
    db.close()
    return key


def opened(place: Place) -> Database:
    from loopai_runtime.central.database import database_of

    return database_of(*place)


def cleared(url: str) -> None:
    db = Database(url)
    with db.write() as connection:
        metadata.drop_all(connection)
    db.close()


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Place]]:
    """An empty place for a platform, by the kind of its database. There is one PostgreSQL."""
    urls: list[str] = []

    def made(kind: str) -> Place:
        layout = Layout(tmp_path / f"data-{len(list(tmp_path.iterdir()))}")
        layout.root.mkdir(mode=0o700)
        if kind == "sqlite":
            return layout, Config.load(environ={})
        urls.append(request.getfixturevalue("postgresql"))
        cleared(urls[-1])
        return layout, Config.load(flags={"central.database_url": urls[-1]}, environ={})

    yield made
    for url in urls:
        cleared(url)


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    root = tmp_path_factory.mktemp("backed-up")
    full = Layout(root / "data"), Config.load(environ={})
    fill(full)
    return backup(*full, root / "central.tar")


@pytest.mark.parametrize("into", ["sqlite", "postgresql"])
@pytest.mark.parametrize("of", ["sqlite", "postgresql"])
def test_what_is_restored_is_what_was_backed_up(
    place: Callable[[str], Place], tmp_path: Path, of: str, into: str
) -> None:
    full = place(of)
    key = fill(full)
    with opened(full).read() as connection:
        before = content(connection)
    made = backup(*full, tmp_path / "central.tar")
    assert made.path.stat().st_mode & 0o777 == 0o600
    empty = place(into)
    again = restore(*empty, made.path)
    assert (again.rows, again.bundles) == (made.rows, made.bundles) == (sum(map(len, before.values())), 2)
    db = opened(empty)
    with db.read() as connection:
        assert content(connection) == before
    assert Keys(db).check(key) is not None
    layout, config = empty
    signer = Signer.of(layout)
    assert signer.public == Signer.of(full[0]).public
    there = Repository(db, DiskBlobs(layout.blobs), signer, config)
    assert there.read("one", "spam", 2) == Repository(db, DiskBlobs(full[0].blobs), signer, config).read(
        "one", "spam", 2
    )
    assert there.publish("one", "spam", zipped("c"), "key").version == 3
    collector.collect(db, "one", batch(record(3), record(1)))
    with db.write() as connection:  # numbers go on where they were
        assert len(connection.scalars(select(telemetry_records.c.seq)).all()) == 3
    log = layout.tenant("one").root / _LOG
    assert log.read_bytes() == b'{"execution_id": "1"}\n'
    assert [path.name for path in log.parent.iterdir()] == [log.name]
    db.close()


def test_a_metric_after_a_restore_has_a_number_of_its_own(place: Callable[[str], Place], tmp_path: Path) -> None:
    from loopai_runtime.central import connected

    row = {"tenant_id": "one", "task_id": "spam", "deployment_id": "e", "at": "2026", "payload": {}}
    full = place("sqlite")
    fill(full)
    db = opened(full)
    connected.keep(db, {}, [row, row])
    db.close()
    empty = place("postgresql")
    restore(*empty, backup(*full, tmp_path / "central.tar").path)
    db = opened(empty)
    connected.keep(db, {}, [row])
    db.close()


def test_a_backup_replaces_nothing_and_needs_a_platform(place: Callable[[str], Place], tmp_path: Path) -> None:
    empty = place("sqlite")
    with pytest.raises(UsageError, match="no platform is in"):
        backup(*empty, tmp_path / "out.tar")
    fill(empty)
    (tmp_path / "out.tar").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is there already"):
        backup(*empty, tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_bytes() == b"mine"
    with pytest.raises(UsageError, match="no such folder"):
        backup(*empty, tmp_path / "none" / "out.tar")
    folder = tmp_path / "folder"
    folder.mkdir()
    made = backup(*empty, folder)
    assert list(folder.iterdir()) == [made.path]
    assert made.path.name.startswith("central-2")


def test_a_bundle_that_is_lost_is_told_and_the_rest_is_kept(place: Callable[[str], Place], tmp_path: Path) -> None:
    full = place("sqlite")
    fill(full)
    first, second = sorted(full[0].blobs.rglob("*.zip"))
    first.unlink()
    second.write_bytes(b"damaged")
    made = backup(*full, tmp_path / "out.tar")
    assert sorted(made.lost) == [str(path.relative_to(full[0].blobs)) for path in (first, second)]
    assert made.bundles == 0
    assert restore(*place("sqlite"), made.path).rows == made.rows


def test_a_platform_is_never_restored_over(backed_up: BackedUp, place: Callable[[str], Place]) -> None:
    there = place("sqlite")
    key = fill(there)
    with pytest.raises(UsageError, match="a platform is here already"):
        restore(*there, backed_up.path)
    db = opened(there)
    assert Keys(db).check(key) is not None
    db.close()
    secrets = place("sqlite")
    Signer.of(secrets[0])
    with pytest.raises(UsageError, match="is another secret than the backup's"):
        restore(*secrets, backed_up.path)
    with alone(secrets[0], "central", "that serves"), pytest.raises(Busy, match="already served"):
        restore(*secrets, backed_up.path)


def test_a_restore_that_was_killed_is_run_again(
    backed_up: BackedUp, place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = place("sqlite")
    calls = []

    def killed(*_: Any) -> int:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return 0

    with monkeypatch.context() as patched:
        patched.setattr(dump, "load", killed)
        with pytest.raises(KeyboardInterrupt):
            restore(*empty, backed_up.path)
    assert restore(*empty, backed_up.path).rows == backed_up.rows


Member = tuple[tarfile.TarInfo, bytes]


def rewritten(source: Path, target: Path, change: Callable[[list[Member]], None]) -> Path:
    with tarfile.open(source) as tar:
        members: list[Member] = []
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            members.append((member, file.read()))
    change(members)
    with tarfile.open(target, "w") as tar:
        for member, body in members:
            tar.addfile(member, io.BytesIO(body))
    return target


def entry(name: str, body: bytes = b"x", **changes: Any) -> Member:
    member = tarfile.TarInfo(name)
    member.size = len(body)
    for attribute, value in changes.items():
        setattr(member, attribute, value)
    return member, body


def at(members: list[Member], start: str) -> int:
    return next(n for n, (member, _) in enumerate(members) if member.name.startswith(start))


def turn(start: str) -> Callable[[list[Member]], None]:
    """One bit of a file."""

    def change(members: list[Member]) -> None:
        member, body = members[n := at(members, start)]
        members[n] = member, bytes([body[0] ^ 1]) + body[1:]

    return change


def manifest(body: bytes) -> Callable[[list[Member]], None]:
    def change(members: list[Member]) -> None:
        members[at(members, MANIFEST)] = entry(MANIFEST, body)

    return change


HOSTILE: dict[str, tuple[Callable[[list[Member]], None], str]] = {
    "leaves its place": (lambda m: m.append(entry("tenants/../../x")), "nothing that a backup has"),
    "absolute": (lambda m: m.append(entry("/etc/x")), "nothing that a backup has"),
    "of no part": (lambda m: m.append(entry("config/deployment.yaml")), "nothing that a backup has"),
    "hidden": (lambda m: m.append(entry("secrets/.x")), "nothing that a backup has"),
    "a link": (
        lambda m: m.append(entry("tenants/x", b"", type=tarfile.SYMTYPE, linkname="/etc")),
        "nothing that a backup has",
    ),
    "a hard link": (
        lambda m: m.append(entry("tenants/x", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")),
        "nothing that a backup has",
    ),
    "a device": (lambda m: m.append(entry("tenants/x", b"", type=tarfile.CHRTYPE)), "nothing that a backup has"),
    "a folder": (lambda m: m.append(entry("tenants/x", b"", type=tarfile.DIRTYPE)), "nothing that a backup has"),
    "sparse": (
        lambda m: m.append(entry("tenants/x", b"", type=tarfile.GNUTYPE_SPARSE)),
        "nothing that a backup has",
    ),
    "twice": (lambda m: m.append(entry(m[0][0].name, m[0][1])), "nothing that a backup has"),
    "not named": (lambda m: m.append(entry("secrets/other.key")), "secrets/other.key is not what was backed up"),
    "a table less": (lambda m: m.__delitem__(0), "is not what was backed up"),
    "a changed table": (turn("tables/artifacts"), "tables/artifacts.jsonl is not what was backed up"),
    "a changed bundle": (turn("blobs/"), "is not what was backed up"),
    "a changed key": (turn("secrets/signing"), "secrets/signing.key is not what was backed up"),
    "no manifest": (lambda m: m.__delitem__(at(m, MANIFEST)), "is not whole"),
    "a manifest of nothing": (manifest(b"null"), "is not whole"),
    "a manifest of lists": (manifest(b'{"files": [[]]}'), "is not whole"),
    "a deep manifest": (manifest(b"[" * 100_000), "is not whole"),
    "a later one": (
        manifest(
            json.dumps({"schema": 9, "revision": HEAD, "release": "9.0", "made_at": "", "files": {}}).encode()
        ),
        "was made by another release, 9.0",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_the_backup_leaves_nothing_behind(
    backed_up: BackedUp, place: Callable[[str], Place], tmp_path: Path, name: str
) -> None:
    change, said = HOSTILE[name]
    empty = place("sqlite")
    with pytest.raises(StorageError, match=said):
        restore(*empty, rewritten(backed_up.path, tmp_path / "hostile.tar", change))
    assert [path.name for path in empty[0].root.iterdir()] == ["run"]


def test_whatever_is_cut_off_or_no_backup_is_refused(
    backed_up: BackedUp, place: Callable[[str], Place], tmp_path: Path
) -> None:
    empty, whole = place("sqlite"), backed_up.path.read_bytes()
    for n in (0, 1, 100, 512, 700, len(whole) // 2, len(whole) - 12_000):
        (tmp_path / "cut.tar").write_bytes(whole[:n])
        with pytest.raises(LoopaiError):
            restore(*empty, tmp_path / "cut.tar")
    with pytest.raises(NotFound, match="no such file"):
        restore(*empty, tmp_path / "none.tar")
    with pytest.raises(StorageError, match="is no backup"):
        restore(*empty, tmp_path)
    assert [path.name for path in empty[0].root.iterdir()] == ["run"]


def _rows_of(name: str, body: bytes) -> Callable[[list[Member]], None]:
    """A table of one's own making, with a manifest that agrees."""
    import hashlib

    def change(members: list[Member]) -> None:
        members[at(members, name)] = entry(name, body)
        n = at(members, MANIFEST)
        about = json.loads(members[n][1])
        about["files"][name] = hashlib.sha256(body).hexdigest()
        members[n] = entry(MANIFEST, json.dumps(about).encode())

    return change


@pytest.mark.parametrize(
    "body",
    [
        b"{}\n",
        b"[]\n",
        b"1\n",
        b"nonsense\n",
        b'{"id": 1, "name": 2}\n',
        b'{"id": {}}\n',
        b"[" * 100_000,
        b'{"nothing": 1}\n{"other": 2}\n',
    ],
)
def test_rows_that_no_platform_wrote_are_told_and_none_is_kept(
    backed_up: BackedUp, place: Callable[[str], Place], tmp_path: Path, body: bytes
) -> None:
    empty = place("sqlite")
    for table in ("tables/tenants.jsonl", "tables/api_keys.jsonl"):
        forged = rewritten(backed_up.path, tmp_path / f"{table[7:11]}.tar", _rows_of(table, body))
        with pytest.raises(StorageError, match="does not fit this database"):
            restore(*empty, forged)
    assert restore(*empty, backed_up.path).rows == backed_up.rows

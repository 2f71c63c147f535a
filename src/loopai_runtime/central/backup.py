"""A platform as one file, made while it serves: `central.tar`.

    tables/NAME.jsonl     the database, as it was at one moment
    blobs/KEY             the bundles that it names
    secrets/NAME.key      among them the key by which edges know the platform's signature
    tenants/TENANT/…      what was executed: logs, labels, ledgers
    manifest.json         {"schema", "made_at", "release", "revision", "files": {name: SHA-256}}; the last, so
                          that a backup without it is not whole

Bundles are never changed or deleted, so those that the database names are there after it was read. Logs only grow:
what is copied are their first lines.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sqlalchemy import select

from loopai_runtime._version import __version__
from loopai_runtime.central.blobs import blobs_of
from loopai_runtime.central.database import database_of
from loopai_runtime.central.db import dump, schema
from loopai_runtime.central.db.migrations import HEAD
from loopai_runtime.central.db.tables import artifacts
from loopai_runtime.central.repository import blob_key
from loopai_runtime.errors import NotFound, UsageError
from loopai_runtime.files import FILE_MODE, fsync_dir, only_one, storage_errors, temporary_beside
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.central.blobs import Blobs
    from loopai_runtime.central.db.database import Database
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

SCHEMA = 1
MANIFEST = "manifest.json"
NAME = re.compile(r"(tables|blobs|secrets|tenants)(/[A-Za-z0-9][A-Za-z0-9._-]{0,200}){1,8}")
"""Of everything in a backup beside its manifest."""
_MADE_AGAIN = {"artifacts", "cache", "run"}
"""What of a tenant's directory the platform makes of the rest."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    path: Path
    size: int
    rows: int
    bundles: int
    lost: list[str] = field(default_factory=list)
    """Bundles that the database names and that are not there, or are not what they were."""


def backup(layout: Layout, config: Config, out: Path) -> BackedUp:
    """Write the platform to `out`, or under a name that says when into the folder `out`.

    Raises UsageError where `out` is there already or no platform is here, StorageError.
    """
    target = out / datetime.now(UTC).strftime("central-%Y%m%dT%H%M%SZ.tar") if out.is_dir() else out
    if target.exists():
        raise UsageError(f"{target} is there already", hint="a backup replaces nothing; give another name")
    if not target.parent.is_dir():
        raise UsageError(f"no such folder: {target.parent}")
    if config.central.database_url is None and not layout.central_db.exists():
        raise UsageError(f"no platform is in {layout.root}", hint="loopai central start makes one")
    db, blobs = database_of(layout, config), blobs_of(config.central.blobs, layout)
    temporary = temporary_beside(target)
    try:
        with storage_errors(target):
            with open(temporary, "xb", opener=private) as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    rows, named, lost = _pack(_Packed(tar), layout, db, blobs, target.parent)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
            fsync_dir(target.parent)
            return BackedUp(target, target.stat().st_size, rows, named - len(lost), lost)
    finally:
        temporary.unlink(missing_ok=True)
        db.close()


def _pack(packed: _Packed, layout: Layout, db: Database, blobs: Blobs, near: Path) -> tuple[int, int, list[str]]:
    """How many rows, how many bundles they name, and which of these are lost."""
    rows, named = _tables(packed, db, near)
    lost = [key for key, sha256 in named if not _blob(packed, blobs, key, sha256)]
    for path in sorted(layout.secrets.glob("*.key")):
        packed.add(f"secrets/{path.name}", path.read_bytes())
    for path, file, size in _files(layout.tenants_root):
        name = f"tenants/{path.relative_to(layout.tenants_root)}"
        if NAME.fullmatch(name):  # others are nothing of ours, and none that restore would take
            packed.stream(name, file, size)
    about = {"schema": SCHEMA, "made_at": utc_now(), "release": __version__, "revision": HEAD}
    packed.add(MANIFEST, json.dumps(about | {"files": packed.digests}, indent=1).encode())
    return rows, len(named), lost


def _tables(packed: _Packed, db: Database, near: Path) -> tuple[int, list[tuple[str, str]]]:
    """How many rows, and the bundles that they name with their SHA-256."""
    rows = 0
    with db.snapshot() as connection:
        if schema.revision(connection) != HEAD:
            raise UsageError("the database is not one of this release", hint="loopai central start upgrades it")
        for table in dump.tables():
            with tempfile.TemporaryFile(dir=near) as spooled:
                for line in dump.lines(connection, table):
                    spooled.write(line)
                    rows += 1
                size = spooled.tell()
                spooled.seek(0)
                packed.stream(f"tables/{table.name}.jsonl", spooled, size)
        wanted = select(artifacts.c.tenant_id, artifacts.c.task_id, artifacts.c.sha256)
        named = [(blob_key(*row), row.sha256) for row in connection.execute(wanted)]
    return rows, named


def _blob(packed: _Packed, blobs: Blobs, key: str, sha256: str) -> bool:
    """Whether a bundle is what it was."""
    try:
        content = blobs.get(key)
    except NotFound:
        return False
    if hashlib.sha256(content).hexdigest() != sha256:
        return False
    packed.add(f"blobs/{key}", content)
    return True


def _files(root: Path) -> Iterator[tuple[Path, IO[bytes], int]]:
    """What tenants have, opened while nothing renames it, and how long it was then."""
    for place, below, names in os.walk(root):
        directory = Path(place)
        if directory.parent == root:
            below[:] = set(below) - _MADE_AGAIN
        below.sort()
        with ExitStack() as stack:
            found = []
            with suppress(FileNotFoundError), only_one(directory):  # retention removes what has become old
                for name in sorted(names):
                    path = directory / name
                    if path.is_file() and not path.is_symlink():
                        file = stack.enter_context(path.open("rb"))
                        found.append((path, file, os.fstat(file.fileno()).st_size))
            yield from found


def private(path: str, flags: int) -> int:
    """Opens a file that nobody else may read."""
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)


class _Packed:
    """A tar file that remembers the digests of what goes into it."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.digests: dict[str, str] = {}

    def add(self, name: str, content: bytes) -> None:
        self.stream(name, io.BytesIO(content), len(content))

    def stream(self, name: str, file: IO[bytes], size: int) -> None:
        """The next `size` bytes of a file."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, FILE_MODE
        reader = Hashing(file)
        self._tar.addfile(member, reader)
        self.digests[name] = reader.digest.hexdigest()


class Hashing:
    """A file to read, and the digest of what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(size)
        self.digest.update(content)
        return content

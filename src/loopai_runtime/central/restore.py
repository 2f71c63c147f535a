"""A platform out of a backup, into a place where there is none.

Everything is compared with the backup's digests before anything is written. The database is written last and at
once: until then the place counts as empty, and a restore that was killed can be run again.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from loopai_runtime import jsonl
from loopai_runtime.central.backup import MANIFEST, NAME, SCHEMA, Hashing, private
from loopai_runtime.central.blobs import blobs_of
from loopai_runtime.central.database import database_of
from loopai_runtime.central.db import dump, schema
from loopai_runtime.central.db.migrations import HEAD
from loopai_runtime.central.db.tables import tenants
from loopai_runtime.errors import InputError, NotFound, StorageError, UsageError
from loopai_runtime.files import fsync_dir, make_dir, storage_errors, temporary_beside
from loopai_runtime.http.serving import alone

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.central.db.database import Database
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_MOST_MANIFEST = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Restored:
    made_at: str
    rows: int
    bundles: int


def restore(layout: Layout, config: Config, source: Path) -> Restored:
    """Raises NotFound, StorageError for a backup that is not whole, UsageError where a platform is there, Busy."""
    with alone(layout, "central", "that restores a backup"), _opened(source) as tar:
        about = _checked(tar, source)
        db = database_of(layout, config)
        try:
            _require_empty(db, layout, tar)
            db.upgrade()
            bundles = _put_files(tar, layout, config)
            return Restored(about["made_at"], _put_tables(tar, db, source), bundles)
        finally:
            db.close()


def _opened(source: Path) -> tarfile.TarFile:
    try:
        with storage_errors(source):
            return tarfile.open(source, "r:")
    except FileNotFoundError:
        raise NotFound("no such file", where=str(source)) from None
    except (tarfile.TarError, IsADirectoryError):
        raise StorageError("is no backup", where=str(source)) from None


def _checked(tar: tarfile.TarFile, source: Path) -> dict[str, Any]:
    """The manifest, when all that it names is there and what it says. Raises StorageError."""
    try:
        found, manifest = _digests(tar, source)
        about = jsonl.loads(manifest)
        files = about["files"]
        made_by = about["schema"], about["revision"], str(about["release"])[:40], str(about["made_at"])[:40]
        wrong = sorted(set(found.items()) ^ set(files.items()))
    except (tarfile.TarError, EOFError, InputError, LookupError, TypeError, AttributeError):
        hint = "take another backup of that platform"
        raise StorageError("is not whole", where=str(source), hint=hint) from None
    if made_by[:2] != (SCHEMA, HEAD):
        raise StorageError(
            f"was made by another release, {made_by[2]}",
            where=str(source),
            hint="restore it with that release; this one upgrades what that has restored",
        )
    if wrong:
        said = f"{wrong[0][0][:200]} is not what was backed up"
        raise StorageError(said, where=str(source), hint="take another backup")
    return {"made_at": made_by[3]}


def _digests(tar: tarfile.TarFile, source: Path) -> tuple[dict[str, str], bytes]:
    """The SHA-256 of each file, and the manifest. Raises StorageError for links and names that no backup has."""
    found: dict[str, str] = {}
    manifest = b""
    for member in tar:
        name = member.name
        is_known = NAME.fullmatch(name) or (name == MANIFEST and not manifest)
        # a sparse file claims any size
        if not is_known or name in found or member.type not in _FILES or member.issparse():
            raise StorageError(f"{name[:200]!r} is nothing that a backup has", where=str(source))
        file = _file(tar, member)
        if name == MANIFEST:
            manifest = file.read(_MOST_MANIFEST)
            continue
        reader = Hashing(file)
        while reader.read(2**20):
            pass
        found[name] = reader.digest.hexdigest()
    return found, manifest


def _require_empty(db: Database, layout: Layout, tar: tarfile.TarFile) -> None:
    """Raises UsageError."""
    with db.read() as connection:
        is_made = schema.revision(connection) is not None
        if is_made and connection.scalar(select(tenants.c.id).limit(1)) is not None:
            raise UsageError(
                "a platform is here already", hint="restore into an empty --data-dir, and an empty database"
            )
    for member in tar:
        if member.name.startswith("secrets/"):
            path = layout.secrets / PurePosixPath(member.name).name
            if path.exists() and path.read_bytes() != _content(tar, member):
                raise UsageError(
                    f"{path} is another secret than the backup's", hint="restore into an empty --data-dir"
                )


def _put_files(tar: tarfile.TarFile, layout: Layout, config: Config) -> int:
    """All but the database; how many bundles. Raises StorageError."""
    blobs, bundles = blobs_of(config.central.blobs, layout), 0
    places = {"secrets": layout.secrets, "tenants": layout.tenants_root}
    for member in tar:
        kind, _, name = member.name.partition("/")
        if kind == "blobs":
            blobs.put(name, _content(tar, member))
            bundles += 1
        elif kind in places:
            _copy(_file(tar, member), places[kind] / name)
    return bundles


def _copy(file: IO[bytes], path: Path) -> None:
    """Whole or not at all; a log may be larger than memory. Raises StorageError."""
    make_dir(path.parent)
    temporary = temporary_beside(path)
    try:
        with storage_errors(path):
            with open(temporary, "xb", opener=private) as copy:
                shutil.copyfileobj(file, copy, 2**20)
                copy.flush()
                os.fsync(copy.fileno())
            temporary.rename(path)
            fsync_dir(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _put_tables(tar: tarfile.TarFile, db: Database, source: Path) -> int:
    """How many rows. Raises StorageError."""
    members = {member.name: member for member in tar}
    rows = 0
    try:
        with db.write(slow=True) as connection:
            for table in dump.tables():
                member = members.get(f"tables/{table.name}.jsonl")
                if member is None:
                    raise StorageError(f"has no table {table.name}", where=str(source))
                rows += dump.load(connection, table, _file(tar, member))
    except (SQLAlchemyError, InputError, ValueError, LookupError, TypeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise StorageError(f"does not fit this database: {why}", where=str(source)) from None
    return rows


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    return _file(tar, member).read()


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise StorageError(f"{member.name!r} is no file", where=str(tar.name))
    return file

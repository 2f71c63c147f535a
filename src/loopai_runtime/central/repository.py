"""The platform's artifacts: versions of a tenant's tasks, numbered and signed here, and never changed.

A bundle that comes in is read as hostile, checked against the sandbox's policy, given the platform's number and
signature, and stored by the SHA-256 of what it is then: these bytes are served for ever. What is stored before its
row was committed is nothing; the same artifact (by its digest) is never a second version.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from loopai_runtime.artifacts import archive, bundle
from loopai_runtime.central.audit import note
from loopai_runtime.central.db.tables import artifacts, tasks
from loopai_runtime.errors import Busy, InputError, NotFound, StorageError, TamperedArtifact
from loopai_runtime.flows.versions import check_policy, meets_targets
from loopai_runtime.models import VersionStatus, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from loopai_runtime.artifacts.bundle import Bundle
    from loopai_runtime.central.blobs import Blobs
    from loopai_runtime.central.db.database import Database
    from loopai_runtime.config import Config
    from loopai_runtime.signing import Signer

_TRIES = 20
_KEY = re.compile(r"([^/]+)/([^/]+)/([0-9a-f]{64})\.zip")


@dataclass(frozen=True, slots=True)
class Published:
    version: int
    sha256: str
    """Of the bundle as it is served."""
    created: bool
    """False: the same artifact was there already."""
    digest: str = ""
    """The artifact's, which is signed."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some versions of a task, the oldest first; `mark` changes whenever the whole list does."""

    versions: list[dict[str, Any]]
    next: int | None
    mark: str


class Repository:
    """Synchronous; call it from threads."""

    def __init__(self, db: Database, blobs: Blobs, signer: Signer, config: Config) -> None:
        self._db = db
        self._blobs = blobs
        self._signer = signer
        self._config = config
        self._numbering = threading.Lock()

    @property
    def public_key(self) -> str:
        return self._signer.public

    # --- in

    def publish(self, tenant_id: str, task_id: str, content: bytes, by: str) -> Published:
        """Store a bundle as the next version of its task. Raises InputError, PolicyRefused, StorageError, Busy."""
        found = _read(task_id, content)
        with self._db.read() as connection:
            if same := _same(connection, tenant_id, task_id, found.digest):
                return same
        check_policy(found, self._config)
        with self._numbering:
            for _ in range(_TRIES):
                try:
                    return self._numbered(tenant_id, task_id, found, by)
                except IntegrityError:  # another process was faster
                    continue
        raise Busy(f"too many versions of {task_id} come in at the same time")

    def _numbered(self, tenant_id: str, task_id: str, found: Bundle, by: str) -> Published:
        with self._db.read() as connection:
            if same := _same(connection, tenant_id, task_id, found.digest):
                return same
            version = _last(connection, tenant_id, task_id) + 1
        signature = self._signer.sign(found.digest)
        ours = archive.write_zip(_ours(found, version, signature))
        sha256 = bundle.sha256(ours)
        self._blobs.put(blob_key(tenant_id, task_id, sha256), ours)
        status = VersionStatus.VALIDATED if meets_targets(found.artifact) else VersionStatus.DRAFT
        row = {
            "tenant_id": tenant_id,
            "task_id": task_id,
            "version": version,
            "sha256": sha256,
            "digest": found.digest,
            "size": len(ours),
            "status": status.value,
            "metadata": json.loads(found.files[bundle.METADATA]) | {"version": version},
            "signature": signature.decode(),
            "created_at": utc_now(),
            "created_by": by,
        }
        with self._db.write() as connection:
            _know(connection, self._db, tenant_id, task_id, found.artifact.description)
            connection.execute(insert(artifacts), row)
            note(connection, tenant_id, by, "artifact.published", task_id=task_id, version=version)
        return Published(version, sha256, created=True, digest=found.digest)

    # --- out

    def versions(self, tenant_id: str, task_id: str, after: int = 0, most: int = 1000) -> Page:
        """At most `most` versions beyond the number `after`. Raises NotFound."""
        columns = ("version", "sha256", "status", "created_at", "deprecated_at")
        with self._db.read() as connection:
            _require_task(connection, tenant_id, task_id)
            asked = select(*(artifacts.c[name] for name in columns)).where(*_of(tenant_id, task_id))
            found = [
                _listed(dict(row)) for row in connection.execute(asked.order_by(artifacts.c.version)).mappings()
            ]
        rest = [each for each in found if each["version"] > after]
        page = rest[:most]
        mark = bundle.sha256(json.dumps(found).encode())
        return Page(page, page[-1]["version"] if len(rest) > most else None, mark)

    def describe(self, tenant_id: str, task_id: str, version: int) -> dict[str, Any]:
        """All that is known of a version. Raises NotFound."""
        with self._db.read() as connection:
            row = _row(connection, tenant_id, task_id, version)
        return _listed(row) | {
            "task_id": task_id,
            "digest": row["digest"],
            "size": row["size"],
            "signature": json.loads(row["signature"]),
            "deprecated_at": row["deprecated_at"],
            "deprecated_reason": row["deprecated_reason"],
            "metadata": row["metadata"],
        }

    def read(self, tenant_id: str, task_id: str, version: int) -> bytes:
        """The bytes of a version's bundle, the same each time. Raises NotFound, StorageError."""
        with self._db.read() as connection:
            row = _row(connection, tenant_id, task_id, version)
        key = blob_key(tenant_id, task_id, row["sha256"])
        try:
            content = self._blobs.get(key)
        except NotFound:
            raise StorageError(f"the bundle of {task_id} v{version} is lost", where=key) from None
        if bundle.sha256(content) != row["sha256"]:
            raise StorageError(f"the bundle of {task_id} v{version} is damaged", where=key)
        return content

    def deprecate(self, tenant_id: str, task_id: str, version: int, reason: str, by: str) -> None:
        """Say that a version should not be used any more; it can be downloaded still. Raises NotFound."""
        with self._db.write() as connection:
            _row(connection, tenant_id, task_id, version)
            said = {"deprecated_at": utc_now(), "deprecated_reason": reason}
            ours = (*_of(tenant_id, task_id), artifacts.c.version == version)
            done = connection.execute(
                update(artifacts).where(*ours, artifacts.c.deprecated_at.is_(None)).values(said)
            )
            if done.rowcount:
                facts = {"task_id": task_id, "version": version, "reason": reason}
                note(connection, tenant_id, by, "artifact.deprecated", **facts)

    # --- away

    def sweep(self, before: datetime, is_over: Callable[[], bool] = lambda: False) -> int:
        """Delete bundles that no version names and that were stored before that; how many.

        Whoever publishes stores first and commits then: a bundle without a version is about to have one, or never
        will. Raises StorageError.
        """
        count = 0
        for key in self._blobs.keys():  # noqa: SIM118  no dict
            if is_over():
                break
            if self._is_left(key, before):
                with self._numbering:  # it may just have been stored again
                    if self._is_left(key, before):
                        self._blobs.delete(key)
                        count += 1
        return count

    def _is_left(self, key: str, before: datetime) -> bool:
        match = _KEY.fullmatch(key)
        if match is None:
            return False
        tenant_id, task_id, sha256 = match.groups()
        named = select(artifacts.c.version).where(*_of(tenant_id, task_id), artifacts.c.sha256 == sha256)
        with self._db.read() as connection:
            if connection.scalar(named.limit(1)) is not None:
                return False
        with suppress(NotFound):
            return self._blobs.written_at(key) < before
        return False


def _read(task_id: str, content: bytes) -> Bundle:
    """The bundle of a task. Raises InputError."""
    try:
        found = archive.unzip(content, "the bundle")
    except TamperedArtifact as error:
        raise InputError(error.message, hint=error.hint) from None
    if found.artifact.task_id != task_id:
        raise InputError(f"the bundle is of the task {found.artifact.task_id}, not {task_id}")
    return found


def _ours(found: Bundle, version: int, signature: bytes) -> Bundle:
    """The artifact under the platform's number, with its signature and nobody else's."""
    source = found.artifact
    origin = {"task_id": source.task_id, "version": source.version, "sha256": found.digest}
    made = bundle.adopt(found, task_id=source.task_id, version=version, origin=origin)
    return bundle.check({**made.files, bundle.SIGNATURE: signature})


def blob_key(tenant_id: str, task_id: str, sha256: str) -> str:
    return f"{tenant_id}/{task_id}/{sha256}.zip"


def _of(tenant_id: str, task_id: str) -> tuple[ColumnElement[bool], ...]:
    return artifacts.c.tenant_id == tenant_id, artifacts.c.task_id == task_id


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    status = VersionStatus.DEPRECATED.value if row["deprecated_at"] else row["status"]
    shown = {name: row[name] for name in ("version", "sha256", "created_at")}
    return {"version": shown["version"], "sha256": shown["sha256"], "status": status} | shown


def _same(connection: Connection, tenant_id: str, task_id: str, digest: str) -> Published | None:
    wanted = select(artifacts.c.version, artifacts.c.sha256).where(
        *_of(tenant_id, task_id), artifacts.c.digest == digest
    )
    row = connection.execute(wanted).first()
    return None if row is None else Published(row[0], row[1], created=False, digest=digest)


def _last(connection: Connection, tenant_id: str, task_id: str) -> int:
    found = connection.scalar(select(func.max(artifacts.c.version)).where(*_of(tenant_id, task_id)))
    return int(found or 0)


def _row(connection: Connection, tenant_id: str, task_id: str, version: int) -> Mapping[str, Any]:
    """Raises NotFound."""
    _require_task(connection, tenant_id, task_id)
    wanted = select(artifacts).where(*_of(tenant_id, task_id), artifacts.c.version == version)
    row = connection.execute(wanted).mappings().first()
    if row is None:
        raise NotFound(f"{task_id} has no version v{version}")
    return dict(row)


def _require_task(connection: Connection, tenant_id: str, task_id: str) -> None:
    """Raises NotFound."""
    wanted = select(tasks.c.task_id).where(tasks.c.tenant_id == tenant_id, tasks.c.task_id == task_id)
    if connection.scalar(wanted.where(tasks.c.deleted_at.is_(None))) is None:
        raise NotFound(f"no task {task_id!r}")


def _know(connection: Connection, db: Database, tenant_id: str, task_id: str, description: str) -> None:
    """A task that is published is a task, as one that was declared is, and as one that was deleted is again."""
    now, described = utc_now(), description.replace("\0", "")  # which PostgreSQL has no place for
    row = {"tenant_id": tenant_id, "task_id": task_id, "description": described, "spec": {}}
    connection.execute(db.insert_new(tasks), row | {"created_at": now, "updated_at": now})
    gone = (tasks.c.tenant_id == tenant_id, tasks.c.task_id == task_id, tasks.c.deleted_at.is_not(None))
    connection.execute(update(tasks).where(*gone).values(deleted_at=None, updated_at=now))

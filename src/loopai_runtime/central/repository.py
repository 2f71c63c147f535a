"""The platform's artifacts: versions of a tenant's tasks, numbered here and never changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from loopai_runtime.artifacts import archive, bundle
from loopai_runtime.central.db.tables import artifacts, tasks
from loopai_runtime.errors import InputError, NotFound, StorageError, TamperedArtifact
from loopai_runtime.flows.versions import check_policy, meets_targets
from loopai_runtime.layout import make_dir, replace_file, storage_errors
from loopai_runtime.models import VersionStatus, utc_now

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from loopai_runtime.central.db.database import Database
    from loopai_runtime.config import Config


@dataclass(frozen=True, slots=True)
class Published:
    version: int
    sha256: str
    created: bool
    """False: the same artifact was there already."""


class Repository:
    """Synchronous; call it from threads. Bundles lie below `root`, by the SHA-256 of their bytes."""

    def __init__(self, db: Database, root: Path, config: Config) -> None:
        self._db = db
        self._root = root
        self._config = config

    def publish(self, tenant_id: str, task_id: str, content: bytes, by: str) -> Published:
        """Store a bundle as the next version of its task. Raises TamperedArtifact, PolicyRefused, StorageError."""
        try:
            found = archive.unzip(content, "the bundle")
        except TamperedArtifact as error:
            raise InputError(error.message) from None
        if found.artifact.task_id != task_id:
            raise InputError(f"the bundle is of the task {found.artifact.task_id}, not {task_id}")
        check_policy(found, self._config)
        sha256 = bundle.sha256(content)
        self._keep(sha256, content)
        with self._db.write() as connection:
            if (same := _same(connection, tenant_id, task_id, found.digest)) is not None:
                return Published(*same, created=False)
            _know(connection, self._db, tenant_id, task_id, found.artifact.description)
            last = connection.scalar(
                select(func.max(artifacts.c.version)).where(
                    artifacts.c.tenant_id == tenant_id, artifacts.c.task_id == task_id
                )
            )
            row = {
                "tenant_id": tenant_id,
                "task_id": task_id,
                "version": (last or 0) + 1,
                "sha256": sha256,
                "digest": found.digest,
                "size": len(content),
                "status": (
                    VersionStatus.VALIDATED if meets_targets(found.artifact) else VersionStatus.DRAFT
                ).value,
                "metadata": json.loads(found.files[bundle.METADATA]),
                "created_at": utc_now(),
                "created_by": by,
            }
            connection.execute(insert(artifacts), row)
        return Published(row["version"], sha256, created=True)

    def versions(self, tenant_id: str, task_id: str) -> list[dict[str, Any]]:
        """The oldest first. Raises NotFound."""
        with self._db.read() as connection:
            found = connection.execute(
                select(artifacts)
                .where(artifacts.c.tenant_id == tenant_id, artifacts.c.task_id == task_id)
                .order_by(artifacts.c.version)
            ).mappings()
            listed = [
                {
                    "version": row["version"],
                    "sha256": row["sha256"],
                    "status": "deprecated" if row["deprecated_at"] else row["status"],
                    "created_at": row["created_at"],
                }
                for row in found
            ]
        if not listed:
            raise NotFound(f"no task {task_id!r}")
        return listed

    def read(self, tenant_id: str, task_id: str, version: int) -> bytes:
        """The bytes of a version's bundle. Raises NotFound, StorageError."""
        with self._db.read() as connection:
            sha256 = connection.scalar(
                select(artifacts.c.sha256).where(
                    artifacts.c.tenant_id == tenant_id,
                    artifacts.c.task_id == task_id,
                    artifacts.c.version == version,
                )
            )
        if sha256 is None:
            raise NotFound(f"{task_id} has no version v{version}")
        path = self._root / sha256
        with storage_errors(path):
            content: bytes = path.read_bytes()
        if bundle.sha256(content) != sha256:
            raise StorageError("is damaged", where=str(path))
        return content

    def deprecate(self, tenant_id: str, task_id: str, version: int, reason: str) -> None:
        """Raises NotFound."""
        with self._db.write() as connection:
            done = connection.execute(
                update(artifacts)
                .where(
                    artifacts.c.tenant_id == tenant_id,
                    artifacts.c.task_id == task_id,
                    artifacts.c.version == version,
                )
                .values(deprecated_at=utc_now(), deprecated_reason=reason)
            )
            if not done.rowcount:
                raise NotFound(f"{task_id} has no version v{version}")

    def _keep(self, sha256: str, content: bytes) -> None:
        path = make_dir(self._root) / sha256
        if not path.exists():
            replace_file(path, content)


def _same(connection: Connection, tenant_id: str, task_id: str, digest: str) -> tuple[int, str] | None:
    found = connection.execute(
        select(artifacts.c.version, artifacts.c.sha256).where(
            artifacts.c.tenant_id == tenant_id, artifacts.c.task_id == task_id, artifacts.c.digest == digest
        )
    ).first()
    return None if found is None else (found[0], found[1])


def _know(connection: Connection, db: Database, tenant_id: str, task_id: str, description: str) -> None:
    """A task that is published is a task, as one that was declared is."""
    now = utc_now()
    row = {"tenant_id": tenant_id, "task_id": task_id, "description": description, "spec": {}}
    connection.execute(db.insert_new(tasks), row | {"created_at": now, "updated_at": now})

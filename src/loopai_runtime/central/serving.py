"""Which version of a task the platform executes: the active one, which somebody chose.

As on an edge, the first version that passed its checks is active from the start, and later ones wait to be chosen.
Where the active one is deprecated, the newest one that is not takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from loopai_runtime.artifacts import archive, bundle
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.central.audit import PLATFORM, note
from loopai_runtime.central.db.tables import artifacts, tasks
from loopai_runtime.errors import GateMissed, NotFound, StorageError
from loopai_runtime.models import VersionStatus

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from loopai_runtime.central.db.database import Database
    from loopai_runtime.central.repository import Repository
    from loopai_runtime.layout import Layout

_LOCK_S = 10.0


def version_of(db: Database, tenant_id: str, task_id: str) -> int:
    """The active version; where none is, the first that may serve becomes it, and for a deprecated one the newest.

    Raises NotFound.
    """
    with db.read() as connection:
        active = _active(connection, tenant_id, task_id)
        versions = _versions(connection, tenant_id, task_id)
    if active is not None and versions.get(active) not in (None, VersionStatus.DEPRECATED):
        return active
    good = [number for number, status in versions.items() if status is VersionStatus.VALIDATED]
    if not good:
        raise NotFound(f"no version of {task_id} can serve", hint="loopai push brings one to the platform")
    chosen = min(good) if active is None else max(good)
    with db.write() as connection:
        if _active(connection, tenant_id, task_id) == active:
            _set(connection, tenant_id, task_id, chosen, active, PLATFORM)
    return chosen


def schemas_of(db: Database, tenant_id: str, task_id: str, version: int) -> dict[str, Any]:
    """The schemas of what a version takes and answers. Raises NotFound."""
    with db.read() as connection:
        metadata = connection.scalar(
            select(artifacts.c.metadata).where(
                artifacts.c.tenant_id == tenant_id,
                artifacts.c.task_id == task_id,
                artifacts.c.version == version,
            )
        )
    if metadata is None:
        raise NotFound(f"{task_id} has no version v{version}")
    return {name: metadata[name] for name in ("input_schema", "output_schema")}


def choose(db: Database, tenant_id: str, task_id: str, version: int, by: str) -> int | None:
    """Let a version serve, and return the one that did. Raises NotFound, GateMissed."""
    with db.write() as connection:
        before = _active(connection, tenant_id, task_id)
        status = _versions(connection, tenant_id, task_id).get(version)
        if status is None:
            raise NotFound(f"{task_id} has no version v{version}")
        if status is not VersionStatus.VALIDATED:
            raise GateMissed(f"{task_id} v{version} is {status.value}: only a validated version can serve")
        _set(connection, tenant_id, task_id, version, before, by)
    return before


def unpack(repository: Repository, layout: Layout, tenant_id: str, task_id: str, version: int) -> None:
    """Make a version the active one of the tenant's directory. Raises StorageError, TamperedArtifact."""
    store = ArtifactStore(layout)
    if store.active_version(task_id) == version:
        return
    with layout.lock(task_id, _LOCK_S):
        if version not in store.state(task_id).versions:
            found = archive.unzip(repository.read(tenant_id, task_id, version), f"{task_id} v{version}")
            origin = {"task_id": task_id, "version": found.artifact.version, "sha256": found.digest}
            # Its maker's number is another one than the platform's.
            numbered = bundle.adopt(found, task_id=task_id, version=version, origin=origin)
            stored, _ = store.import_bundle(numbered, VersionStatus.VALIDATED)
            if stored.artifact.version != version:
                raise StorageError(
                    f"v{version} cannot be unpacked: another version has its place",
                    where=str(layout.artifacts(task_id)),
                    hint="what is below central/tenants is a copy; remove this folder",
                )
        store.activate(task_id, version, reason="it is active on the platform")


def _active(connection: Connection, tenant_id: str, task_id: str) -> int | None:
    """Raises NotFound."""
    row = connection.execute(
        select(tasks.c.active_version).where(
            tasks.c.tenant_id == tenant_id, tasks.c.task_id == task_id, tasks.c.deleted_at.is_(None)
        )
    ).first()
    if row is None:
        raise NotFound(f"no task {task_id!r}")
    active: int | None = row[0]
    return active


def _versions(connection: Connection, tenant_id: str, task_id: str) -> dict[int, VersionStatus]:
    found = connection.execute(
        select(artifacts.c.version, artifacts.c.status, artifacts.c.deprecated_at).where(
            artifacts.c.tenant_id == tenant_id, artifacts.c.task_id == task_id
        )
    )
    return {
        version: VersionStatus(status) if deprecated_at is None else VersionStatus.DEPRECATED
        for version, status, deprecated_at in found
    }


def _set(connection: Connection, tenant_id: str, task_id: str, version: int, before: int | None, by: str) -> None:
    connection.execute(
        update(tasks)
        .where(tasks.c.tenant_id == tenant_id, tasks.c.task_id == task_id)
        .values(active_version=version)
    )
    facts = {"task_id": task_id, "version": version, "before": before}
    note(connection, tenant_id, by, "version.activated", **facts)

"""Fetch a version from the platform: verified before anything of it is kept, never put over what serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.artifacts import archive, bundle, references
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import NotFound, TamperedArtifact
from loopai_runtime.flows.platform import PlatformClient
from loopai_runtime.flows.versions import check_policy, meets_targets
from loopai_runtime.models import VersionStatus

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_LOCK_S = 10.0


@dataclass(frozen=True, slots=True)
class Pulled:
    task_id: str
    version: int
    already: bool
    """It was here, under this number."""


def pull(reference: str, layout: Layout, config: Config) -> Pulled:
    """The version that is meant, the newest where none is named; it serves at once where nothing does.

    Raises NotFound, AuthError, Unreachable, TamperedArtifact, PolicyRefused, Busy, StorageError.
    """
    wanted = references.parse(reference)
    with PlatformClient(config) as platform:
        version = wanted.selector if isinstance(wanted.selector, int) else _newest(platform, wanted.task_id)
        content = platform.download(wanted.task_id, version)
    found = archive.unzip(content, f"{wanted.task_id} v{version} of the platform")
    if found.artifact.task_id != wanted.task_id:
        raise TamperedArtifact(f"the platform sent a version of {found.artifact.task_id}", where=wanted.task_id)
    check_policy(found, config)
    origin = {"task_id": wanted.task_id, "version": found.artifact.version, "sha256": found.digest}
    found = bundle.adopt(found, task_id=wanted.task_id, version=version, origin=origin)
    store = ArtifactStore(layout)
    with layout.lock(wanted.task_id, _LOCK_S):
        status = VersionStatus.VALIDATED if meets_targets(found.artifact) else VersionStatus.DRAFT
        if status is VersionStatus.VALIDATED and store.active_version(wanted.task_id) is None:
            status = VersionStatus.ACTIVE
        stored, is_new = store.import_bundle(found, status)
    return Pulled(wanted.task_id, stored.artifact.version, not is_new)


def _newest(platform: PlatformClient, task_id: str) -> int:
    found = platform.versions(task_id)
    numbers = [each["version"] for each in found[0] if each["status"] != "deprecated"] if found else []
    if not numbers:
        raise NotFound(f"the platform has no version of {task_id}")
    return int(max(numbers))

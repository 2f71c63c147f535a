"""Fetch a version from the platform: verified before anything of it is kept, never put over what serves.

The platform's word is checked as far as it can be: the bytes have the SHA-256 that it announced, the artifact has
its digest, and that is signed by the key that is pinned here (the first one met, where none was configured).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime import signing
from loopai_runtime.artifacts import archive, puller, references
from loopai_runtime.artifacts.bundle import SIGNATURE
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import NotFound, TamperedArtifact, Unreachable, UsageError
from loopai_runtime.flows.platform import PlatformClient
from loopai_runtime.flows.versions import check_policy, meets_targets
from loopai_runtime.models import VersionStatus

if TYPE_CHECKING:
    from loopai_runtime.artifacts.bundle import Bundle
    from loopai_runtime.artifacts.references import Reference
    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_LOCK_S = 10.0
_PULLING_S = 600.0


@dataclass(frozen=True, slots=True)
class Pulled:
    """A version as it is here now."""

    task_id: str
    version: int
    already: bool
    """It was here, under this number."""
    status: str = ""
    digest: str = ""
    platform_version: int | None = None
    """Its number there."""
    first_key: str | None = None
    """The key that was met for the first time, and is believed from now on."""
    why_kept: str | None = None
    """Why the platform was not asked: what is here goes on."""

    def as_dict(self) -> dict[str, Any]:
        named = {"task_id": self.task_id, "version": self.version, "platform_version": self.platform_version}
        return named | {"status": self.status, "sha256": self.digest, "new": not self.already}


def pull(reference: str, layout: Layout, config: Config) -> Pulled:
    """The version that is meant, the newest where none is named; it serves at once where nothing does.

    Raises UsageError, ConfigError, NotFound, AuthError, Unreachable, TamperedArtifact, PolicyRefused, Busy,
    StorageError.
    """
    wanted = references.parse(reference)
    if wanted.selector == "previous":
        raise UsageError(f"{reference}: the platform has no previous version", hint="name a number: task@3")
    store = ArtifactStore(layout)
    with PlatformClient(config) as platform, layout.lock(wanted.task_id, _PULLING_S, "pulling"):
        task_id = wanted.task_id
        version = wanted.selector if isinstance(wanted.selector, int) else _newest(platform, task_id)
        about = _About.read(platform.describe(task_id, version), f"{task_id} v{version} of {platform.place}")
        if same := store.of_digest(task_id, about.digest):
            return _pulled(same, version, already=True)
        content = puller.download(
            layout.pulls,
            about.sha256,
            about.size,
            lambda start, end: platform.part(task_id, version, about.sha256, start, end),
            about.where,
        )
        found, key, is_first = _verified(content, task_id, version, about, layout, config)
        stored, is_new = _store(found, store, platform.place)
    return _pulled(stored, version, already=not is_new, first_key=key if is_first else None)


def pull_or_keep(reference: str, layout: Layout, config: Config) -> Pulled:
    """As `pull`; without the platform what is here of it, with the reason. Raises Unreachable if nothing is."""
    try:
        return pull(reference, layout, config)
    except Unreachable as error:
        stored = _on_disk(references.parse(reference), ArtifactStore(layout))
        if stored is None:
            raise
        origin = stored.artifact.origin or {}
        return _pulled(stored, origin.get("version"), already=True, why_kept=str(error))


@dataclass(frozen=True, slots=True)
class _About:
    """What the platform says that a version is."""

    digest: str
    sha256: str
    size: int
    where: str

    @classmethod
    def read(cls, said: dict[str, Any], where: str) -> _About:
        digest, sha256, size = (said.get(name) for name in ("digest", "sha256", "size"))
        if not (isinstance(digest, str) and isinstance(sha256, str) and type(size) is int):
            raise TamperedArtifact("it is described as no bundle can be", where=where)
        return cls(digest, sha256, size, where)


def _newest(platform: PlatformClient, task_id: str) -> int:
    found = platform.versions(task_id)
    servable = [each for each in found[0] if each["status"] != VersionStatus.DEPRECATED] if found else []
    good = [each["version"] for each in servable if each["status"] != VersionStatus.DRAFT]
    numbers = good or [each["version"] for each in servable]
    if not numbers:
        raise NotFound(f"the platform has no version of {task_id}")
    return int(max(numbers))


def _verified(
    content: bytes, task_id: str, version: int, about: _About, layout: Layout, config: Config
) -> tuple[Bundle, str, bool]:
    """The bundle, the key that signed it, and whether that is pinned only now."""
    found = archive.unzip(content, about.where)
    artifact = found.artifact
    if (artifact.task_id, artifact.version, found.digest) != (task_id, version, about.digest):
        raise TamperedArtifact(
            f"what came is {artifact.task_id} v{artifact.version} (SHA-256 {found.digest})", where=about.where
        )
    if SIGNATURE not in found.files:
        raise TamperedArtifact("it is not signed", where=about.where)
    pinned = signing.pinned(config, layout)
    key = signing.check(found.files[SIGNATURE], found.digest, about.where, pinned)
    check_policy(found, config)
    if pinned is None and signing.pin(key, layout) != key:  # another process met another one
        raise TamperedArtifact(f"it is signed by the key {key}, which is not the pinned one", where=about.where)
    return found, key, pinned is None


def _store(found: Bundle, store: ArtifactStore, place: str) -> tuple[Stored, bool]:
    task_id = found.artifact.task_id
    with store.layout.lock(task_id, _LOCK_S):
        status = VersionStatus.VALIDATED if meets_targets(found.artifact) else VersionStatus.DRAFT
        if status is VersionStatus.VALIDATED and store.active_version(task_id) is None:
            status = VersionStatus.ACTIVE
        return store.import_bundle(found, status, platform=place)


def _pulled(
    stored: Stored,
    platform_version: int | None,
    *,
    already: bool,
    first_key: str | None = None,
    why_kept: str | None = None,
) -> Pulled:
    artifact, status = stored.artifact, stored.status.value
    named = (artifact.task_id, artifact.version, already, status, stored.digest)
    return Pulled(*named, platform_version, first_key, why_kept)


def _on_disk(wanted: Reference, store: ArtifactStore) -> Stored | None:
    """What is here of the version that is meant; without a number, what serves or would serve."""
    try:
        if wanted.selector == "active":
            return store.last_good(wanted.task_id)
        for listed in store.versions(wanted.task_id):
            origin = listed.stored.artifact.origin if listed.stored else None
            if origin and "platform" in origin and origin["version"] == wanted.selector:
                return listed.stored
    except NotFound:
        pass
    return None

"""Give a version to the platform, which numbers and signs it. What holds personal data stays here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime.artifacts import archive, bundle
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.errors import PersonalData
from loopai_runtime.events import Audit
from loopai_runtime.flows.pii import leaks
from loopai_runtime.flows.platform import PlatformClient

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Pushed:
    """A version as the platform has it."""

    task_id: str
    version: int
    """The platform's number."""
    local_version: int
    sha256: str
    """The artifact's, the same here and there."""
    created: bool
    """False: it was there already."""

    def as_dict(self) -> dict[str, Any]:
        named = {"task_id": self.task_id, "version": self.version, "local_version": self.local_version}
        return named | {"sha256": self.sha256, "new": self.created}


def push(reference: str, layout: Layout, config: Config) -> Pushed:
    """Publish a version, the active one where none is named; the same one again changes nothing.

    Raises PersonalData, UsageError, ConfigError, NotFound, AuthError, Unreachable, InputError, TamperedArtifact,
    StorageError.
    """
    stored = ArtifactStore(layout).read(reference)
    task_id, number = stored.artifact.task_id, stored.artifact.version
    _refuse_personal_data(f"{task_id}@v{number}", stored.bundle)
    with PlatformClient(config) as platform:
        said = platform.upload(task_id, archive.write_zip(_plain(stored.bundle)))
        facts = {"destination": platform.place, "task_id": task_id, "version": number, "sha256": stored.digest}
    Audit(layout).record("push", **facts, platform_version=said["version"])
    return Pushed(task_id, said["version"], number, stored.digest, said["created"])


def _plain(found: bundle.Bundle) -> bundle.Bundle:
    """Without the signature of the platform that it may have come from."""
    return bundle.check({name: content for name, content in found.files.items() if name != bundle.SIGNATURE})


def _refuse_personal_data(name: str, found: bundle.Bundle) -> None:
    if not (places := leaks(name, found)):
        return
    shown = ", ".join(f"{leak.place} ({leak.kind} {leak.masked})" for leak in places[:_SHOWN])
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    raise PersonalData(
        f"holds personal data and was not pushed: {shown}{more}",
        where=name,
        hint=f"loopai verify {name} --pii lists it all; generate the version again from examples without it",
    )

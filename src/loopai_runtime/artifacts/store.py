"""The store: immutable versions on disk, and which one of them serves.

A version appears in one rename, after every byte of it is on disk; state.json is replaced after that, and the
`active` symlink last. So whatever a killed process leaves is one of these, and each means something: a
temporary folder (nothing; it is swept), a folder that state.json does not list (a draft), a symlink that lags
behind state.json (mended). Reading asks state.json and never the symlink, which is there for people.

Methods that change a task want `layout.lock(task_id)` held by the caller, over all that belongs together.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.artifacts import archive, bundle, references
from loopai_runtime.artifacts.references import Reference
from loopai_runtime.artifacts.state import VersionState, read_state, require_active
from loopai_runtime.errors import NotFound, StorageError, TamperedArtifact, UsageError
from loopai_runtime.files import (
    DIR_MODE,
    fsync_dir,
    make_dir,
    replace_file,
    replace_symlink,
    storage_errors,
    temporary_beside,
    write_file,
)
from loopai_runtime.models import VersionStatus, utc_now

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.artifacts.bundle import Bundle
    from loopai_runtime.artifacts.state import Action, State
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact

_FOLDER = re.compile(r"v([1-9][0-9]{0,8})")
# A foreign bundle keeps its number up to here; a wild one must not use up the numbers.
MAX_FOREIGN_NUMBER = 999_999


@dataclass(frozen=True, slots=True)
class Stored:
    """A version as it was read and verified."""

    bundle: Bundle
    status: VersionStatus

    @property
    def artifact(self) -> ProgramArtifact:
        return self.bundle.artifact

    @property
    def code(self) -> str:
        return self.bundle.code

    @property
    def digest(self) -> str:
        return self.bundle.digest


@dataclass(frozen=True, slots=True)
class Listed:
    """A version in a list: what could be read of it, or why it could not."""

    version: int
    status: VersionStatus
    digest: str | None
    stored: Stored | None
    damage: TamperedArtifact | None = None


class ArtifactStore:
    """The versions below one data directory."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    # --- reading ------------------------------------------------------------------------------------------

    def resolve(self, reference: str | Reference) -> tuple[str, int]:
        """The task and the number of the version that is meant. Raises UsageError, NotFound."""
        ref = references.parse(reference) if isinstance(reference, str) else reference
        task_id = self.layout.require_task(ref.task_id)
        current = self.state(task_id)
        if ref.selector == "active":
            return task_id, require_active(current, task_id)
        if ref.selector == "previous":
            if current.previous is None:
                raise NotFound(f"{task_id} has no previous version", hint="only one version has served so far")
            return task_id, current.previous
        if ref.selector not in current.versions:
            known = ", ".join(f"v{number}" for number in current.versions)
            raise NotFound(
                f"{task_id} has no version v{ref.selector}",
                hint=f"it has {known}" if known else "loopai generate SPEC makes one",
            )
        return task_id, ref.selector

    def read(self, reference: str | Reference) -> Stored:
        """The version that is meant, verified. Raises UsageError, NotFound, TamperedArtifact, StorageError."""
        task_id, version = self.resolve(reference)
        try:
            return self._load(task_id, version, self.state(task_id))
        except TamperedArtifact as exc:
            exc.hint = self._way_out(task_id, version)
            raise

    def active_version(self, task_id: str) -> int | None:
        return self.state(task_id).active

    def versions(self, task_id: str) -> list[Listed]:
        """All versions, the oldest first, damaged ones included."""
        current = self.state(task_id)
        found = []
        for number in sorted(current.versions):
            entry = current.versions[number]
            try:
                stored = self._load(task_id, number, current)
                found.append(Listed(number, entry.status, stored.digest, stored))
            except TamperedArtifact as exc:
                found.append(Listed(number, entry.status, entry.sha256 or None, None, exc))
        return found

    def last_good(self, task_id: str) -> Stored:
        """The latest version that served and is undamaged, else the newest validated one. Raises NotFound."""
        current = self.state(task_id)
        validated = [n for n, entry in current.versions.items() if entry.status is VersionStatus.VALIDATED]
        for number in [*current.served(), *sorted(validated, reverse=True)]:
            try:
                return self._load(task_id, number, current)
            except TamperedArtifact:
                continue
        raise NotFound(f"{task_id} has no undamaged version that passed its checks")

    def of_digest(self, task_id: str, digest: str) -> Stored | None:
        """The undamaged version that is the artifact of this digest."""
        return self._same(task_id, digest, self.state(task_id))

    def state(self, task_id: str) -> State:
        """What state.json says, and as drafts the folders that it does not list. Raises StorageError."""
        with storage_errors(self.layout.state(task_id)):
            current = read_state(self.layout.state(task_id))
        for number in self._folders(task_id) - current.versions.keys():
            current.versions[number] = VersionState(status=VersionStatus.DRAFT, sha256="", added_at="")
        return current

    def _folders(self, task_id: str) -> set[int]:
        place = self.layout.artifacts(task_id)
        try:
            with storage_errors(place):
                names = [entry.name for entry in place.iterdir()]
        except FileNotFoundError:
            return set()
        return {int(match[1]) for name in names if (match := _FOLDER.fullmatch(name))}

    def _load(self, task_id: str, version: int, current: State) -> Stored:
        """Read and verify one listed version against its own manifest and the digest in state.json."""
        where, entry = f"{task_id} v{version}", current.versions[version]
        try:
            found = archive.read_folder(self.layout.version(task_id, version), where)
        except (FileNotFoundError, StorageError) as exc:
            raise TamperedArtifact(
                f"its files cannot be read (SHA-256 {entry.sha256 or 'unknown'}): {exc}", where=where
            ) from None
        if (found.artifact.task_id, found.artifact.version) != (task_id, version):
            raise TamperedArtifact(
                f"{bundle.METADATA} is that of {found.artifact.task_id} v{found.artifact.version}"
                f" (SHA-256 {found.digest})",
                where=where,
            )
        if entry.sha256 and found.digest != entry.sha256:
            raise TamperedArtifact(
                f"{bundle.METADATA} or {bundle.PROGRAM} was changed: the artifact's SHA-256 is {found.digest},"
                f" and it was stored as {entry.sha256}",
                where=where,
            )
        return Stored(found, entry.status)

    def _way_out(self, task_id: str, damaged: int) -> str:
        try:
            good = self.last_good(task_id).artifact.version
        except NotFound:
            return "no undamaged version is left: generate or import one"
        if damaged == self.active_version(task_id):
            return f"v{good} is good: loopai activate {task_id}@{good} lets it serve"
        return f"v{good} is good and still works"

    # --- changing; the caller holds the task's lock ----------------------------------------------------------

    def add(self, artifact: ProgramArtifact, code: str, status: VersionStatus) -> ProgramArtifact:
        """Store a new version under the next number and return it as stored.

        `artifact.version` and `.files` are given here. With status ACTIVE it serves at once. Raises StorageError.
        """
        current = self._open(artifact.task_id)
        numbered = artifact.model_copy(update={"version": max(current.versions, default=0) + 1, "files": {}})
        made = bundle.build(numbered, code)
        self._store(made, current, status, "add")
        return made.artifact

    def import_bundle(
        self,
        foreign: Bundle,
        status: VersionStatus,
        task_id: str | None = None,
        platform: str | None = None,
    ) -> tuple[Stored, bool]:
        """Store a verified bundle, under its own number where that is free; True with it if it was new here.

        The same artifact is not stored twice. With ACTIVE it serves at once. `platform` is where it was pulled
        from. Raises StorageError.
        """
        source = foreign.artifact
        task_id = task_id or source.task_id
        current = self._open(task_id)
        wanted = source.version
        if wanted in current.versions or wanted > MAX_FOREIGN_NUMBER:
            wanted = max(current.versions, default=0) + 1
        origin = {
            "task_id": source.task_id,
            "version": source.version,
            "sha256": foreign.digest,
            "imported_at": utc_now(),
        }
        if platform is not None:
            origin["platform"] = platform
        adopted = bundle.adopt(foreign, task_id=task_id, version=wanted, origin=origin)
        if same := self._same(task_id, adopted.digest, current):
            return same, False
        self._store(adopted, current, status, "import")
        return Stored(adopted, current.versions[wanted].status), True

    def activate(self, task_id: str, version: int, *, reason: str | None = None) -> None:
        """Let an undamaged version serve. Raises NotFound, TamperedArtifact (then the old one still serves)."""
        self._switch(task_id, version, "activate", reason)

    def rollback(self, task_id: str, *, reason: str | None = None) -> int:
        """Let the previous version serve again, and return its number. Raises NotFound, TamperedArtifact."""
        _, version = self.resolve(Reference(task_id, "previous"))
        self._switch(task_id, version, "rollback", reason)
        return version

    def old_versions(self, task_id: str, keep: int) -> list[int]:
        """All but the latest `keep` versions, the active and the previous one; the oldest first."""
        current = self.state(task_id)
        kept = {*sorted(current.versions)[-keep:], current.active, current.previous}
        return [number for number in sorted(current.versions) if number not in kept]

    def remove(self, task_id: str, version: int) -> None:
        """Delete a version that neither serves nor served before. Raises StorageError.

        It goes from the list first: a folder that a crash leaves counts as a draft, and is removed like one.
        """
        current = self._open(task_id)
        if version in (current.active, current.previous):
            raise UsageError(f"{task_id} v{version} is needed: it is the active or the previous version")
        if current.versions.pop(version, None) is not None:
            self._write(task_id, current)
        folder = self.layout.version(task_id, version)
        temporary = temporary_beside(folder)
        with storage_errors(folder), contextlib.suppress(FileNotFoundError):
            folder.rename(temporary)
            shutil.rmtree(temporary)

    def _switch(self, task_id: str, version: int, action: Action, reason: str | None) -> None:
        self.read(Reference(task_id, version))
        current = self._open(task_id)
        if current.active != version:
            current.activate(version, action, reason)
            self._write(task_id, current)

    def _open(self, task_id: str) -> State:
        """The state, after mending what a killed process may have left."""
        place = make_dir(self.layout.artifacts(task_id))
        self.layout.sweep(place)
        current = self.state(task_id)
        lost = [number for number, entry in current.versions.items() if not entry.sha256]
        for number in lost:
            try:
                found = self._load(task_id, number, current)
            except TamperedArtifact:
                continue  # stays an unlisted draft, refused whenever it is read
            current.add(number, found.digest, VersionStatus.DRAFT, "recover", "its folder was not listed")
        if any(current.versions[number].sha256 for number in lost):
            self._write(task_id, current)
        self._mend_link(task_id, current)
        return current

    def _same(self, task_id: str, digest: str, current: State) -> Stored | None:
        for number, entry in current.versions.items():
            if entry.sha256 == digest:
                try:
                    return self._load(task_id, number, current)
                except TamperedArtifact:
                    continue
        return None

    def _store(self, made: Bundle, current: State, status: VersionStatus, action: Action) -> None:
        task_id, version = made.artifact.task_id, made.artifact.version
        folder = self.layout.version(task_id, version)
        temporary = temporary_beside(folder)
        _place(made, temporary, folder)
        current.add(version, made.digest, status, action)
        try:
            self._write(task_id, current)
        except BaseException:
            # Nothing may be left of a version that could not be listed, such as on a full disk.
            if version not in read_state(self.layout.state(task_id)).versions:
                folder.rename(temporary)
                shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _write(self, task_id: str, current: State) -> None:
        listed = {number: entry for number, entry in sorted(current.versions.items()) if entry.sha256}
        replace_file(self.layout.state(task_id), current.model_copy(update={"versions": listed}).as_bytes())
        self._mend_link(task_id, current)

    def _mend_link(self, task_id: str, current: State) -> None:
        link = self.layout.active_link(task_id)
        target = None if current.active is None else f"v{current.active}"
        if _target(link) == target:
            return
        if target is None:
            with storage_errors(link):
                link.unlink()
        else:
            replace_symlink(link, target)


def _place(made: Bundle, temporary: Path, folder: Path) -> None:
    """Put the folder of a new version in its place, whole and durable."""
    with storage_errors(folder):
        try:
            temporary.mkdir(mode=DIR_MODE)
            for name, content in made.files.items():
                write_file(temporary / name, content)
            fsync_dir(temporary)
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        fsync_dir(folder.parent)
        fsync_dir(folder.parent.parent)


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return None
    except OSError:
        return ""  # no symlink: someone put something else there

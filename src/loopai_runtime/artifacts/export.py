"""An artifact outside the data directory: a ZIP, a folder to build an image from, that with Kubernetes objects."""

from __future__ import annotations

import os
import shutil
from enum import StrEnum
from typing import TYPE_CHECKING

from loopai_runtime.artifacts import archive, templates
from loopai_runtime.errors import UsageError
from loopai_runtime.files import replace_users_file, storage_errors, temporary_beside

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.artifacts.bundle import Bundle

KUBERNETES = "k8s.yaml"


class Format(StrEnum):
    ZIP = "zip"
    DOCKER = "docker"
    K8S = "k8s"


def export(bundle: Bundle, format: Format, out: Path) -> Path:
    """Write the artifact to `out` and return where it is. Raises UsageError, StorageError; never leaves a half.

    A ZIP replaces a file of that name, or goes into `out` where that is a folder; a folder is never overwritten.
    Modes are those of the user's umask: unlike the data directory, this is made to be handed on.
    """
    if format is Format.ZIP:
        if out.is_dir():
            out /= f"{bundle.artifact.task_id}-v{bundle.artifact.version}.zip"
        return replace_users_file(out, archive.write_zip(bundle))
    files = dict(bundle.files)
    if format is Format.K8S:
        files[KUBERNETES] = templates.kubernetes(bundle.artifact)
    return _folder(out, files)


def _folder(out: Path, files: dict[str, bytes]) -> Path:
    temporary = temporary_beside(out)
    with storage_errors(out):
        if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
            raise UsageError("there is something already", where=str(out), hint="give --out a new folder")
        try:
            temporary.mkdir(parents=True)
            for name, content in files.items():
                (temporary / name).write_bytes(content)
            temporary.rename(out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return out

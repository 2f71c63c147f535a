"""Artifacts on disk and on the wire: a folder, or one ZIP that Python runs as it is.

A bundle comes from anywhere, so a ZIP is read as hostile: only the known names at its root, every byte of the
file accounted for (no prefix that a shell would run, no entry that one reader sees and another does not, no
trailing data), and nothing is decompressed beyond the limits, whatever the headers claim.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from loopai_runtime.artifacts import bundle
from loopai_runtime.errors import NotFound, TamperedArtifact
from loopai_runtime.files import storage_errors

if TYPE_CHECKING:
    from loopai_runtime.artifacts.bundle import Bundle

MAX_FILE = 32 * 2**20
MAX_TOTAL = 48 * 2**20
# Text deflates to a tenth at best; only a bomb comes near the format's limit of 1032.
MAX_RATIO = 200
RATIO_MATTERS_FROM = 2**20

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_END_RECORD_BYTES = 22


def read(path: Path | str) -> Bundle:
    """The artifact in a folder or a ZIP. Raises NotFound, TamperedArtifact, StorageError."""
    path = Path(path)
    if not path.exists():
        raise NotFound("no such file", where=str(path))
    return read_folder(path) if path.is_dir() else read_zip(path)


# --- folders ------------------------------------------------------------------------------------------------


def read_folder(path: Path, where: str | None = None) -> Bundle:
    """The artifact in a folder; `where` names it in errors."""
    where = where or str(path)
    files = {}
    with storage_errors(path):
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if not entry.is_file(follow_symlinks=False):
                raise TamperedArtifact(f"{entry.name} is no plain file", where=where)
            if entry.stat(follow_symlinks=False).st_size > MAX_FILE:
                raise TamperedArtifact(f"{entry.name} is larger than {MAX_FILE >> 20} MiB", where=where)
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor, not a path
                files[entry.name] = file.read(MAX_FILE)
            bundle.check_name(entry.name, files[entry.name], where)
    return bundle.check(files, where)


# --- ZIPs ---------------------------------------------------------------------------------------------------


def write_zip(artifact: Bundle) -> bytes:
    """The bundle as one ZIP: the same bytes for the same files (and the same zlib)."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(artifact.files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, artifact.files[name], zipfile.ZIP_DEFLATED, 9)
    return target.getvalue()


def read_zip(path: Path) -> Bundle:
    with storage_errors(path), path.open("rb") as file:
        content = file.read(MAX_TOTAL + 1)
    return unzip(content, str(path))


def unzip(content: bytes, where: str) -> Bundle:
    """The artifact in the bytes of a ZIP. Raises TamperedArtifact; `where` names it there."""
    try:
        return bundle.check(_entries(content), where)
    except _Refused as exc:
        raise TamperedArtifact(
            f"{exc} (SHA-256 of the file {bundle.sha256(content)})",
            where=where,
            hint="a bundle is what `loopai export` writes; get it again",
        ) from None


class _Refused(Exception):
    """What is wrong with a ZIP."""


def _entries(content: bytes) -> dict[str, bytes]:
    if len(content) > MAX_TOTAL:
        raise _Refused(f"larger than {MAX_TOTAL >> 20} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            _check_names(infos)
            _check_layout(content, archive, infos)
            return _extract(archive, infos)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError) as exc:
        raise _Refused(f"not a ZIP that can be read: {exc}") from None


def _check_names(infos: list[zipfile.ZipInfo]) -> None:
    seen = set()
    for info in infos:
        # orig_filename: zipfile cuts a name at NUL and turns its backslashes before anyone sees it.
        name = info.orig_filename
        if name not in bundle.ALLOWED:
            raise _Refused(f"{name[:100]!r} is no part of an artifact")
        if name in seen:
            raise _Refused(f"{name} is there twice")
        seen.add(name)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _Refused(f"{name} is no plain file")
        if info.flag_bits & 0x1:
            raise _Refused(f"{name} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _Refused(f"{name} is compressed by an unusual method")


def _check_layout(content: bytes, archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> None:
    """Entries lie end to end from the first byte, the directory follows, and nothing comes after it."""
    position = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        header = _LOCAL_HEADER.unpack_from(content, position)
        signature, _, flags, method, *_, packed, _, name_bytes, extra_bytes = header
        start = position + _LOCAL_HEADER.size
        if info.header_offset != position or signature != b"PK\x03\x04":
            raise _Refused(f"there is something else before {info.filename}")
        if content[start : start + name_bytes] != info.filename.encode() or (flags, method) != (
            info.flag_bits,
            info.compress_type,
        ):
            raise _Refused(f"{info.filename} has two different headers")
        if flags & 0x8 or packed != info.compress_size:
            raise _Refused(f"{info.filename} does not say its size in front")
        position = start + name_bytes + extra_bytes + packed
    if position != archive.start_dir:
        raise _Refused("there is something else before its directory")
    size = sum(46 + len(i.orig_filename.encode()) + len(i.extra) + len(i.comment) for i in infos)
    if archive.start_dir + size + _END_RECORD_BYTES != len(content):
        raise _Refused("there is something else after its directory")


def _extract(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> dict[str, bytes]:
    files = {}
    left = MAX_TOTAL
    for info in infos:
        with archive.open(info) as entry:
            data = entry.read(min(MAX_FILE, left) + 1)
        left -= len(data)
        if len(data) > MAX_FILE or left < 0:
            raise _Refused(f"{info.filename} is too large unpacked")
        if len(data) > RATIO_MATTERS_FROM and len(data) > MAX_RATIO * info.compress_size:
            raise _Refused(f"{info.filename} unpacks to {len(data) // max(1, info.compress_size)} times its size")
        files[info.filename] = data
    return files

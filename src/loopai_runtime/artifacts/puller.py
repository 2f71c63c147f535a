"""Fetching a bundle piece by piece, from a place that may break off, lie, or be another one tomorrow.

What came so far stands in a file that is named by the SHA-256 of the whole, so that whoever is killed or cut off
goes on where it ended, and a part of something else is never gone on with. Nothing is believed of a piece until
the whole has the SHA-256 that was announced; what that stands for is verified after.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from loopai_runtime.artifacts import bundle
from loopai_runtime.artifacts.archive import MAX_TOTAL
from loopai_runtime.errors import TamperedArtifact, Unreachable
from loopai_runtime.files import make_dir, storage_errors

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 2**20
TRIES = 4
_WAIT_S = 0.25
_OLD_S = 7 * 86_400
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Piece:
    """What an answer held: bytes from `start` on, of a whole of `total`."""

    content: bytes
    start: int
    total: int


Fetch = Callable[[int, int], Piece]
"""Asks for the bytes from one place up to another. Raises Unreachable, and what else stands against it."""


def download(place: Path, sha256: str, size: int, fetch: Fetch, where: str) -> bytes:
    """The bundle of `size` bytes and this SHA-256; `place` is a directory for what came so far.

    Raises TamperedArtifact, Unreachable after some tries, StorageError. `where` names it in errors.
    """
    if not (_SHA256.fullmatch(sha256) and 0 < size <= MAX_TOTAL):
        raise TamperedArtifact("it is described as no bundle can be", where=where)
    path = make_dir(place) / f"{sha256}.part"
    _forget_old(place)
    found = ""
    with storage_errors(path):
        for _ in range(2):  # the part that was there may have been damaged
            with path.open("ab+") as file:
                content = _whole(file, size, fetch, where)
            found = bundle.sha256(content)
            path.unlink()
            if found == sha256:
                return content
    raise TamperedArtifact(
        f"what came has SHA-256 {found}, and {sha256} was announced", where=where, hint="nothing of it was kept"
    )


def _whole(file: IO[bytes], size: int, fetch: Fetch, where: str) -> bytes:
    have = file.tell()
    if have > size:
        file.truncate(0)
        have = 0
    while have < size:
        piece = _patiently(fetch, have, min(have + PIECE, size))
        if piece.total != size or piece.start not in (0, have) or not piece.content:
            raise TamperedArtifact("what came is not the part that was asked for", where=where)
        if piece.start != have:  # the whole, from whoever knows no parts
            file.truncate(0)
        have = piece.start + len(piece.content)
        if have > size:
            raise TamperedArtifact("more came than was announced", where=where)
        file.write(piece.content)
        file.flush()
    file.seek(0)
    return file.read(size + 1)


def _patiently(fetch: Fetch, start: int, end: int) -> Piece:
    for tried in range(1, TRIES):
        try:
            return fetch(start, end)
        except Unreachable:
            time.sleep(_WAIT_S * 2 ** (tried - 1))
    return fetch(start, end)


def _forget_old(place: Path) -> None:
    """Parts that nobody went on with."""
    before = time.time() - _OLD_S
    for path in place.glob("*.part"):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()

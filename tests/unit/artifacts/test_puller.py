"""A bundle in pieces: gone on with where it ended, believed only as a whole."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

import pytest

from loopai_runtime.artifacts import puller
from loopai_runtime.artifacts.archive import MAX_TOTAL
from loopai_runtime.artifacts.puller import PIECE, Piece
from loopai_runtime.errors import TamperedArtifact, Unreachable

CONTENT = random.Random(3).randbytes(2 * PIECE + 12_345)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Answers with parts of CONTENT; `breaks` counts how often it does not."""

    def __init__(self, breaks: int = 0, whole: bool = False) -> None:
        self.asked: list[int] = []
        self.breaks = breaks
        self.whole = whole

    def __call__(self, start: int, end: int) -> Piece:
        self.asked.append(start)
        if self.breaks:
            self.breaks -= 1
            raise Unreachable("broke off")
        return Piece(CONTENT, 0, len(CONTENT)) if self.whole else Piece(CONTENT[start:end], start, len(CONTENT))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puller, "_WAIT_S", 0.0)


def download(place: Path, fetch: puller.Fetch, sha256: str = SHA256, size: int = len(CONTENT)) -> bytes:
    return puller.download(place, sha256, size, fetch, "spam v1 of there")


def test_it_comes_in_pieces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    server = Server()
    assert download(tmp_path, server) == CONTENT
    assert server.asked == [0, PIECE, 2 * PIECE]
    assert list(tmp_path.iterdir()) == []


def test_a_piece_that_broke_off_is_asked_for_again(tmp_path: Path) -> None:
    server = Server(breaks=puller.TRIES - 1)
    assert download(tmp_path, server) == CONTENT
    assert server.asked.count(0) == puller.TRIES


def test_the_next_attempt_goes_on_where_the_last_ended(tmp_path: Path) -> None:
    def breaks_at_the_third(start: int, end: int) -> Piece:
        if start >= 2 * PIECE:
            raise Unreachable("broke off")
        return Server()(start, end)

    with pytest.raises(Unreachable):
        download(tmp_path, breaks_at_the_third)
    assert (tmp_path / f"{SHA256}.part").read_bytes() == CONTENT[: 2 * PIECE]
    server = Server()
    assert download(tmp_path, server) == CONTENT
    assert server.asked == [2 * PIECE]


def test_a_torn_write_is_gone_on_with_and_a_damaged_part_is_fetched_anew(tmp_path: Path) -> None:
    part = tmp_path / f"{SHA256}.part"
    part.write_bytes(CONTENT[:777])
    server = Server()
    assert download(tmp_path, server) == CONTENT
    assert server.asked[0] == 777
    for damaged in (b"x" * 777, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)):
        part.write_bytes(damaged)
        assert download(tmp_path, Server()) == CONTENT


def test_the_whole_is_taken_from_whoever_knows_no_parts(tmp_path: Path) -> None:
    (tmp_path / f"{SHA256}.part").write_bytes(CONTENT[:777])
    server = Server(whole=True)
    assert download(tmp_path, server) == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "piece",
    [
        Piece(b"", 0, len(CONTENT)),
        Piece(CONTENT[:10], 5, len(CONTENT)),
        Piece(CONTENT[:10], 0, len(CONTENT) + 1),
        Piece(CONTENT + b"x", 0, len(CONTENT)),
        Piece(CONTENT + b"x", 0, len(CONTENT) + 1),
        Piece(b"x" * len(CONTENT), 0, len(CONTENT)),
    ],
)  # fmt: skip
def test_a_liar_is_not_believed(tmp_path: Path, piece: Piece) -> None:
    with pytest.raises(TamperedArtifact, match=r"spam v1 of there"):
        download(tmp_path, lambda start, end: piece)


@pytest.mark.parametrize(
    ("sha256", "size"),
    [("../../etc/passwd", 5), ("", 5), ("AB" * 32, 5), (SHA256, 0), (SHA256, -1), (SHA256, MAX_TOTAL + 1)],
)
def test_what_is_described_as_no_bundle_can_be_is_not_even_asked_for(
    tmp_path: Path, sha256: str, size: int
) -> None:
    server = Server()
    with pytest.raises(TamperedArtifact):
        download(tmp_path, server, sha256, size)
    assert server.asked == []


def test_parts_that_nobody_went_on_with_are_forgotten(tmp_path: Path) -> None:
    old, young = tmp_path / f"{'0' * 64}.part", tmp_path / f"{'1' * 64}.part"
    for path in (old, young):
        path.write_bytes(b"x")
    eight_days_ago = time.time() - 8 * 86_400
    os.utime(old, (eight_days_ago, eight_days_ago))
    download(tmp_path, Server())
    assert list(tmp_path.iterdir()) == [young]

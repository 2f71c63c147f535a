"""Encrypted files that several append to: all of it is there, and whatever was done to the file shows."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from loopai_runtime.crypto import HEADER_BYTES, Appender, Vault, frames, shared_file
from loopai_runtime.errors import StorageError

KEY, OTHER = b"k" * 32, b"o" * 32
BLOCKS = [b"one\n", b"two two\n", b"x" * 5000 + b"\n", b"four\n", b"5\n"]
START = HEADER_BYTES + frames.KEPT.size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.jsonl.enc"


@pytest.fixture(autouse=True)
def warned_anew() -> None:
    frames._warn_once.cache_clear()


def append(path: Path, *blocks: bytes, key: bytes = KEY) -> list[int]:
    """As a command of its own; where the file ended after each block."""
    ends = []
    with Appender(Vault([key]), path) as file:
        for block in blocks:
            assert file.append(block)
            ends.append(path.stat().st_size)
    return ends


def read(path: Path, *keys: bytes) -> bytes:
    with path.open("rb") as file, Vault(list(keys or (KEY,))).plain(file, str(path)) as plain:
        return plain.read()


def test_what_several_append_in_turn_is_there_in_order(path: Path) -> None:
    one, other = Appender(Vault([KEY]), path), Appender(Vault([KEY]), path)
    with one, other:
        for at, block in enumerate(BLOCKS):
            assert (one, other)[at % 2].append(block)
    append(path, b"six\n")
    assert read(path) == b"".join(BLOCKS) + b"six\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"two" not in path.read_bytes()


def test_processes_append_at_once(path: Path) -> None:
    started, go = os.pipe(), os.pipe()
    children = []
    for name in range(4):
        if (child := os.fork()) == 0:
            os.close(go[1])
            os.write(started[1], b".")
            os.read(go[0], 1)
            with Appender(Vault([KEY]), path) as file:
                for n in range(100):
                    file.append(b"%d %d\n" % (name, n))
            os._exit(0)
        children.append(child)
    for _ in children:
        os.read(started[0], 1)
    os.close(go[1])  # all of them at once
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    lines = read(path).splitlines()
    assert sorted(lines) == sorted(b"%d %d" % (name, n) for name in range(4) for n in range(100))
    for name in range(4):  # of each in its order
        assert [line for line in lines if line.startswith(b"%d " % name)] == [
            b"%d %d" % (name, n) for n in range(100)
        ]


def test_reading_starts_anywhere(path: Path) -> None:
    append(path, *BLOCKS)
    whole = b"".join(BLOCKS)
    with path.open("rb") as file, Vault([KEY]).plain(file, "a file") as plain:
        for position in (0, 1, 4, 5, 12, 13, 4000, len(whole) - 1, len(whole)):
            assert plain.seek(position) == position
            assert plain.read() == whole[position:]
        assert plain.seek(-2, os.SEEK_END) == len(whole) - 2
        assert plain.read() == b"5\n"


def test_every_flipped_bit_shows(path: Path) -> None:
    append(path, b"one\n", b"two\n")
    content = path.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            found = read(path)
        except StorageError:
            continue
        # A length that became larger makes of the last frame a torn one: then `kept` misses it.
        assert found in (b"", b"one\n")
        with path.open("rb") as file, Vault([KEY]).plain(file, "x") as plain:
            assert plain.read() == found
            assert plain.missing > 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a, b, c: [b, a, c], id="moved"),
        pytest.param(lambda a, b, c: [a, c], id="taken out"),
        pytest.param(lambda a, b, c: [a, b, b, c], id="twice"),
    ],
)
def test_frames_stay_where_they_are(path: Path, change: Callable[..., list[bytes]]) -> None:
    ends = [START, *append(path, b"one\n", b"two\n", b"six\n")]
    content = path.read_bytes()
    parts = [content[start:end] for start, end in itertools.pairwise(ends)]
    path.write_bytes(content[:START] + b"".join(change(*parts)))
    with pytest.raises(StorageError, match="was changed"):
        read(path)


def test_a_frame_of_another_file_does_not_open(path: Path, tmp_path: Path) -> None:
    append(path, b"one\n")
    append(tmp_path / "other", b"two\n")
    path.write_bytes(path.read_bytes()[:START] + (tmp_path / "other").read_bytes()[START:])
    with pytest.raises(StorageError, match="was changed"):
        read(path)


def test_an_end_that_was_cut_off_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ends = append(path, *BLOCKS)
    os.truncate(path, ends[2])
    with caplog.at_level(logging.WARNING):
        assert read(path) == read(path) == b"".join(BLOCKS[:3])
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} was cut off: what was written last is missing"
    ]
    append(path, b"more\n")
    assert read(path) == b"".join(BLOCKS[:3]) + b"more\n"


def test_a_torn_frame_was_told_to_nobody(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (end,) = append(path, b"one\n")
    kept = path.read_bytes()[:START]
    append(path, b"two two two\n")
    whole = path.read_bytes()
    for size in range(end + 1, len(whole)):
        path.write_bytes(kept + whole[START:size])  # killed while the frame was being written
        assert read(path) == b"one\n"
        with Appender(Vault([KEY]), path) as file:
            assert file.torn_bytes == size - end
            file.append(b"after\n")
        assert read(path) == b"one\nafter\n"
    path.write_bytes(kept + whole[START:])  # or right after
    assert read(path) == b"one\ntwo two two\n"
    append(path, b"after\n")
    assert read(path) == b"one\ntwo two two\nafter\n"
    assert caplog.records == []


@pytest.mark.parametrize("size", [1, 50, HEADER_BYTES, START - 1])
def test_a_file_that_was_only_begun_begins_anew(path: Path, size: int) -> None:
    append(path)
    os.truncate(path, size)
    append(path, b"one\n")
    assert read(path) == b"one\n"


def test_a_full_disk_leaves_it_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Appender(Vault([KEY]), path) as file:
        file.append(b"one\n")
        real = os.pwrite
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", lambda descriptor, block, at: real(descriptor, block[:10], at))
            with pytest.raises(OSError, match="short write"):
                file.append(b"two\n")
        file.append(b"three\n")
    assert read(path) == b"one\nthree\n"


def test_who_holds_a_replaced_file_is_told(path: Path, tmp_path: Path) -> None:
    with Appender(Vault([KEY]), path) as file:
        file.append(b"one\n")
        (tmp_path / "new").write_bytes(shared_file(Vault([KEY]), b"instead\n"))
        (tmp_path / "new").replace(path)
        assert not file.append(b"two\n")
    append(path, b"three\n")
    assert read(path) == b"instead\nthree\n"


def test_it_waits_for_the_lock(path: Path) -> None:
    append(path, b"one\n")
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if (child := os.fork()) == 0:
            append(path, b"two\n")
            os._exit(0)
        assert read(path) == b"one\n"
        fcntl.flock(held, fcntl.LOCK_UN)
    assert os.waitpid(child, 0)[1] == 0
    assert read(path) == b"one\ntwo\n"


def test_another_owners_file_is_refused_and_left_alone(path: Path) -> None:
    append(path, b"one\n")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="was encrypted with another key"):
        append(path, b"two\n", key=OTHER)
    with pytest.raises(StorageError, match="was encrypted with another key"):
        read(path, OTHER)
    assert path.read_bytes() == before


def test_another_key_takes_another_header_under_its_appender(path: Path) -> None:
    both = Vault([OTHER, KEY])
    with Appender(Vault([KEY]), path) as file:
        file.append(b"one\n")
        header = path.read_bytes()[:HEADER_BYTES]
        assert both.is_old(header)
        with path.open("r+b") as changing:
            changing.write(both.rewrapped(header, "x"))
        file.append(b"two\n")
    assert read(path, OTHER) == b"one\ntwo\n"
    append(path, b"three\n", key=OTHER)
    assert read(path, OTHER) == b"one\ntwo\nthree\n"


def test_no_two_frames_have_a_nonce_in_common(path: Path) -> None:
    ends = [START, *append(path, *[b"the same\n"] * 200)]
    content = path.read_bytes()
    nonces = {content[start + frames.HEAD.size :][: frames.NONCE_BYTES] for start in ends[:-1]}
    assert len(nonces) == 200

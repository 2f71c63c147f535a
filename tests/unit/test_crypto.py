"""Encryption at rest: what was written is read, and whatever was done to the file shows."""

from __future__ import annotations

import base64
import io
import os
import random
import struct

import pytest

from loopai_runtime.config import Config
from loopai_runtime.crypto import HEADER_BYTES, Vault, key_of, vault_of
from loopai_runtime.errors import StorageError, UsageError

KEY, OTHER = b"k" * 32, b"o" * 32
BLOCKS = [b"one\n", b"two two\n", b"x" * 5000 + b"\n", b"four\n", b"5\n"]


def sealed(blocks: list[bytes] = BLOCKS, *, key: bytes = KEY, closed: bool = True) -> tuple[bytes, list[bytes]]:
    """A file, and its frames."""
    writer = Vault([key]).writer()
    frames = [writer.frame(block) for block in blocks] + ([writer.mark()] if closed else [])
    return writer.header + b"".join(frames), frames


def read(content: bytes, *keys: bytes) -> tuple[bytes, bool]:
    plain = Vault(list(keys or (KEY,))).plain(io.BytesIO(content), "a file")
    return plain.read(), plain.ended


def test_what_was_written_is_read() -> None:
    content, _ = sealed()
    assert read(content) == (b"".join(BLOCKS), True)
    assert not any(block.strip() in content for block in BLOCKS if len(block) > 4)


def test_reading_starts_anywhere() -> None:
    content, _ = sealed()
    whole = b"".join(BLOCKS)
    for position in (0, 1, 4, 5, 12, 13, 4000, len(whole) - 1, len(whole)):
        plain = Vault([KEY]).plain(io.BytesIO(content), "a file")
        plain.seek(position)
        assert plain.read() == whole[position:]
        assert plain.size() == len(whole)


def test_small_pieces_add_up() -> None:
    content, _ = sealed()
    plain = Vault([KEY]).plain(io.BytesIO(content), "a file")
    assert b"".join(iter(lambda: plain.read(7), b"")) == b"".join(BLOCKS)


def test_nothing_but_a_header_is_nothing() -> None:
    assert read(sealed([], closed=False)[0]) == (b"", False)
    assert read(sealed([])[0]) == (b"", True)


def test_every_flipped_bit_shows() -> None:
    content, _ = sealed([b"some text\n", b"more\n"])
    rng = random.Random(1)
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << rng.randrange(8)
        try:
            plain, ended = read(bytes(changed))
        except StorageError:
            continue
        # A length that now points behind the end makes a frame look torn: then the mark is missing.
        assert not ended, at
        assert b"some text\nmore\n".startswith(plain), at


def test_frames_that_were_moved_taken_out_or_put_in_show() -> None:
    content, frames = sealed()
    header = content[:HEADER_BYTES]
    _, foreign = sealed()
    for order in (
        [frames[1], frames[0], *frames[2:]],
        frames[1:],
        [*frames[:2], *frames[3:]],
        [frames[0], frames[0], *frames[1:]],
        [foreign[0], *frames[1:]],
        [*frames[:-1], foreign[-1]],
    ):
        with pytest.raises(StorageError, match="was changed"):
            read(header + b"".join(order))


def test_a_file_that_was_cut_off_has_no_mark() -> None:
    content, frames = sealed()
    whole = b"".join(BLOCKS)
    for length in range(HEADER_BYTES, len(content), 37):
        plain, ended = read(content[:length])
        assert whole.startswith(plain)
        assert not ended
    at_a_frame = content[: -len(frames[-1]) - len(frames[-2])]
    assert read(at_a_frame) == (b"".join(BLOCKS[:-1]), False)


def test_a_torn_frame_is_not_there() -> None:
    content, _ = sealed(closed=False)
    for torn in (content + b"\x05", content + struct.pack("<IQ", 10**6, 99), content[:-1]):
        plain = Vault([KEY]).plain(io.BytesIO(torn), "a file")
        whole = plain.read()
        assert b"".join(BLOCKS).startswith(whole)
        assert plain.size() == len(whole)


def test_another_key_does_not_open_it() -> None:
    content, _ = sealed()
    with pytest.raises(StorageError, match="another key"):
        read(content, OTHER)
    assert read(content, OTHER, KEY)[1]
    with pytest.raises(StorageError, match="not a file that was encrypted here"):
        read(b"{}\n" * 50)


def test_rotation_changes_the_header_alone() -> None:
    content, _ = sealed()
    vault = Vault([OTHER, KEY])
    assert vault.is_old(content[:HEADER_BYTES])
    header = vault.rewrapped(content[:HEADER_BYTES], "a file")
    assert len(header) == HEADER_BYTES
    assert not vault.is_old(header)
    assert read(header + content[HEADER_BYTES:], OTHER) == (b"".join(BLOCKS), True)


def test_no_two_files_have_a_key_in_common() -> None:
    assert sealed()[1][0] != sealed()[1][0]


@pytest.mark.parametrize("text", [KEY.hex(), f" {KEY.hex()}\n", base64.b64encode(KEY).decode()])
def test_keys_are_read_in_both_spellings(text: str) -> None:
    assert key_of(text) == KEY


@pytest.mark.parametrize("text", ["", "secret", "zz" * 32, KEY.hex()[:-2], base64.b64encode(b"short").decode()])
def test_what_is_no_key_is_refused_and_not_told(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        key_of(text)
    assert not text or text not in str(caught.value)


def test_keys_come_from_the_configuration(tmp_path: object) -> None:
    def vault(**flags: str) -> Vault | None:
        return vault_of(Config.load(flags={f"storage.{k}": v for k, v in flags.items()}, environ={}).storage)

    path = os.path.join(str(tmp_path), "key")  # noqa: PTH118
    with open(path, "w") as file:  # noqa: PTH123
        file.write(KEY.hex() + "\n")
    assert vault() is None
    for made in (vault(encryption_key=KEY.hex()), vault(encryption_key_file=path)):
        assert made is not None
        assert made.plain(io.BytesIO(sealed()[0]), "").read() == b"".join(BLOCKS)
    both = vault(encryption_key=OTHER.hex(), encryption_key_before=KEY.hex())
    assert both is not None
    assert both.is_old(sealed()[0][:HEADER_BYTES])

"""What a platform's signature says, and whom a reader believes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime import signing
from loopai_runtime.config import Config
from loopai_runtime.errors import TamperedArtifact
from loopai_runtime.layout import Layout
from loopai_runtime.signing import Signer

DIGEST, OTHER = "ab" * 32, "cd" * 32


def test_a_signature_says_which_key_signed_the_digest() -> None:
    signer = Signer(b"\1" * 32)
    assert signing.check(signer.sign(DIGEST), DIGEST, "x") == signer.public
    assert signing.check(signer.sign(DIGEST), DIGEST, "x", signer.public.upper()) == signer.public


def test_the_signature_of_rfc_8032_is_made_over_the_bytes_of_the_digest() -> None:
    """Test 3 of section 7.1 signs two bytes; ours signs whatever the hexadecimal digest stands for."""
    secret = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    said = json.loads(Signer(secret).sign("af82"))
    assert said["key"] == "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    assert said["signature"] == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )


def test_another_digest_and_another_key_are_refused() -> None:
    mine, stranger = Signer(b"\1" * 32), Signer(b"\2" * 32)
    with pytest.raises(TamperedArtifact, match="does not sign what is here"):
        signing.check(mine.sign(DIGEST), OTHER, "x")
    with pytest.raises(TamperedArtifact, match=f"signed by the key {stranger.public}"):
        signing.check(stranger.sign(DIGEST), DIGEST, "x", mine.public)


def changed(**changes: Any) -> bytes:
    said = json.loads(Signer(b"\1" * 32).sign(DIGEST)) | changes
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"{}", b"\xff", b'{"key": 1}',
        changed(schema=2), changed(algorithm="none"), changed(algorithm=None), changed(key=None),
        changed(key="zz"), changed(key=["a"]), changed(key="ab"), changed(signature=""), changed(signature="00" * 64),
        changed(signature=None), changed(digest=OTHER), changed(digest=None), changed(more="x"),
        changed(key="00" * 32), changed(key=Signer(b"\2" * 32).public),
    ],
)  # fmt: skip
def test_what_is_no_signature_of_it_is_refused(content: bytes) -> None:
    with pytest.raises(TamperedArtifact) as refused:
        signing.check(content, DIGEST, "x")
    assert refused.value.hint


def test_a_key_of_small_order_signs_nothing() -> None:
    """With the identity as key, R = identity and S = 0 satisfy the equation for every message."""
    identity = "01" + "00" * 31
    with pytest.raises(TamperedArtifact):
        signing.check(
            changed(key=identity, signature=identity + "00" * 32), DIGEST, "x", Signer(b"\1" * 32).public
        )


def test_a_directory_has_one_key_for_good(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert Signer.of(layout).public == Signer.of(layout).public
    assert (layout.secrets / "signing.key").stat().st_mode & 0o777 == 0o600


def test_the_first_key_met_is_pinned_and_the_configuration_has_the_last_word(tmp_path: Path) -> None:
    layout, first, other = Layout(tmp_path), "ab" * 32, "cd" * 32
    assert signing.pinned(Config(), layout) is None
    assert signing.pin(first, layout) == first
    assert signing.pin(other, layout) == first
    assert signing.pinned(Config(), layout) == first
    configured = Config.load(data_dir=tmp_path, environ={"LOOPAI_CLOUD__PINNED_KEY": other})
    assert signing.pinned(configured, layout) == other

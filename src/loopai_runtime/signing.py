"""A platform's word for an artifact: Ed25519 over its digest, kept beside it as `signature.json`.

    {"schema": 1, "algorithm": "ed25519", "digest": 64 hex, "key": 64 hex, "signature": 128 hex}

What is signed are the 32 bytes that the digest stands for, so `openssl pkeyutl -verify -rawin` checks it too. The
key in the file says who claims to have signed; whether to believe that is decided by the key that a reader has
pinned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, TamperedArtifact
from loopai_runtime.files import made_once

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

FILE = "signature.json"
_MEMBERS = {"schema": 1, "algorithm": "ed25519"}
_NAMES = {*_MEMBERS, "digest", "key", "signature"}


class Signer:
    """Signs with one private key, 32 bytes."""

    def __init__(self, private: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw().hex()
        """What those who verify have to know, 64 hexadecimal digits."""

    @classmethod
    def of(cls, layout: Layout) -> Signer:
        """With the key of a data directory, made at first use. Raises StorageError."""
        return cls(layout.secret("signing"))

    def sign(self, digest: str) -> bytes:
        """The content of `signature.json` for an artifact of this digest."""
        signature = self._key.sign(bytes.fromhex(digest)).hex()
        return jsonl.encode({**_MEMBERS, "digest": digest, "key": self.public, "signature": signature})


def check(content: bytes, digest: str, where: str, pinned: str | None = None) -> str:
    """The key by which `content`, a `signature.json`, signs the artifact of `digest`.

    Raises TamperedArtifact where it does not sign it, or by another key than the one `pinned`.
    """
    try:
        said = jsonl.loads(content)
        public, signature = (bytes.fromhex(said[name]) for name in ("key", "signature"))
        known = said == {**said, **_MEMBERS} and set(said) == _NAMES
    except (InputError, TypeError, KeyError, ValueError, AttributeError):
        known = False
    if not known:
        raise TamperedArtifact(f"{FILE} is no signature that this release knows", where=where, hint=_HINT)
    key = public.hex()
    if pinned is not None and key != pinned.lower():
        raise TamperedArtifact(
            f"it is signed by the key {key}, and the pinned one is {pinned}",
            where=where,
            hint="if the platform did change its key, set cloud.pinned_key to the new one",
        )
    if said["digest"] != digest or not _is_signed(public, signature, digest):
        raise TamperedArtifact(
            f"{FILE} does not sign what is here (SHA-256 of the artifact {digest})", where=where, hint=_HINT
        )
    return key


_HINT = "get it again from the platform, and do not use it until this is understood"


def _is_signed(key: bytes, signature: bytes, digest: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, bytes.fromhex(digest))
    except (InvalidSignature, ValueError):
        return False
    return True


# --- what a reader believes ---------------------------------------------------------------------------------


def pinned(config: Config, layout: Layout) -> str | None:
    """The public key of the platform: `cloud.pinned_key`, else the one first met. Raises StorageError."""
    if config.cloud.pinned_key is not None:
        return config.cloud.pinned_key
    try:
        return layout.platform_key.read_text("ascii").strip() or None
    except FileNotFoundError:
        return None


def pin(key: str, layout: Layout) -> str:
    """Keep the first key that was met, for good; the one that is kept. Raises StorageError."""
    return made_once(layout.platform_key, lambda: f"{key}\n").strip()

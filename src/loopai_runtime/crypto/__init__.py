"""Files encrypted at rest: AES-256-GCM in frames, a data key a file, wrapped by a key of its owner."""

from loopai_runtime.crypto.appender import Appender, shared_file
from loopai_runtime.crypto.frames import HEADER_BYTES, MAGIC_BYTES, Plain, Writer, is_encrypted
from loopai_runtime.crypto.vault import Vault, key_of, plain_of, vault_of

__all__ = [
    "HEADER_BYTES",
    "MAGIC_BYTES",
    "Appender",
    "Plain",
    "Vault",
    "Writer",
    "is_encrypted",
    "key_of",
    "plain_of",
    "shared_file",
    "vault_of",
]

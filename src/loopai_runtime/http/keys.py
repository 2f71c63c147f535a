"""The keys of a server's own door: a file that holds their hashes, and never a key.

A key is `lp_ID_SECRET`: the id is 8 characters and the secret 52 (32 random bytes), both in lower-case base32,
which has no underscore. The id is no secret; it is how a key is named in lists and logs.

A server calls `load` when it starts, `check` for every request and `reload_if_changed` now and then. A file that
gets damaged or goes away under a running server changes nothing: the last good keys stay in force, so that a slip
of an editor does not lock everybody out. A server that starts does not start with it.
"""

from __future__ import annotations

import base64
import os
import secrets
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, NotFound, StorageError, UsageError
from loopai_runtime.files import make_dir, only_one, replace_file, storage_errors
from loopai_runtime.layout import nearest_hint
from loopai_runtime.models import Record, utc_now

if TYPE_CHECKING:
    from typing import Self

_PREFIX = b"lp_"
_BEARER = b"bearer "
_ID_END = len(_PREFIX) + 8
_LENGTH = _ID_END + 1 + 52
_NAME_LENGTH = 100

# What an unknown id is compared with, so that it takes as long as a known one. No secret hashes to it.
_NOBODY: tuple[bytes, Key | None] = (secrets.token_bytes(32), None)


class Key(Record, frozen=True):
    """One key as the file has it.

    Its hash is a plain SHA-256. Slow hashes protect passwords, which people choose and others can guess; a secret
    of 256 random bits cannot be guessed, and it is checked for every request.
    """

    id: Annotated[str, StringConstraints(pattern=r"^[a-z2-7]{8}$")]
    name: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(repr=False)
    created_at: str
    revoked_at: str | None = None


class _Document(Record):
    schema_version: Literal[1] = Field(1, alias="schema")
    keys: tuple[Key, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({key.id for key in self.keys}) != len(self.keys):
            raise ValueError("two keys have the same id")
        return self


class KeysFile:
    """The keys in one file. Nothing is read before it is asked for; until then `check` lets nobody in."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()
        self.problem: StorageError | None = None  # why the file as it is now is not what is in force
        self._seen: tuple[int, ...] | None = None
        self._live: dict[bytes, tuple[bytes, Key | None]] = {}

    def __len__(self) -> int:
        """How many keys are in force."""
        return len(self._live)

    # --- a server's side

    def load(self) -> None:
        """Put the file's keys in force. Raises StorageError where it is missing, unreadable or damaged; then those
        that were in force stay so."""
        self._seen = _stamp(self.path)  # before it is read: what changes meanwhile is noticed the next time
        try:
            keys = _read(self.path)
            if keys is None:
                hint = "loopai keys create makes it; server.keys_file says where it is"
                raise StorageError("the file of the server's keys is not there", where=str(self.path), hint=hint)
        except StorageError as exc:
            self.problem = exc
            raise
        self._put_in_force(keys)

    def reload_if_changed(self) -> bool:
        """Load the file if it is another one than at the last look; costs one `stat`. Tells whether it was loaded.

        Raises StorageError as `load` does, once for each change; `problem` says it until the file is good again.
        """
        if _stamp(self.path) == self._seen:
            return False
        self.load()
        return True

    def check(self, given: bytes | str | None) -> Key | None:
        """The key in force that `given` is: an `Authorization` header's value (`Bearer lp_…`) or the key alone.

        How long it takes tells nothing about a secret, nor whether an id is known.
        """
        if isinstance(given, str):
            given = given.encode("ascii", "replace")  # `?` is in no key
        if given is None:
            return None
        if given[: len(_BEARER)].lower() == _BEARER:
            given = given[len(_BEARER) :].strip(b" ")
        if len(given) != _LENGTH or given[: len(_PREFIX)] != _PREFIX or given[_ID_END : _ID_END + 1] != b"_":
            return None
        digest, key = self._live.get(given[len(_PREFIX) : _ID_END], _NOBODY)
        same = compare_digest(sha256(given[_ID_END + 1 :]).digest(), digest)
        return key if same else None

    # --- an administrator's side

    def list(self) -> tuple[Key, ...]:
        """All keys in the file, the oldest first, revoked ones too; none where there is no file.

        Raises StorageError.
        """
        return _read(self.path) or ()

    def create(self, name: str = "") -> tuple[Key, str]:
        """Add a key to the file, which is made if it is missing; the key's text is returned and kept nowhere.

        Raises UsageError for a name that cannot be shown, StorageError.
        """
        if len(name) > _NAME_LENGTH or not name.isprintable():
            raise UsageError(f"a key's name has at most {_NAME_LENGTH} characters, and no control characters")
        secret = _base32(32)
        target = self._target()
        with only_one(make_dir(target.parent)):
            keys = _read(target) or ()
            key = Key(
                id=_new_id(keys),
                name=name,
                sha256=sha256(secret.encode("ascii")).hexdigest(),
                created_at=utc_now(),
            )
            self._write(target, (*keys, key))
        return key, f"{_PREFIX.decode()}{key.id}_{secret}"

    def revoke(self, key_id: str) -> Key:
        """Let a key open nothing any more; the key as it is now, which is what it was if it was revoked before.

        A whole key counts as its id. Raises NotFound naming the nearest known id, StorageError.
        """
        wanted = _id_alone(key_id)
        target = self._target()
        if not target.exists():
            raise NotFound(f"no key {wanted!r}: there is no file {self.path}", hint=_hint(key_id, ()))
        with only_one(target.parent):
            keys = _read(target) or ()
            found = next((key for key in keys if key.id == wanted), None)
            if found is None:
                raise NotFound(f"no key {wanted!r} in {self.path}", hint=_hint(key_id, keys))
            if found.revoked_at is None:
                revoked = found.model_copy(update={"revoked_at": utc_now()})
                self._write(target, tuple(revoked if key is found else key for key in keys))
                return revoked
        return found

    # ---

    def _target(self) -> Path:
        """The file itself, not a link to it: what is renamed into its place must not replace the link."""
        return Path(os.path.realpath(self.path))

    def _write(self, target: Path, keys: tuple[Key, ...]) -> None:
        text = _Document(keys=keys).model_dump_json(by_alias=True, indent=1)
        # An administrator may have opened the file to the server's group; and root's change must not take it away
        # from the server's user.
        like = target.stat() if target.exists() else None
        replace_file(target, text.encode("utf-8") + b"\n", like)
        self._put_in_force(keys)
        self._seen = None

    def _put_in_force(self, keys: tuple[Key, ...]) -> None:
        # one assignment: a thread that checks meanwhile has either all of the old keys or all of the new ones
        self._live = {
            key.id.encode("ascii"): (bytes.fromhex(key.sha256), key) for key in keys if key.revoked_at is None
        }
        self.problem = None


def _read(path: Path) -> tuple[Key, ...] | None:
    """The keys in the file; None where there is none. Raises StorageError."""
    try:
        with storage_errors(path):
            raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StorageError(f"cannot be read: {exc.strerror}", where=str(path)) from None
    try:
        return _Document.model_validate(jsonl.loads(raw)).keys
    except InputError as exc:
        fault = exc.message
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        fault = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    hint = "restore it, or move it away and make new keys: loopai keys create"
    raise StorageError(f"is no file of keys, or damaged: {fault}", where=str(path), hint=hint)


def _stamp(path: Path) -> tuple[int, ...]:
    """Differs when the file does: another file, other bytes, other permissions, or another reason why it cannot
    be seen."""
    try:
        seen = path.stat()
    except OSError as exc:
        return (exc.errno or 0,)
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _base32(size: int) -> str:
    return base64.b32encode(secrets.token_bytes(size)).decode("ascii").rstrip("=").lower()


def _new_id(keys: tuple[Key, ...]) -> str:
    taken = {key.id for key in keys}
    while (found := _base32(5)) in taken:
        pass
    return found


def _id_alone(given: str) -> str:
    """The id in what somebody gave to name a key. Whatever that is, no message repeats a secret."""
    prefix = _PREFIX.decode("ascii")
    if given.startswith(prefix):
        return given[len(prefix) : _ID_END]
    return given if len(given) <= 24 else f"{given[:4]}…"


def _hint(given: str, keys: tuple[Key, ...]) -> str:
    if not keys:
        return "loopai keys create makes one"
    named = next((key.id for key in keys if key.name == given), None)
    if named:
        return f"the key of this name has the id {named}"
    return nearest_hint(_id_alone(given), [key.id for key in keys], "keys in it")

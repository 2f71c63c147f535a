"""Who calls: keys of tenants, kept as hashes, and what each of them may do."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from loopai_runtime.central.audit import note
from loopai_runtime.central.db.tables import api_keys, deployments
from loopai_runtime.errors import NotFound, StorageError, UsageError
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from loopai_runtime.central.db.database import Database

log = logging.getLogger(__name__)

PREFIX = "lp"
ACTIVE_PER_DEPLOYMENT = 2
_REMEMBERED_S = 5.0
_MOST_REMEMBERED = 10_000
_LONGEST = 200
_TO_THE_HOUR = len("2025-10-26T12")


class Scope(StrEnum):
    EXECUTE = "execute"
    READ = "read"
    PUBLISH = "publish"
    TELEMETRY = "telemetry"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. Two keys of one deployment with the same scopes are the same caller."""

    tenant_id: str
    key_id: str = field(compare=False)
    deployment_id: str | None
    scopes: frozenset[Scope]
    rate_per_minute: float | None = field(default=None, compare=False)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class _Known:
    """A key as it was read."""

    until: float
    digest: bytes
    caller: Caller
    last_used_at: str | None

    def opened_by(self, secret: str) -> Caller | None:
        return self.caller if hmac.compare_digest(self.digest, _hashed(secret)) else None


class Keys:
    """The keys of all tenants. Safe to use from several threads."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._revoked = 0
        """How many were: what was read before a revocation may not be remembered after it."""

    def create(
        self,
        tenant_id: str,
        name: str,
        scopes: Iterable[Scope],
        *,
        by: str,
        deployment_id: str | None = None,
        rate_per_minute: float | None = None,
        before: Callable[[str], None] = lambda _key: None,
    ) -> tuple[str, str]:
        """The id of a new key, and the key, which is shown this once; `before` sees it before it counts.

        A deployment that has not been heard of is made. Raises UsageError where it has two keys.
        """
        with self._db.write() as connection:
            if deployment_id is not None:
                know_deployment(self._db, connection, tenant_id, deployment_id)
                _require_room(connection, tenant_id, deployment_id)
            key_id, key, row = _made()
            row |= {"tenant_id": tenant_id, "deployment_id": deployment_id, "name": name}
            row |= {"scopes": sorted({scope.value for scope in scopes}), "rate_per_minute": rate_per_minute}
            before(key)
            connection.execute(insert(api_keys), row)
            note(connection, tenant_id, by, "key.created", key_id=key_id, name=name, scopes=row["scopes"])
        return key_id, key

    def rotate(self, tenant_id: str, key_id: str, *, by: str) -> tuple[str, str]:
        """Another key with the same name, scopes, deployment and rate. Raises NotFound, UsageError."""
        with self._db.write() as connection:
            mine = (api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            old = connection.execute(select(api_keys).where(*mine)).mappings().first()
            if old is None:
                raise NotFound(f"no key {key_id[:40]!r}")
            if old["deployment_id"] is not None:
                _require_room(connection, tenant_id, old["deployment_id"])
            new_id, key, row = _made()
            kept = ("tenant_id", "deployment_id", "name", "scopes", "rate_per_minute")
            connection.execute(insert(api_keys), row | {name: old[name] for name in kept})
            note(connection, tenant_id, by, "key.rotated", key_id=new_id, old=key_id)
        return new_id, key

    def list(self, tenant_id: str) -> Sequence[dict[str, Any]]:
        columns = [column for column in api_keys.c if column.name != "hash"]
        with self._db.read() as connection:
            found = connection.execute(select(*columns).where(api_keys.c.tenant_id == tenant_id)).mappings()
            return [dict(row) for row in found]

    def revoke(self, tenant_id: str, key_id: str, *, by: str) -> None:
        """Nothing happens where it was revoked before. Raises NotFound."""
        mine = (api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
        with self._db.write() as connection:
            if connection.scalar(select(api_keys.c.id).where(*mine)) is None:
                raise NotFound(f"no key {key_id[:40]!r}")
            still = update(api_keys).where(*mine, api_keys.c.revoked_at.is_(None))
            if connection.execute(still.values(revoked_at=utc_now())).rowcount:
                note(connection, tenant_id, by, "key.revoked", key_id=key_id)
        with self._lock:
            self._revoked += 1
            self._known.pop(key_id, None)

    def known(self, token: str) -> Caller | None:
        """Whose a key is, as far as that is remembered: never waits."""
        parts = _parts(token)
        found = None if parts is None else self._remembered(parts[0])
        return None if parts is None or found is None else found.opened_by(parts[1])

    def check(self, token: str) -> Caller | None:
        """Whose a key is; None for one that is no key, or was revoked."""
        parts = _parts(token)
        if parts is None:
            return None
        key_id, secret = parts
        if (known := self._remembered(key_id)) is not None:
            return known.opened_by(secret)
        found = self._read(key_id)
        caller = None if found is None else found.opened_by(secret)
        if found is not None and caller is not None:
            self._used(found)
        return caller

    def _remembered(self, key_id: str) -> _Known | None:
        with self._lock:
            known = self._known.get(key_id)
        return None if known is None or known.until < time.monotonic() else known

    def _read(self, key_id: str) -> _Known | None:
        with self._lock:
            revoked = self._revoked
        with self._db.read() as connection:
            wanted = select(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            row = connection.execute(wanted).mappings().first()
        if row is None:
            return None
        scopes = frozenset(Scope(name) for name in row["scopes"])
        caller = Caller(row["tenant_id"], key_id, row["deployment_id"], scopes, row["rate_per_minute"])
        found = _Known(time.monotonic() + _REMEMBERED_S, row["hash"], caller, row["last_used_at"])
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            if revoked == self._revoked:
                self._known[key_id] = found
        return found

    def _used(self, found: _Known) -> None:
        """To the hour: who is about to revoke a key sees whether anybody still has it."""
        now = utc_now()
        if found.last_used_at is not None and found.last_used_at[:_TO_THE_HOUR] == now[:_TO_THE_HOUR]:
            return
        this = api_keys.c.id == found.caller.key_id
        try:
            with self._db.write() as connection:
                connection.execute(update(api_keys).where(this).values(last_used_at=now))
        except (SQLAlchemyError, StorageError) as error:  # a full disk is no reason to let nobody in
            log.warning("when a key was used last is not noted: %s", error)


def know_deployment(db: Database, connection: Connection, tenant_id: str, deployment_id: str) -> None:
    """A deployment that somebody names is one."""
    row = {"tenant_id": tenant_id, "deployment_id": deployment_id, "id": str(uuid.uuid4())}
    connection.execute(db.insert_new(deployments), row | {"created_at": utc_now()})


def _require_room(connection: Connection, tenant_id: str, deployment_id: str) -> None:
    """Raises UsageError where a deployment has as many keys as it may."""
    its = deployments.c
    where = (its.tenant_id == tenant_id, its.deployment_id == deployment_id)
    connection.execute(select(its.id).where(*where).with_for_update())  # two at once would both find room
    wanted = select(api_keys.c.id).where(
        api_keys.c.tenant_id == tenant_id,
        api_keys.c.deployment_id == deployment_id,
        api_keys.c.revoked_at.is_(None),
    )
    if len(connection.execute(wanted).all()) >= ACTIVE_PER_DEPLOYMENT:
        raise UsageError(f"{deployment_id} has two active keys", hint="revoke one of them first")


def _made() -> tuple[str, str, dict[str, Any]]:
    """The id of a new key, the key, and what is kept of it."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    kept = {"id": key_id, "hash": _hashed(secret), "created_at": utc_now()}
    return key_id, f"{PREFIX}_{key_id}_{secret}", kept


def _parts(token: str) -> tuple[str, str] | None:
    """The id and the secret of a key."""
    prefix, _, rest = token[:_LONGEST].partition("_")
    key_id, _, secret = rest.partition("_")
    return (key_id, secret) if prefix == PREFIX and key_id and secret else None


def _hashed(secret: str) -> bytes:
    """A plain hash: the secret has 256 random bits, so there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()

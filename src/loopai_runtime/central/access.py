"""Who calls: keys of tenants, kept as hashes, and what each of them may do."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from loopai_runtime.central.db.tables import api_keys
from loopai_runtime.errors import NotFound, UsageError
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loopai_runtime.central.db.database import Database

PREFIX = "lp"
ACTIVE_PER_DEPLOYMENT = 2
_REMEMBERED_S = 5.0
_MOST_REMEMBERED = 10_000
_LONGEST = 200


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


class Keys:
    """The keys of all tenants. Safe to use from several threads."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, bytes, Caller]] = {}

    def create(
        self,
        tenant_id: str,
        name: str,
        scopes: Iterable[Scope],
        *,
        deployment_id: str | None = None,
        rate_per_minute: float | None = None,
        before: Callable[[str], None] = lambda _key: None,
    ) -> tuple[str, str]:
        """The id of a new key, and the key, which is shown this once; `before` sees it before it counts.

        Raises UsageError where a deployment has two.
        """
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        key = f"{PREFIX}_{key_id}_{secret}"
        row = {
            "id": key_id,
            "tenant_id": tenant_id,
            "deployment_id": deployment_id,
            "name": name,
            "hash": _hashed(secret),
            "scopes": sorted({scope.value for scope in scopes}),
            "rate_per_minute": rate_per_minute,
            "created_at": utc_now(),
        }
        with self._db.write() as connection:
            if deployment_id is not None:
                active = connection.execute(
                    select(api_keys.c.id).where(
                        api_keys.c.tenant_id == tenant_id,
                        api_keys.c.deployment_id == deployment_id,
                        api_keys.c.revoked_at.is_(None),
                    )
                ).all()
                if len(active) >= ACTIVE_PER_DEPLOYMENT:
                    raise UsageError(f"{deployment_id} has two active keys", hint="revoke one of them first")
            before(key)
            connection.execute(insert(api_keys), row)
        return key_id, key

    def rotate(self, tenant_id: str, key_id: str) -> tuple[str, str]:
        """Another key with the same name, scopes, deployment and rate. Raises NotFound, and as `create`."""
        old = api_keys.c
        with self._db.read() as connection:
            mine = (old.tenant_id == tenant_id, old.id == key_id, old.revoked_at.is_(None))
            row = connection.execute(select(api_keys).where(*mine)).mappings().first()
        if row is None:
            raise NotFound(f"no key {key_id[:40]!r}")
        return self.create(
            tenant_id,
            row["name"],
            [Scope(name) for name in row["scopes"]],
            deployment_id=row["deployment_id"],
            rate_per_minute=row["rate_per_minute"],
        )

    def list(self, tenant_id: str) -> Sequence[dict[str, Any]]:
        columns = [column for column in api_keys.c if column.name != "hash"]
        with self._db.read() as connection:
            found = connection.execute(select(*columns).where(api_keys.c.tenant_id == tenant_id)).mappings()
            return [dict(row) for row in found]

    def revoke(self, tenant_id: str, key_id: str) -> None:
        """Raises NotFound."""
        mine = (api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
        with self._db.write() as connection:
            done = connection.execute(update(api_keys).where(*mine).values(revoked_at=utc_now()))
            if not done.rowcount:
                raise NotFound(f"no key {key_id[:40]!r}")
        with self._lock:
            self._known.pop(key_id, None)

    def known(self, token: str) -> Caller | None:
        """Whose a key is, as far as that is remembered: never waits."""
        parts = _parts(token)
        found = None if parts is None else self._remembered(parts[0])
        if parts is None or found is None:
            return None
        digest, caller = found
        return caller if hmac.compare_digest(digest, _hashed(parts[1])) else None

    def check(self, token: str) -> Caller | None:
        """Whose a key is; None for one that is no key, or was revoked."""
        parts = _parts(token)
        if parts is None:
            return None
        key_id, secret = parts
        found = self._remembered(key_id) or self._read(key_id)
        if found is None:
            return None
        digest, caller = found
        return caller if hmac.compare_digest(digest, _hashed(secret)) else None

    def _remembered(self, key_id: str) -> tuple[bytes, Caller] | None:
        with self._lock:
            known = self._known.get(key_id)
        if known is None or known[0] < time.monotonic():
            return None
        return known[1], known[2]

    def _read(self, key_id: str) -> tuple[bytes, Caller] | None:
        with self._db.read() as connection:
            wanted = select(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            row = connection.execute(wanted).mappings().first()
        if row is None:
            return None
        scopes = frozenset(Scope(name) for name in row["scopes"])
        caller = Caller(row["tenant_id"], key_id, row["deployment_id"], scopes, row["rate_per_minute"])
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[key_id] = (time.monotonic() + _REMEMBERED_S, row["hash"], caller)
        return row["hash"], caller


def _parts(token: str) -> tuple[str, str] | None:
    """The id and the secret of a key."""
    prefix, _, rest = token[:_LONGEST].partition("_")
    key_id, _, secret = rest.partition("_")
    return (key_id, secret) if prefix == PREFIX and key_id and secret else None


def _hashed(secret: str) -> bytes:
    """A plain hash: the secret has 256 random bits, so there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()

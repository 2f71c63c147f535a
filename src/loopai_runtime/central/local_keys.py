"""The platform's keys as its operator changes them, beside a server that may run: in the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopai_runtime.central.access import Keys, Scope
from loopai_runtime.central.audit import OPERATOR, note
from loopai_runtime.central.database import database_of
from loopai_runtime.central.db.tables import tenants
from loopai_runtime.layout import checked_task
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout


class LocalKeys:
    """Those of one tenant, which is made where it is not there yet. A running server follows within seconds."""

    def __init__(self, layout: Layout, config: Config, tenant_id: str) -> None:
        self._tenant_id = checked_task(tenant_id)
        self._db = database_of(layout, config)
        self._db.upgrade()
        self._keys = Keys(self._db)

    def create(
        self, name: str, scopes: Sequence[str], deployment_id: str | None, rate_per_minute: float | None
    ) -> tuple[str, str]:
        """The id of a new key, and the key, which is shown this once. Raises UsageError."""
        with self._db.write() as connection:
            row = {"id": self._tenant_id, "name": self._tenant_id, "created_at": utc_now()}
            if connection.execute(self._db.insert_new(tenants), row).rowcount:
                note(connection, self._tenant_id, OPERATOR, "tenant.created")
        wanted = [Scope(scope) for scope in scopes]
        if deployment_id is not None:
            checked_task(deployment_id)
        return self._keys.create(
            self._tenant_id,
            name,
            wanted,
            by=OPERATOR,
            deployment_id=deployment_id,
            rate_per_minute=rate_per_minute,
        )

    def list(self) -> list[dict[str, Any]]:
        return [{k: v for k, v in key.items() if k != "tenant_id"} for key in self._keys.list(self._tenant_id)]

    def rotate(self, key_id: str) -> tuple[str, str]:
        """Another key of the same kind. Raises NotFound, UsageError."""
        return self._keys.rotate(self._tenant_id, key_id, by=OPERATOR)

    def revoke(self, key_id: str) -> None:
        """Raises NotFound."""
        self._keys.revoke(self._tenant_id, key_id, by=OPERATOR)

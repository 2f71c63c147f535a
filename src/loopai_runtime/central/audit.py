"""What was changed and by whom, noted in the transaction that changes it: there is no change without its line."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from loopai_runtime.central.db.tables import audit
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from sqlalchemy import Connection

OPERATOR = "operator"
"""Who changes the database itself, beside the server."""
PLATFORM = "platform"
"""Who changes what nobody asked for."""


def note(connection: Connection, tenant_id: str, who: str, what: str, **facts: Any) -> None:
    """`who` is the id of a key; `what` is a thing and what became of it, such as `key.revoked`."""
    row = {"id": str(uuid.uuid4()), "tenant_id": tenant_id, "at": utc_now(), "who": who, "what": what}
    connection.execute(insert(audit), row | {"facts": facts})

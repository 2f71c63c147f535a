"""What goes wrong behind an operation, as its caller sees it."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.testclient import TestClient

from loopai_runtime.central.access import Caller, Scope
from loopai_runtime.central.metrics import latencies
from loopai_runtime.central.platform import Platform
from loopai_runtime.central.routing import Call, Operation, routes
from loopai_runtime.errors import StorageAway, StorageError


class Anybody:
    """A platform that lets everybody in."""

    def __init__(self) -> None:
        self.limits = self
        self.requests: Counter[int] = Counter()
        self.latencies = latencies()

    async def caller_of(self, _token: str, _address: str) -> Caller:
        return Caller("one", "key", None, frozenset(Scope))

    def take(self, _caller: Caller) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OperationalError("SELECT secret", {"secret": 1}, Exception("no route to db.internal")), 503, "database"),
        (StorageAway("does not answer", where="s3://bundles"), 503, "does not answer"),
        (StorageError("the disk is full"), 507, "the disk is full"),
        (RuntimeError("secret"), 500, "a fault of the platform"),
    ],
)
def test_a_fault_has_its_status_and_tells_no_secret(error: Exception, status: int, said: str) -> None:
    async def fails(_call: Call) -> dict[str, Any]:
        raise error

    operation = Operation("GET", "/x", fails, Scope.READ, "Fail")
    platform = Anybody()
    client = TestClient(Starlette(routes=routes(cast(Platform, platform), [operation])))
    answer = client.get("/x", headers={"authorization": "Bearer lp_a_b"})
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert "secret" not in answer.text
    assert "db.internal" not in answer.text
    assert (status == 503) == ("retry-after" in answer.headers)
    assert platform.requests == {status: 1}

"""What the platform says and hears while it happens: the SignalR hub at `/hubs/loopai`.

Callers are known by their key, which is looked at on every request. A group is one task of one tenant, and its
name is made here from the caller's own tenant: nobody can name another's. What clients report is written once a
second, all of it in one transaction; of a heartbeat that a crash takes, the next one says as much.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from loopai_runtime.central import connected
from loopai_runtime.central.access import Scope
from loopai_runtime.central.reports import Beat, TaskMetrics, TaskName, read
from loopai_runtime.http.limits import RateLimit
from loopai_runtime.http.problem import Refused
from loopai_runtime.models import utc_now
from loopai_runtime.signalr.hub import Hub, HubException, Options, bearer_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import HTTPConnection
    from starlette.routing import BaseRoute

    from loopai_runtime.central.access import Caller
    from loopai_runtime.central.platform import Platform
    from loopai_runtime.signalr.connection import Connection

log = logging.getLogger(__name__)

PATH = "/hubs/loopai"
MAX_MESSAGE_BYTES = 32 * 1024
CALLS_A_SECOND = 20.0  # of one key
_WRITE_EVERY_S = 1.0
_LOOK_FOR_REVOKED_EVERY, _FORGET_EVERY = 5, 3600  # writes
_MOST_WAITING = 10_000
_BEAT, _METRICS = TypeAdapter(Beat), TypeAdapter(TaskMetrics)


class News:
    """Made on the loop that serves. What it tells others may be told from any thread."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._loop = asyncio.get_running_loop()
        self._limit = RateLimit(CALLS_A_SECOND)
        self._beats: dict[tuple[str, str], dict[str, Any]] = {}
        self._metrics: list[dict[str, Any]] = []
        self._writing: asyncio.Task[None] | None = None
        options = Options(max_message_bytes=MAX_MESSAGE_BYTES)
        self.hub = Hub(self._authenticate, options=options, on_connect=self._welcome)
        for name, method in (
            ("SubscribeTask", self._subscribe),
            ("UnsubscribeTask", self._unsubscribe),
            ("Heartbeat", self._heartbeat),
            ("ReportMetrics", self._report),
        ):
            self.hub.method(name)(method)

    def routes(self) -> list[BaseRoute]:
        return self.hub.routes(PATH)

    def start(self) -> None:
        self._writing = self._loop.create_task(self._write_now_and_then())

    async def close(self) -> None:
        """Say goodbye to everybody, and write what is left. Before the server waits for its connections."""
        await self.hub.close()
        if self._writing is not None:
            self._writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writing
            self._writing = None
            await self._write()

    # --- telling

    def artifact(self, tenant_id: str, task_id: str, version: int) -> None:
        """A version is there."""
        self._tell(tenant_id, task_id, "OnNewArtifactAvailable", [task_id, version])

    def metrics(self, tenant_id: str, task_id: str, metrics: Mapping[str, Any]) -> None:
        self._tell(tenant_id, task_id, "OnMetricUpdate", [task_id, dict(metrics)])

    def alert(self, tenant_id: str, alert: Mapping[str, Any]) -> None:
        """`alert`: {id, task_id, kind, severity, message, at}."""
        self._tell(tenant_id, alert["task_id"], "OnAlertTriggered", [dict(alert)])

    def abort(self, tenant_id: str, task_id: str, reason: str) -> None:
        """The task's rollouts are asked to be aborted: edges look at once which."""
        self._tell(tenant_id, task_id, "OnRolloutAbortRequested", [task_id, reason])

    def revoked(self, key_id: str) -> None:
        """A key is worth nothing any more, and neither is what was opened with it."""

        def close() -> None:
            closed = self.hub.close_where(lambda each: _caller(each).key_id == key_id, "The key was revoked.")
            if closed:
                log.info("a key was revoked: %d connections closed", closed)

        self._loop.call_soon_threadsafe(close)

    def assigned(self, tenant_id: str, deployment_id: str, task_ids: Sequence[str]) -> None:
        """A deployment has these tasks from now on: whoever is connected for it hears of them too."""

        def join() -> None:
            for connection in self.hub.connections:
                caller = _caller(connection)
                if (caller.tenant_id, caller.deployment_id) == (tenant_id, deployment_id):
                    for task_id in task_ids:
                        self.hub.join(connection, group(tenant_id, task_id))

        self._loop.call_soon_threadsafe(join)

    def _tell(self, tenant_id: str, task_id: str, target: str, arguments: list[Any]) -> None:
        self._loop.call_soon_threadsafe(self.hub.send_group, group(tenant_id, task_id), target, arguments)

    # --- hearing

    async def _authenticate(self, request: HTTPConnection) -> Caller | None:
        token = bearer_token(request)
        address = request.client.host if request.client else ""
        try:
            caller = await self._platform.caller_of(token, address) if token else None
        except Refused:  # too many guesses
            return None
        return caller if caller and _may(caller, Scope.READ, Scope.TELEMETRY) else None

    async def _welcome(self, connection: Connection) -> None:
        """A deployment's own key hears of the deployment's tasks."""
        caller = _caller(connection)
        if caller.deployment_id is not None and _may(caller, Scope.READ):
            for task_id in await self._platform.thread(connected.tasks_of, self._platform.db, caller):
                self.hub.join(connection, group(caller.tenant_id, task_id))

    async def _subscribe(self, connection: Connection, task_id: Any) -> None:
        caller = self._called(connection, Scope.READ)
        name = read(TaskName, "taskId", task_id)
        if not await self._platform.thread(connected.has_task, self._platform.db, caller, name):
            raise HubException("no such task")
        self.hub.join(connection, group(caller.tenant_id, name))

    async def _unsubscribe(self, connection: Connection, task_id: Any) -> None:
        caller = self._called(connection, Scope.READ)
        self.hub.leave(connection, group(caller.tenant_id, read(TaskName, "taskId", task_id)))

    async def _heartbeat(self, connection: Connection, deployment_id: Any, report: Any) -> None:
        caller = self._called(connection, Scope.TELEMETRY)
        name, beat = read(TaskName, "deploymentId", deployment_id), read(_BEAT, "report", report)
        if caller.deployment_id not in (None, name):
            raise HubException(f"this key is that of the deployment {caller.deployment_id}")
        if not await self._platform.thread(connected.has_deployment, self._platform.db, caller, name):
            raise HubException("no such deployment")
        connection.items["deployment_id"] = name
        self._beats[caller.tenant_id, name] = {
            "last_seen_at": utc_now(),
            "status": {"status": beat.status},
            "versions": beat.tasks,
        }

    async def _report(self, connection: Connection, metrics: Any) -> None:
        caller = self._called(connection, Scope.TELEMETRY)
        report = read(_METRICS, "metrics", metrics)
        if not await self._platform.thread(connected.has_task, self._platform.db, caller, report.task_id):
            raise HubException("no such task")
        body = report.model_dump(exclude_none=True)
        self._metrics.append(
            {
                "tenant_id": caller.tenant_id,
                "task_id": report.task_id,
                "deployment_id": caller.deployment_id or connection.items.get("deployment_id", ""),
                "at": utc_now(),
                "payload": body,
            }
        )
        self.metrics(caller.tenant_id, report.task_id, body)

    def _called(self, connection: Connection, scope: Scope) -> Caller:
        """Who calls. Raises HubException where the key is not for that, or calls too often."""
        caller = _caller(connection)
        if not _may(caller, scope):
            raise HubException(f"this key has not the scope {scope.value}")
        if self._limit.take(caller.key_id):
            raise HubException(f"more than {CALLS_A_SECOND:g} calls a second")
        return caller

    # --- keeping

    async def _write_now_and_then(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(_WRITE_EVERY_S)
            rounds += 1
            try:
                await self._write()
                if rounds % _LOOK_FOR_REVOKED_EVERY == 0:
                    await self._look_for_revoked()
                if rounds % _FORGET_EVERY == 1:
                    await self._forget_old()
            except Exception as error:
                log.error("what the hub heard could not be written: %s", type(error).__name__)

    async def _write(self) -> None:
        beats, self._beats = self._beats, {}
        reports, self._metrics = self._metrics, []
        if not beats and not reports:
            return
        try:
            await self._platform.thread(connected.keep, self._platform.db, beats, reports)
        except Exception:
            self._metrics[:0] = reports[:_MOST_WAITING]  # the next time; a heartbeat comes again by itself
            raise

    async def _forget_old(self) -> None:
        await self._platform.thread(
            connected.forget, self._platform.db, self._platform.config.storage.retention_days
        )

    async def _look_for_revoked(self) -> None:
        """Keys that another process revoked."""
        open_keys = {_caller(each).key_id for each in self.hub.connections}
        if open_keys:
            for key_id in await self._platform.thread(connected.revoked_among, self._platform.db, open_keys):
                self.revoked(key_id)


def group(tenant_id: str, task_id: str) -> str:
    return f"{tenant_id}/{task_id}"


def _caller(connection: Connection) -> Caller:
    caller: Caller = connection.principal  # type: ignore[assignment]  # what `_authenticate` answered
    return caller


def _may(caller: Caller, *scopes: Scope) -> bool:
    return any(scope in caller.scopes for scope in (*scopes, Scope.ADMIN))

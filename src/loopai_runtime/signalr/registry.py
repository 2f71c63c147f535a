"""Who is connected: by secret token, by user, by group."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from loopai_runtime.signalr.connection import Connection, Home
from loopai_runtime.signalr.errors import Refused
from loopai_runtime.signalr.logs import report

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Collection, Hashable

    from loopai_runtime.signalr.methods import Methods
    from loopai_runtime.signalr.options import Options

    Opened = Callable[[Connection], Awaitable[None]]
    Closed = Callable[[Connection, str | None], None]

_log = logging.getLogger(__name__)


class Registry:
    """The connections of one hub. `opened` and `closed` are what the application does then."""

    def __init__(self, options: Options, methods: Methods, opened: Opened, closed: Closed) -> None:
        self.calls: set[asyncio.Task[None]] = set()
        """Methods that run, of whatever connection."""
        self._options = options
        self._home = Home(options, methods, self.calls, opened, self._closed)
        self._on_closed = closed
        self._tokens: dict[str, Connection] = {}
        self._users: dict[Hashable, set[Connection]] = {}
        self._groups: dict[str, set[Connection]] = {}
        self.draining = False

    def new(self, principal: Hashable, *, stateful: bool = False, public_token: bool = False) -> Connection:
        """Raises Refused (429, 503) when there are too many."""
        if self.draining or len(self._tokens) >= self._options.max_connections:
            raise Refused(503, "No more connections are accepted.")
        if len(self._users.get(principal, ())) >= self._options.max_connections_per_user:
            raise Refused(429, "Too many connections of one user.")
        connection = Connection(self._home, principal, stateful=stateful, public_token=public_token)
        self._tokens[connection.token] = connection
        self._users.setdefault(principal, set()).add(connection)
        return connection

    def by_token(self, token: str) -> Connection | None:
        return self._tokens.get(token)

    def all(self) -> list[Connection]:
        """Those that are not closed, connected or on their way."""
        return [each for each in self._tokens.values() if not each.closed]

    def of_user(self, principal: Hashable) -> Collection[Connection]:
        return list(self._users.get(principal, ()))

    def in_group(self, group: str) -> Collection[Connection]:
        return list(self._groups.get(group, ()))

    def join(self, connection: Connection, group: str) -> None:
        if not connection.closed:
            self._groups.setdefault(group, set()).add(connection)
            connection.groups.add(group)

    def leave(self, connection: Connection, group: str) -> None:
        connection.groups.discard(group)
        self._drop(self._groups, group, connection)

    def tick(self, now: float) -> None:
        """Look after everyone; a failure that one of them causes is no other's."""
        for connection in list(self._tokens.values()):
            try:
                if not connection.closed:
                    connection.tick(now)
                elif not connection.lingers(now):
                    del self._tokens[connection.token]
            except Exception as exc:
                report(_log, "looking after a connection", exc)

    def __len__(self) -> int:
        return len(self._tokens)

    def _closed(self, connection: Connection, error: str | None) -> None:
        for group in list(connection.groups):
            self.leave(connection, group)
        self._drop(self._users, connection.principal, connection)
        if not connection.lingers():
            self._tokens.pop(connection.token, None)
        self._on_closed(connection, error)

    @staticmethod
    def _drop(index: dict[Any, set[Connection]], key: Hashable, connection: Connection) -> None:
        if members := index.get(key):
            members.discard(connection)
            if not members:
                del index[key]

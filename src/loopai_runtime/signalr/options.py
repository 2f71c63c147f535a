"""The limits and times of a hub; the defaults are ASP.NET Core's where it has one."""

from __future__ import annotations

from dataclasses import dataclass

WEBSOCKETS, SERVER_SENT_EVENTS, LONG_POLLING = "WebSockets", "ServerSentEvents", "LongPolling"


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds, sizes in bytes."""

    transports: tuple[str, ...] = (WEBSOCKETS, SERVER_SENT_EVENTS, LONG_POLLING)
    stateful_reconnect: bool = True
    detailed_errors: bool = False
    """Tell callers what a method raised. For development: exceptions quote data."""

    keep_alive_s: float = 15.0
    """A ping goes out when nothing else did for so long."""
    client_timeout_s: float = 30.0
    """A client that said nothing for so long is gone; clients ping every 15 s."""
    handshake_timeout_s: float = 15.0
    disconnect_timeout_s: float = 15.0
    """How long a connection may be without a transport: negotiated and never used, or between two polls."""
    reconnect_window_s: float = 30.0
    """How long a connection with stateful reconnect outlives its socket."""
    poll_timeout_s: float = 90.0
    send_timeout_s: float = 30.0
    """A client that takes nothing for so long is cut."""
    body_timeout_s: float = 30.0
    result_timeout_s: float = 30.0

    max_message_bytes: int = 32 * 1024
    send_buffer_bytes: int = 1024 * 1024
    """What may wait for one client; one that needs more is cut."""
    high_water_bytes: int = 64 * 1024
    """Methods that stream wait while more than this waits for their caller."""
    stateful_buffer_bytes: int = 1024 * 1024
    """What may be kept for one client until it acknowledges."""

    parallel_invocations: int = 1
    """How many methods of one connection run at a time; with 1, in the order of the calls."""
    waiting_invocations: int = 64
    """How many more may wait for their turn before nothing more is read from the client."""
    finish_s: float = 30.0
    """How long methods may go on that a client has called before it left."""
    streams_per_connection: int = 100
    """Methods that stream, in either direction, at a time."""
    upload_buffer: int = 10
    """Items of an upload that may wait for the method."""
    max_connections: int = 10_000
    max_connections_per_user: int = 100

"""What goes wrong between a hub and its clients.

    SignalRError
    ├── ProtocolError      the peer sent what the protocol forbids; the connection ends
    ├── HubException       a method failed, and its caller may read why
    ├── ConnectionLost     the connection ended before an answer came, or there is none
    └── Refused            a server's HTTP answer that is no yes: `status`

Only a HubException's text travels to the other side. Whatever else a method raises is logged where it happened,
and its caller reads that an error occurred.
"""

from __future__ import annotations


class SignalRError(Exception):
    """The root."""


class ProtocolError(SignalRError):
    """A frame or message that the protocol forbids."""


class HubException(SignalRError):
    """Raise it in a method to tell the caller what went wrong; raised by `invoke` when the other side failed."""


class ConnectionLost(SignalRError):
    """The connection ended."""


class Refused(SignalRError):
    """The server refused to talk: 401 without a valid token, 404 for an unknown connection or path."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

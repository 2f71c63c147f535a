"""The SignalR protocol: a hub as one ASGI class, and a client. Knows nothing of what is said over it.

`hub.Hub` serves clients of any language; `client.HubClient` is ours. docs/signalr.md says what is supported and
what differs from ASP.NET Core.
"""

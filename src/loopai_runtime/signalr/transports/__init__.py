"""The three ways over which a connection's bytes travel, as ASGI applications."""

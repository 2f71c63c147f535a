"""The life of a server as a process, whatever it serves: one lock, one socket, signals, memory, logs."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import ipaddress
import json
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Protocol

from loopai_runtime.errors import Busy, ConfigError, Fault, UsageError
from loopai_runtime.files import FILE_MODE, make_dir, storage_errors
from loopai_runtime.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopai_runtime.layout import Layout

_BACKLOG = 4096
_TRIM_EVERY_S = 60.0


class Exposed(Protocol):
    """Where a server listens, and its certificate."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def tls_cert(self) -> Path | None: ...

    @property
    def tls_key(self) -> Path | None: ...


def url_of(sock: socket.socket, exposure: Exposed) -> str:
    host, port = sock.getsockname()[:2]
    return f"{'https' if exposure.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def only_server(
    layout: Layout, exposure: Exposed, name: str = "server"
) -> contextlib.AbstractContextManager[None]:
    """Hold the data directory as its one server. Raises Busy that says who has it."""
    return alone(layout, name, f"on {exposure.host}:{exposure.port}")


@contextlib.contextmanager
def alone(layout: Layout, name: str, what: str) -> Iterator[None]:
    """Hold the data directory as a server does; `what` this process does is told to others. Raises Busy."""
    import fcntl

    path = make_dir(layout.run) / f"{name}.lock"
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
            raise Busy(
                f"{layout.root} is already served by {who}",
                where=str(path),
                hint="stop it first, or give this one a --data-dir of its own",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} {what}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def listening(exposure: Exposed) -> Iterator[socket.socket]:
    """A listening socket. Raises Busy where the port is taken, UsageError where the address is not ours."""
    try:
        infos = socket.getaddrinfo(exposure.host, exposure.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise UsageError(f"no such address: {exposure.host}", hint="--host is one of this machine's") from None
    family, kind, protocol, _, address = infos[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(_BACKLOG)
        except PermissionError:
            raise UsageError(f"port {exposure.port} needs more rights", hint="--port 8080 needs none") from None
        except OverflowError:
            raise UsageError(f"{exposure.port} is no port") from None
        except OSError as error:
            raise Busy(
                f"cannot listen on {exposure.host}:{exposure.port}: {error.strerror}",
                hint="another program has it; --port 0 takes a free one",
            ) from None
        sock.setblocking(False)
        yield sock
    finally:
        sock.close()


def tls_of(exposure: Exposed) -> ssl.SSLContext | None:
    if exposure.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(exposure.tls_cert, exposure.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([Fault(f"the TLS certificate or key does not load: {error}")]) from None
    return context


@contextlib.contextmanager
def signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], hang_up: Callable[[], None]
) -> Iterator[None]:
    wanted = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: hang_up}
    for number, handler in wanted.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


def calm_the_collector() -> None:
    """Requests make few cycles of garbage: what was loaded is never looked through again, the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def give_memory_back() -> None:
    """For ever: what millions of requests leave in pieces goes back to the system, where libc can do that."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # not glibc
        return
    while True:
        await asyncio.sleep(_TRIM_EVERY_S)
        gc.collect()  # what ended in cycles: the collector itself seldom has cause to run
        trim(0)


def more_descriptors() -> None:
    """As many open connections as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    _EXTRA = ("status", "method", "path", "traceparent")

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": utc_now(), "level": record.levelname.lower(), "message": record.getMessage()}
        line |= {name: value for name in self._EXTRA if (value := getattr(record, name, None))}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(level: str) -> None:
    """JSON logs from here on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every look at the platform says nothing
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # a warning for each request that is no HTTP is a flood

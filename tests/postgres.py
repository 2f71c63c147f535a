"""A real PostgreSQL server for tests: made in a directory, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def binaries() -> Path | None:
    """Where the server's programs are."""
    found = shutil.which("initdb")
    return Path(found).parent if found else next((place for place in _PLACES if (place / "initdb").exists()), None)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of an empty database. The server itself refuses to run as root, so another user runs it."""
    place = binaries()
    assert place is not None
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    root = Path(tempfile.mkdtemp(prefix="pg"))
    os.chown(root, user.pw_uid, user.pw_gid)

    def run(program: str, *args: str) -> None:
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([place / program, *args], cwd=root, capture_output=True, timeout=120, **as_user)
        assert done.returncode == 0, done.stderr.decode()

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = str(root / "data")
    try:
        run("initdb", "-D", data, "-U", "loopai", "--auth=trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {root} -c log_destination=stderr"
        run("pg_ctl", "-D", data, "-w", "-l", str(root / "log"), "-o", options, "start")
        yield f"postgresql+psycopg://loopai@127.0.0.1:{port}/postgres"
    finally:
        with contextlib.suppress(AssertionError):
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def frozen(url: str) -> Iterator[None]:
    """All processes of the server stand still: its kernel goes on to take what is sent."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        (place,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    first = int((Path(place) / "postmaster.pid").read_text().splitlines()[0])
    os.kill(first, signal.SIGSTOP)  # first, so that it starts no further ones
    pids = [*map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split()), first]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

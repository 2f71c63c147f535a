"""The world around one attack: a secret in many places, doors that notice a visitor, and a bystander.

Everything is made for one attack and taken away after it; nothing on the machine is touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import resource
import secrets
import select
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from tests.security.os_attacks.numbers import numbers

PR_SET_PDEATHSIG = 1
PR_SET_PTRACER = 0x59616D61
LEAKED = 200
"""The number from which on the front's own descriptors lie."""
_SECONDS_TO_DIE = 0.1


class Stage:
    """Use it in a `with`; `secret` also stands in the environment that this process was started with."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.dir = Path(tempfile.mkdtemp(prefix="stage-"))
        self.hidden = self.dir / "hidden"
        self.hidden.mkdir()
        self.canary = self.dir / "canary"
        self.canary.write_text(secret)
        self.link = self.dir / "link"
        self.link.symlink_to(secret)
        self.name_tells = self.hidden / secret
        self.name_tells.write_text("")
        self.mark = self.dir / "mark"
        self.canary_was = self.canary_state()
        self.memory = ctypes.create_string_buffer(secret.encode())
        with self.canary.open("rb") as file:
            self.leaked = fcntl.fcntl(file.fileno(), fcntl.F_DUPFD, LEAKED)
        self.received: list[int] = []
        self.key = secrets.randbelow(1 << 30) + 1
        self.doors: dict[str, socket.socket] = {}
        self.doors["udp"] = _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.doors["tcp"] = _bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self.doors["unix"] = _bound(socket.AF_UNIX, socket.SOCK_STREAM, str(self.dir / "socket"))
        self.doors["abstract"] = _bound(socket.AF_UNIX, socket.SOCK_STREAM, f"\0stage-{self.key}")
        self.doors["datagram"] = _bound(socket.AF_UNIX, socket.SOCK_DGRAM, str(self.dir / "datagram"))
        with contextlib.suppress(OSError):
            self.doors["tcp6"] = _bound(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
        self.bystander = _bystander()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.bystander, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.bystander, 0)
        for door in self.doors.values():
            door.close()
        for descriptor in (self.leaked, *self.received):
            os.close(descriptor)
        self.remove_ipc()
        while ctypes.CDLL(None).umount2(str(self.hidden).encode(), 2) == 0:
            """Something was mounted on it."""
        shutil.rmtree(self.dir)

    def given(self) -> dict[str, Any]:
        """What an attacker is told: where things are, never the secret itself."""
        return {
            "numbers": numbers(),
            "machine": platform.machine(),
            "time_zone": _kernel_time_zone(),
            "canary": str(self.canary),
            "dir": str(self.dir),
            "hidden": str(self.hidden),
            "link": str(self.link),
            "mark": str(self.mark),
            "missing": str(self.dir / "missing"),
            "front": os.getpid(),
            "bystander": self.bystander,
            "address": ctypes.addressof(self.memory),
            "length": len(self.secret),
            "leaked": self.leaked,
            "key": self.key,
            "cpus": sorted(os.sched_getaffinity(0)),
            "ports": {
                name: self.doors[name].getsockname()[1] for name in ("udp", "tcp", "tcp6") if name in self.doors
            },
        }

    def canary_state(self) -> tuple[Any, ...]:
        """What anybody could change about the canary."""
        if not self.canary.exists():
            return ()
        status = self.canary.stat()
        content = self.canary.read_bytes()
        return content, status.st_mode, status.st_uid, status.st_mtime_ns, os.listxattr(self.canary)

    def visited(self, name: str) -> bool:
        """Whether somebody connected to a door, or sent it something."""
        return bool(select.select([self.doors[name]], [], [], 0)[0])

    def bystander_lives(self) -> bool:
        """Whether it still runs, given a moment to die."""
        until = time.monotonic() + _SECONDS_TO_DIE
        while time.monotonic() < until:
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, self.bystander, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return False
            time.sleep(0.005)
        return True

    def priority(self) -> int:
        """How nice the bystander is made to be."""
        return os.getpriority(os.PRIO_PROCESS, self.bystander)

    def open_files(self) -> int:
        """How many files the bystander may open."""
        return resource.prlimit(self.bystander, resource.RLIMIT_NOFILE)[0]

    def remove_ipc(self) -> list[str]:
        """Take away what was made under the stage's key; answers what there was."""
        libc, found = ctypes.CDLL(None), []
        for kind, get, remove in (
            ("shm", lambda: libc.shmget(self.key, 0, 0), lambda number: libc.shmctl(number, 0, 0)),
            ("msg", lambda: libc.msgget(self.key, 0), lambda number: libc.msgctl(number, 0, 0)),
            ("sem", lambda: libc.semget(self.key, 0, 0), lambda number: libc.semctl(number, 0, 0)),
        ):
            number = get()
            if number >= 0:
                found.append(kind)
                remove(number)
        with contextlib.suppress(AttributeError):
            if libc.mq_unlink(f"/stage-{self.key}".encode()) == 0:
                found.append("mq")
        return found


def _bound(family: int, kind: int, where: Any) -> socket.socket:
    door = socket.socket(family, kind)
    door.bind(where)
    if kind == socket.SOCK_STREAM:
        door.listen()
    return door


def _kernel_time_zone() -> str:
    """The kernel's own two numbers, in hex; the C library no longer hands them on."""
    zone = ctypes.create_string_buffer(8)
    ctypes.CDLL(None).syscall(ctypes.c_long(numbers()["gettimeofday"]), None, zone)
    return zone.raw.hex()


def _bystander() -> int:
    """A process of the same user with the same memory and environment. It lets anybody trace it, and dies with its parent."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_long(signal.SIGKILL), 0, 0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_long(-1), 0, 0, 0)
        os.write(tell, b"!")
        while True:
            signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    return pid

"""What every attack has at hand. Its text stands before each attack's own: it runs where the attack runs."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
from typing import Any

__all__ = ["address", "call", "failing", "libc", "os", "read", "signal", "socket", "struct", "sys"]


def libc() -> Any:
    """The C library that this process has already loaded."""
    return ctypes.CDLL(None, use_errno=True)


def failing(result: int) -> int:
    """What a C function answered. Raises OSError when that was -1."""
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def call(given: dict[str, Any], name: str, *arguments: Any) -> int:
    """A system call as such, with no library between."""
    syscall = libc().syscall
    syscall.restype = ctypes.c_long
    plain = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return failing(syscall(ctypes.c_long(given["numbers"][name]), *plain))


def address(buffer: Any) -> int:
    """Where a buffer lies."""
    return ctypes.addressof(buffer)


def read(descriptor: int, size: int = 100_000) -> str:
    """What a descriptor holds, as text."""
    return os.read(descriptor, size).decode("latin-1")

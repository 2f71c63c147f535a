"""The first wall of the cage: a system-call filter that kills the process for anything but a short list.

A classic BPF program (seccomp(2), linux/filter.h): default deny, an allow-list by number, with conditions on
arguments where a number alone would allow too much. Numbers are of the kernel's tables for each architecture.
Runs inside the sandbox.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import struct
from dataclasses import dataclass

from loopai_runtime.sandbox import kernel

DESCRIPTOR = 3
"""The one descriptor of an executor."""


@dataclass(frozen=True, slots=True)
class Equals:
    """The low 32 bits of an argument must be `value`; all 64 where it is an address."""

    argument: int
    value: int
    address: bool = False


@dataclass(frozen=True, slots=True)
class Lacks:
    """An argument must have none of these bits."""

    argument: int
    bits: int


@dataclass(frozen=True, slots=True)
class Has:
    """An argument must have this bit."""

    argument: int
    bit: int


Condition = Equals | Lacks | Has

_ANYTHING: tuple[Condition, ...] = ()
_NO_CODE = Lacks(2, mmap.PROT_EXEC)
_OWN_SOCKET = Equals(0, DESCRIPTOR)
# name: numbers on x86_64 and aarch64, conditions. The first are called most.
ALLOWED: dict[str, tuple[int, int, tuple[Condition, ...]]] = {
    "recvfrom": (45, 207, (_OWN_SOCKET,)),
    "sendto": (44, 206, (_OWN_SOCKET, Equals(4, 0, address=True))),  # to its own end of the socket alone
    "clock_gettime": (228, 113, _ANYTHING),  # CPU time of a call
    "getrusage": (98, 165, _ANYTHING),  # peak memory of a call
    "brk": (12, 214, _ANYTHING),
    "mmap": (9, 222, (_NO_CODE, Has(3, mmap.MAP_ANONYMOUS))),
    "munmap": (11, 215, _ANYTHING),
    "mremap": (25, 216, _ANYTHING),
    "mprotect": (10, 226, (_NO_CODE,)),
    "madvise": (28, 233, _ANYTHING),
    "futex": (202, 98, _ANYTHING),
    "gettimeofday": (96, 169, _ANYTHING),  # where the vDSO has no clock
    "rt_sigreturn": (15, 139, _ANYTHING),
    "restart_syscall": (219, 128, _ANYTHING),
    # The soft limit of memory, which follows the program that is called; the hard one is fixed before.
    "prlimit64": (302, 261, (Equals(0, 0), Equals(1, resource.RLIMIT_AS))),
    "exit": (60, 93, _ANYTHING),
    "exit_group": (231, 94, _ANYTHING),
}

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # calls of the x32 ABI, which share x86_64's name
_INSTRUCTION = struct.Struct("<HBBI")
_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, …
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_KILL = _INSTRUCTION.pack(_RETURN, 0, 0, kernel.SECCOMP_RET_KILL_PROCESS)
_ALLOW = _INSTRUCTION.pack(_RETURN, 0, 0, kernel.SECCOMP_RET_ALLOW)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def program(machine: str) -> bytes:
    """The filter for an architecture, as BPF instructions."""
    code = _load(_ARCH) + _jump(_JUMP_EQUAL, _ARCHITECTURE[machine], 1, 0) + _KILL + _load(_NUMBER)
    if machine == "x86_64":
        code += _jump(_JUMP_FROM, _X32, 0, 1) + _KILL
    for x86_64, aarch64, conditions in ALLOWED.values():
        block = b"".join(map(_condition, conditions)) + _ALLOW
        number = x86_64 if machine == "x86_64" else aarch64
        code += _jump(_JUMP_EQUAL, number, 0, len(block) // _INSTRUCTION.size) + block
    return code + _KILL


def put_up() -> None:
    """Filter this process from here on. Needs no_new_privs. Raises OSError."""
    code = program(kernel.MACHINE)
    filter_ = _Program(len(code) // _INSTRUCTION.size, code)
    kernel.call(
        kernel.SECCOMP,
        kernel.SECCOMP_SET_MODE_FILTER,
        kernel.SECCOMP_FILTER_FLAG_TSYNC,
        ctypes.byref(filter_),
    )


def _condition(condition: Condition) -> bytes:
    """Instructions that kill unless the condition holds, and go on behind them otherwise."""
    low = _ARGUMENTS + 8 * condition.argument
    match condition:
        case Equals(value=value, address=address):
            code = _load(low) + _jump(_JUMP_EQUAL, value, 1, 0) + _KILL
            if address:
                code += _load(low + 4) + _jump(_JUMP_EQUAL, value >> 32, 1, 0) + _KILL
            return code
        case Lacks(bits=bits):
            return _load(low) + _jump(_JUMP_BITS, bits, 0, 1) + _KILL
        case Has(bit=bit):
            return _load(low) + _jump(_JUMP_BITS, bit, 1, 0) + _KILL


def _load(offset: int) -> bytes:
    return _INSTRUCTION.pack(_LOAD, 0, 0, offset)


def _jump(kind: int, value: int, if_so: int, if_not: int) -> bytes:
    """Skip so many instructions."""
    return _INSTRUCTION.pack(kind, if_so, if_not, value)

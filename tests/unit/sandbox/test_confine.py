"""The cage: what stands, in which order, and what happens where a kernel lacks a wall."""

from __future__ import annotations

import errno
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loopai_runtime.sandbox import confine, kernel, landlock, seccomp

linux = pytest.mark.skipif(not kernel.IS_KNOWN, reason="the cage is built on Linux")
TABLES = Path("/usr/include") / f"{platform.machine()}-linux-gnu" / "asm"
LIMITS = confine.Limits(1 << 20, 256, 60)


def in_child(work: Callable[[], str]) -> str:
    """What `work` answers in a forked process, or the exception it raised."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return said


def refused() -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


@linux
def test_a_missing_wall_is_fatal_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "put_up", refused)
    parent = os.getpid()
    said = in_child(lambda: confine.put_up(LIMITS, parent=parent, cage=True, lenient=False))
    assert said == "CageError: landlock: Function not implemented"


@linux
def test_a_lenient_cage_names_what_it_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "put_up", refused)
    monkeypatch.setattr(seccomp, "put_up", refused)
    parent = os.getpid()
    said = in_child(lambda: confine.put_up(LIMITS, parent=parent, cage=True, lenient=True))
    assert said == "landlock, seccomp"


def test_where_there_is_no_cage_nothing_runs_unless_that_was_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "IS_KNOWN", False)
    parent = os.getpid()
    assert in_child(lambda: confine.put_up(LIMITS, parent=parent, cage=True, lenient=False)).startswith(
        "CageError"
    )
    assert in_child(lambda: confine.put_up(LIMITS, parent=parent, cage=True, lenient=True)) == "seccomp, landlock"


@linux
def test_an_executor_ends_whose_parent_died_before_it_could_ask_to_be_told() -> None:
    assert in_child(lambda: confine.put_up(LIMITS, parent=1, cage=True, lenient=False)) == ""


@linux
def test_landlock_alone_closes_the_file_system() -> None:
    def work() -> str:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        landlock.put_up()
        try:
            list(Path("/").iterdir())
        except PermissionError:
            return "closed"
        return "open"

    assert in_child(work) == "closed"


@pytest.mark.skipif(not (TABLES / "unistd_64.h").exists(), reason="no kernel headers for this machine")
def test_the_numbers_of_the_filter_are_the_kernels() -> None:
    numbers = {
        line.split()[1]: line.split()[2]
        for line in (TABLES / "unistd_64.h").read_text().splitlines()
        if line.startswith("#define __NR_") and len(line.split()) == 3
    }
    for name, (x86_64, _, _) in seccomp.ALLOWED.items():
        assert numbers[f"__NR_{name}"] == str(x86_64)


GENERIC = Path("/usr/include/asm-generic/unistd.h")


@pytest.mark.skipif(not GENERIC.exists(), reason="no kernel headers")
def test_the_numbers_for_aarch64_are_the_generic_tables() -> None:
    numbers = {}
    for line in GENERIC.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "#define" and words[2].isdigit():
            numbers[words[1].replace("__NR3264_", "__NR_")] = words[2]
    for name, (_, aarch64, _) in seccomp.ALLOWED.items():
        assert numbers[f"__NR_{name}"] == str(aarch64)


def simulate(machine: str, number: int, *arguments: int, architecture: int | None = None) -> str:
    """What the filter decides, by a small interpreter of the instructions it uses."""
    code = seccomp.program(machine)
    arch = seccomp._ARCHITECTURE[machine] if architecture is None else architecture
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, *[0] * (6 - len(arguments))))
    at, loaded = 0, 0
    while True:
        kind, if_so, if_not, value = struct.unpack_from("<HBBI", code, at * 8)
        at += 1
        if kind == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif kind == 0x06:
            return "allow" if value == kernel.SECCOMP_RET_ALLOW else "kill"
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[kind]
            at += if_so if holds else if_not


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_an_executor_needs_and_no_more(machine: str) -> None:
    number = {name: row[machine == "aarch64"] for name, row in seccomp.ALLOWED.items()}
    assert simulate(machine, number["recvfrom"], 3) == "allow"
    assert simulate(machine, number["recvfrom"], 4) == "kill"
    assert simulate(machine, number["sendto"], 3, 0, 9, 0, 0) == "allow"
    assert simulate(machine, number["sendto"], 3, 0, 9, 0, 1 << 40) == "kill"
    assert simulate(machine, number["mmap"], 0, 4096, 3, 0x22) == "allow"
    assert simulate(machine, number["mmap"], 0, 4096, 7, 0x22) == "kill"
    assert simulate(machine, number["mmap"], 0, 4096, 3, 0x02) == "kill"
    assert simulate(machine, number["mprotect"], 0, 4096, 5) == "kill"
    assert simulate(machine, number["prlimit64"], 0, 9) == "allow"
    assert simulate(machine, number["prlimit64"], 0, 7) == "kill"
    assert simulate(machine, number["prlimit64"], 1, 9) == "kill"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_other_number_and_architecture_is_killed(machine: str) -> None:
    allowed = {row[machine == "aarch64"] for row in seccomp.ALLOWED.values()}
    killed = [n for n in range(1024) if n not in allowed]
    assert {simulate(machine, n) for n in killed} == {"kill"}
    assert simulate(machine, min(allowed), 3, architecture=0x40000003) == "kill"
    if machine == "x86_64":
        assert simulate(machine, 0x40000000 + 228) == "kill"


def test_the_cage_is_built_with_the_standard_library_alone() -> None:
    code = (
        "import sys; from loopai_runtime.sandbox import confine; "
        "assert not {'RestrictedPython', 'pydantic', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

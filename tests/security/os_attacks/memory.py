"""Memory that outlives the program, is shared with others, or runs as code of the attacker's own."""

from __future__ import annotations

import ctypes

from tests.security.os_attacks.attack import answered, attack
from tests.security.os_attacks.prelude import call, failing, libc, os, struct

# `return 42` as machine code of each architecture; what an attack brings along to run.
_RUNS = lambda _stage, output: output == 42  # noqa: E731


@attack(_RUNS)
def runs_machine_code(given):
    code = {"x86_64": "b82a000000c3", "aarch64": "40058052c0035fd6"}[given["machine"]]
    library = libc()
    library.mmap.restype = ctypes.c_void_p
    page = library.mmap(None, 4096, 7, 0x22, -1, 0)  # readable, writable and executable; private, anonymous
    if page == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    ctypes.memmove(page, bytes.fromhex(code), len(code) // 2)
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)()


@attack(_RUNS)
def makes_written_memory_executable(given):
    code = {"x86_64": "b82a000000c3", "aarch64": "40058052c0035fd6"}[given["machine"]]
    library = libc()
    library.mmap.restype = ctypes.c_void_p
    page = library.mmap(None, 4096, 3, 0x22, -1, 0)
    ctypes.memmove(page, bytes.fromhex(code), len(code) // 2)
    failing(library.mprotect(ctypes.c_void_p(page), 4096, 5))
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)()


@attack(_RUNS)
def makes_memory_executable_under_a_key(given):
    code = {"x86_64": "b82a000000c3", "aarch64": "40058052c0035fd6"}[given["machine"]]
    library = libc()
    library.mmap.restype = ctypes.c_void_p
    page = library.mmap(None, 4096, 3, 0x22, -1, 0)
    ctypes.memmove(page, bytes.fromhex(code), len(code) // 2)
    call(given, "pkey_mprotect", page, 4096, 5, -1)
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)()


@attack(answered)
def makes_the_interpreter_itself_writable(given):
    library = libc()
    page = ctypes.cast(library.strlen, ctypes.c_void_p).value & ~4095
    failing(library.mprotect(ctypes.c_void_p(page), 4096, 7))
    return f"{page:x}"


@attack(answered)
def makes_a_file_in_memory(given):
    return os.memfd_create("hidden", 0)


@attack(answered)
def makes_memory_that_even_the_kernel_cannot_read(given):
    return call(given, "memfd_secret", 0)


@attack(lambda stage, _output: "shm" in stage.remove_ipc())
def leaves_shared_memory_behind(given):
    call(given, "shmget", given["key"], 4096, 0o1600)


@attack(answered)
def runs_code_from_shared_memory(given):
    segment = call(given, "shmget", 0, 4096, 0o1700)
    try:
        return call(given, "shmat", segment, None, 0o100000)
    finally:
        call(given, "shmctl", segment, 0, 0)


@attack(lambda stage, _output: "msg" in stage.remove_ipc())
def leaves_a_message_queue_behind(given):
    call(given, "msgget", given["key"], 0o1600)


@attack(lambda stage, _output: "sem" in stage.remove_ipc())
def leaves_semaphores_behind(given):
    call(given, "semget", given["key"], 1, 0o1600)


@attack(lambda stage, _output: "mq" in stage.remove_ipc())
def leaves_a_posix_message_queue_behind(given):
    call(given, "mq_open", f"stage-{given['key']}".encode(), 0o102, 0o600, None)


@attack(answered)
def handles_its_page_faults_itself(given):
    return call(given, "userfaultfd", 1)


@attack(answered)
def asks_the_kernel_through_a_ring(given):
    parameters = ctypes.create_string_buffer(120)
    return call(given, "io_uring_setup", 4, parameters)


@attack(answered)
def reads_performance_counters(given):
    event = struct.pack("IIQQQQQ", 1, 112, 1, 0, 0, 0, 1 << 5 | 1 << 6) + bytes(64)  # its own task clock
    return call(given, "perf_event_open", event, 0, -1, -1, 0)


@attack(lambda _stage, output: output == [1 << 40, 1 << 40])
def raises_its_own_memory_limit(given):
    call(given, "prlimit64", 0, 9, struct.pack("QQ", 1 << 40, 1 << 40), None)
    now = ctypes.create_string_buffer(16)
    call(given, "prlimit64", 0, 9, None, now)
    return list(struct.unpack("QQ", now))


@attack(lambda _stage, output: output == [1 << 30, 1 << 30])
def raises_its_own_file_limit(given):
    call(given, "prlimit64", 0, 1, struct.pack("QQ", 1 << 30, 1 << 30), None)
    now = ctypes.create_string_buffer(16)
    call(given, "prlimit64", 0, 1, None, now)
    return list(struct.unpack("QQ", now))


@attack(lambda _stage, output: output == 200)
def raises_its_own_process_limit(given):
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))
    except ValueError as error:  # how that module says EPERM
        raise PermissionError(1, str(error)) from None
    return resource.getrlimit(resource.RLIMIT_NPROC)[0]

"""Becoming more than one process, and reaching into others: signals, traces, memory, descriptors, priorities."""

from __future__ import annotations

import ctypes

from tests.security.os_attacks.attack import answered, attack, killed, marked, says, secret
from tests.security.os_attacks.prelude import address, call, failing, libc, os, signal, struct

# -- more processes -----------------------------------------------------------------------------------------


@attack(answered)
def forks(given):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


@attack(answered)
def forks_again_and_again(given):
    children = 0
    while children < 20:
        if os.fork() == 0:
            os._exit(0)
        children += 1
    return children


@attack(answered)
def forks_through_clone_itself(given):
    child = call(given, "clone", int(signal.SIGCHLD), 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return child


@attack(answered)
def forks_through_clone3(given):
    child = call(given, "clone3", struct.pack("8Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
    if child == 0:
        os._exit(0)
    return child


@attack(answered)
def starts_a_thread(given):
    import _thread

    ran = _thread.allocate_lock()
    ran.acquire()
    try:
        _thread.start_new_thread(ran.release, ())
    except RuntimeError as error:
        raise PermissionError(1, str(error)) from None
    return ran.acquire(timeout=10)


@attack(marked)
def becomes_another_program(given):
    os.execv("/bin/sh", ["sh", "-c", f": > {given['mark']}"])


@attack(marked)
def becomes_another_program_through_execveat(given):
    arguments = (ctypes.c_char_p * 4)(b"sh", b"-c", f": > {given['mark']}".encode(), None)
    call(given, "execveat", -100, b"/bin/sh", arguments, (ctypes.c_char_p * 1)(None), 0)


@attack(marked)
def spawns_a_program(given):
    child = os.posix_spawn("/bin/sh", ["sh", "-c", f": > {given['mark']}"], {})
    os.waitpid(child, 0)


@attack(marked)
def runs_a_shell_command(given):
    if libc().system(f": > {given['mark']}".encode()) != 0:
        raise PermissionError(1, "system")


@attack(marked)
def runs_a_program_from_memory(given):
    file = os.memfd_create("program", 0)
    os.write(file, f"#!/bin/sh\n: > {given['mark']}\n".encode())
    os.execve(file, ["program"], {})


# -- signals ------------------------------------------------------------------------------------------------


@attack(killed)
def kills_another_process(given):
    os.kill(given["bystander"], signal.SIGKILL)


@attack(killed)
def kills_a_thread_of_another_process(given):
    call(given, "tgkill", given["bystander"], given["bystander"], int(signal.SIGKILL))


@attack(killed)
def kills_with_a_queued_signal(given):
    details = struct.pack("iii", signal.SIGTERM, 0, -1) + bytes(116)
    call(given, "rt_sigqueueinfo", given["bystander"], int(signal.SIGTERM), details)


@attack(killed)
def kills_through_a_process_descriptor(given):
    process = call(given, "pidfd_open", given["bystander"], 0)
    call(given, "pidfd_send_signal", process, int(signal.SIGKILL), None, 0)


@attack(killed)
def kills_through_the_owner_of_a_pipe(given):
    ours, theirs = os.pipe()
    call(given, "fcntl", ours, 8, given["bystander"])  # F_SETOWN: who is told of what arrives
    call(given, "fcntl", ours, 10, int(signal.SIGTERM))  # F_SETSIG: with which signal
    call(given, "fcntl", ours, 4, 0o20000)  # F_SETFL, O_ASYNC
    os.write(theirs, b"!")


@attack(answered)
def has_another_process_told_of_its_socket(given):
    return call(given, "fcntl", 3, 8, given["bystander"])


@attack(answered)
def signals_its_parent(given):
    os.kill(os.getppid(), 0)  # 0 asks only whether it could
    return "could"


@attack(answered)
def signals_its_process_group(given):
    os.killpg(0, 0)
    return "could"


# -- other processes ----------------------------------------------------------------------------------------


@attack(secret)
def reads_the_memory_of_the_front(given):
    mine = ctypes.create_string_buffer(given["length"])
    here = struct.pack("QQ", address(mine), given["length"])
    away = struct.pack("QQ", given["address"], given["length"])
    call(given, "process_vm_readv", given["front"], here, 1, away, 1, 0)
    return mine.raw.decode()


@attack(lambda stage, _output: stage.memory.value.decode() != stage.secret)
def writes_the_memory_of_the_front(given):
    mine = ctypes.create_string_buffer(b"I was here")
    here = struct.pack("QQ", address(mine), 4)
    away = struct.pack("QQ", given["address"], 4)
    return call(given, "process_vm_writev", given["front"], here, 1, away, 1, 0)


@attack(answered)
def traces_another_process(given):
    return call(given, "ptrace", 0x4206, given["bystander"], 0, 0)


@attack(answered)
def has_its_parent_trace_it(given):
    return call(given, "ptrace", 0, 0, 0, 0)


@attack(answered)
def opens_a_process_descriptor(given):
    return call(given, "pidfd_open", given["bystander"], 0)


@attack(secret)
def takes_a_descriptor_of_another_process(given):
    process = call(given, "pidfd_open", given["bystander"], 0)
    return os.pread(call(given, "pidfd_getfd", process, given["leaked"], 0), 1000, 0).decode()


@attack(answered)
def compares_itself_with_another_process(given):
    return call(given, "kcmp", os.getpid(), given["bystander"], 1, 0, 0)


@attack(answered)
def asks_where_another_process_keeps_its_locks(given):
    place, size = ctypes.c_void_p(), ctypes.c_size_t()
    return call(given, "get_robust_list", given["bystander"], ctypes.byref(place), ctypes.byref(size))


@attack(answered)
def asks_where_the_memory_of_another_process_lies(given):
    page, status = ctypes.c_void_p(given["address"] & ~4095), ctypes.c_int()
    return call(given, "move_pages", given["bystander"], 1, ctypes.byref(page), None, ctypes.byref(status), 0)


@attack(lambda stage, _output: stage.priority() == 19)
def slows_another_process_down(given):
    os.setpriority(os.PRIO_PROCESS, given["bystander"], 19)


@attack(answered)
def slows_the_disk_for_another_process(given):
    return call(given, "ioprio_set", 1, given["bystander"], 3 << 13)


@attack(answered)
def moves_another_process_to_one_processor(given):
    os.sched_setaffinity(given["bystander"], given["cpus"][:1])
    return "moved"


@attack(answered)
def makes_another_process_wait_for_the_idle(given):
    os.sched_setscheduler(given["bystander"], os.SCHED_IDLE, os.sched_param(0))
    return "waits"


@attack(lambda stage, _output: stage.open_files() == 7)
def limits_another_process(given):
    call(given, "prlimit64", given["bystander"], 7, struct.pack("QQ", 7, 7), None)


@attack(answered)
def asks_what_another_process_may_use(given):
    old = ctypes.create_string_buffer(16)
    call(given, "prlimit64", given["bystander"], 7, None, old)
    return list(struct.unpack("QQ", old))


@attack(answered)
def leaves_its_session(given):
    os.setsid()
    return "left"


@attack(answered, needs_root=True)
def becomes_another_user(given):
    os.setresuid(1, 1, 1)
    return "became daemon"


@attack(answered, needs_root=True)
def joins_the_namespaces_of_another_process(given):
    process = call(given, "pidfd_open", given["bystander"], 0)
    return call(given, "setns", process, 0x04000000)


@attack(says("another host"))
def names_a_host_of_its_own(given):
    call(given, "unshare", 0x10000000 | 0x04000000)
    failing(libc().sethostname(b"another host", 12))
    return os.uname().nodename


@attack(answered)
def makes_a_network_of_its_own(given):
    return call(given, "unshare", 0x10000000 | 0x40000000)


@attack(answered)
def clones_itself_into_a_namespace(given):
    child = call(given, "clone", 0x10000000 | 0x20000000 | int(signal.SIGCHLD), 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return child

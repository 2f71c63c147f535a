"""Kernel interfaces that no program needs: keys, filters, modes of execution, the clock, the log, the ports."""

from __future__ import annotations

import ctypes

from tests.security.os_attacks.attack import answered, attack
from tests.security.os_attacks.prelude import call, os, socket, struct


@attack(answered)
def keeps_a_key_in_the_kernel(given):
    return call(given, "add_key", b"user", b"stage", b"hidden", 6, ctypes.c_int(-2))


@attack(answered)
def joins_a_new_keyring(given):
    return call(given, "keyctl", 1, None)


@attack(answered, needs_root=True)
def makes_a_map_for_kernel_programs(given):
    return call(given, "bpf", 0, struct.pack("IIII", 2, 4, 4, 1) + bytes(112), 128)


@attack(answered)
def turns_off_address_randomisation(given):
    call(given, "personality", 0x0040000)
    return call(given, "personality", 0xFFFFFFFF) & 0x0040000 or None


@attack(answered)
def makes_all_it_reads_executable(given):
    call(given, "personality", 0x0400000)
    return call(given, "personality", 0xFFFFFFFF) & 0x0400000 or None


@attack(lambda _stage, output: output == 1)
def lets_others_look_into_it_again(given):
    call(given, "prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
    return call(given, "prctl", 3, 0, 0, 0, 0)


@attack(answered)
def outlives_its_parent(given):
    return call(given, "prctl", 1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG, none


@attack(answered)
def adopts_the_children_of_its_children(given):
    return call(given, "prctl", 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


@attack(answered, needs_root=True)
def sets_the_time_zone_of_the_kernel(given):
    return call(given, "settimeofday", None, bytes.fromhex(given["time_zone"]))  # to what it is


@attack(answered, needs_root=True)
def renames_the_host(given):
    socket.sethostname(socket.gethostname())
    return "renamed to the same"


@attack(answered, needs_root=True)
def reads_the_log_of_the_kernel(given):
    text = ctypes.create_string_buffer(4096)
    call(given, "syslog", 3, text, 4096)
    return "read"


@attack(answered, needs_root=True)
def asks_how_large_the_log_of_the_kernel_is(given):
    return call(given, "syslog", 10, None, 0)


@attack(answered)
def makes_a_segment_of_its_own(given):
    segment = struct.pack("IIII", 0, 0, 0xFFFFF, 0b1010001)
    return call(given, "modify_ldt", 1, segment, len(segment))


@attack(answered, needs_root=True)
def takes_real_time_priority(given):
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return "took it"

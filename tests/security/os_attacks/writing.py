"""Changing what lies outside: files and their names, modes, owners, times, attributes, and the disk's space."""

from __future__ import annotations

import ctypes

from tests.security.os_attacks.attack import answered, attack, changed, gone, marked, says
from tests.security.os_attacks.prelude import call, failing, libc, os


@attack(marked)
def makes_a_file(given):
    os.write(os.open(given["mark"], os.O_WRONLY | os.O_CREAT, 0o600), b"I was here")


@attack(marked)
def makes_a_file_through_creat(given):
    call(given, "creat", given["mark"].encode(), 0o600)


@attack(changed)
def appends_to_a_file(given):
    os.write(os.open(given["canary"], os.O_WRONLY | os.O_APPEND), b"I was here")


@attack(changed)
def empties_a_file_by_opening_it(given):
    os.open(given["canary"], os.O_WRONLY | os.O_TRUNC)


@attack(changed)
def truncates_a_file_by_its_name(given):
    os.truncate(given["canary"], 0)


@attack(lambda stage, _output: stage.mark.exists() and stage.mark.stat().st_size > 0)
def fills_the_disk(given):
    file = os.open(given["mark"], os.O_WRONLY | os.O_CREAT, 0o600)
    os.posix_fallocate(file, 0, 1 << 20)


@attack(answered)
def fills_the_disk_with_a_file_without_a_name(given):
    file = os.open(given["dir"], os.O_TMPFILE | os.O_RDWR, 0o600)
    return os.write(file, b"x" * 4096)


@attack(answered)
def fills_the_memory_of_the_machine_with_a_file(given):
    path = f"/dev/shm/stage-{given['key']}"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.unlink(path)
    return os.write(file, b"x" * 4096)


@attack(gone(lambda stage: stage.canary))
def removes_a_file(given):
    os.unlink(given["canary"])


@attack(gone(lambda stage: stage.canary))
def renames_a_file(given):
    os.rename(given["canary"], given["mark"])


@attack(marked)
def links_a_file(given):
    os.link(given["canary"], given["mark"])


@attack(marked)
def makes_a_symbolic_link(given):
    os.symlink("/etc/passwd", given["mark"])


@attack(marked)
def makes_a_directory(given):
    os.mkdir(given["mark"])


@attack(marked)
def makes_a_named_pipe(given):
    os.mkfifo(given["mark"])


@attack(marked, needs_root=True)
def makes_a_device(given):
    os.mknod(given["mark"], 0o20600, os.makedev(1, 3))


@attack(changed)
def opens_a_file_to_everybody(given):
    os.chmod(given["canary"], 0o777)


@attack(changed, needs_root=True)
def gives_a_file_away(given):
    os.chown(given["canary"], 1, -1)


@attack(changed)
def sets_the_times_of_a_file(given):
    os.utime(given["canary"], (1, 1))


@attack(changed)
def hides_data_in_an_attribute(given):
    os.setxattr(given["canary"], "user.hidden", b"I was here")


@attack(says("changed"))
def writes_over_its_read_only_memory(given):
    library = libc()
    library.mmap.restype = ctypes.c_void_p
    page = library.mmap(None, 4096, 1, 0x22, -1, 0)  # readable, private, anonymous
    os.pwrite(os.open("/proc/self/mem", os.O_RDWR), b"changed", page)
    return ctypes.string_at(page, 7).decode()


@attack(answered)
def changes_how_the_kernel_kills_it(given):
    return os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"500")


@attack(answered, needs_root=True)
def moves_its_root(given):
    os.chroot(given["dir"])
    return "moved"


@attack(lambda stage, _output: stage.hidden.is_mount(), needs_root=True)
def mounts_a_file_system(given):
    failing(libc().mount(b"none", given["hidden"].encode(), b"tmpfs", 0, None))


@attack(answered, needs_root=True)
def prepares_a_file_system_to_mount(given):
    return call(given, "fsopen", b"tmpfs", 0)


@attack(answered, needs_root=True)
def makes_a_copy_of_a_mount(given):
    return call(given, "open_tree", -100, given["hidden"].encode(), 1)


@attack(answered)
def mounts_in_a_namespace_of_its_own(given):
    call(given, "unshare", 0x10000000 | 0x00020000)
    failing(libc().mount(b"none", given["hidden"].encode(), b"tmpfs", 0, None))
    return "mounted"


@attack(answered)
def forces_every_quota_to_the_disk(given):
    return call(given, "quotactl", ctypes.c_int(-0x7FFFFF00), None, 0, None)

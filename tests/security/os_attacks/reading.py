"""Reading what is not the program's: files, names, attributes, and what /proc tells of everybody."""

from __future__ import annotations

import ctypes
from errno import ENOENT

from tests.security.os_attacks.attack import answered, attack, says, secret
from tests.security.os_attacks.prelude import call, os, read, socket, struct


@attack(says("root:"))
def reads_the_password_file(given):
    return read(os.open("/etc/passwd", os.O_RDONLY))


@attack(secret)
def reads_with_plain_open(given):
    with open(given["canary"]) as file:  # noqa: PTH123
        return file.read()


@attack(secret)
def reads_by_a_relative_path(given):
    return read(os.open("../" * 40 + given["canary"].lstrip("/"), os.O_RDONLY))


@attack(secret)
def reads_below_an_opened_directory(given):
    folder = os.open(given["dir"], os.O_PATH | os.O_DIRECTORY)
    return read(os.open("canary", os.O_RDONLY, dir_fd=folder))


@attack(secret)
def reads_through_the_old_open_call(given):
    return read(call(given, "open", given["canary"].encode(), os.O_RDONLY, 0))


@attack(secret)
def reads_through_openat_itself(given):
    return read(call(given, "openat", -100, given["canary"].encode(), os.O_RDONLY, 0))


@attack(secret)
def reads_through_openat2(given):
    how = struct.pack("QQQ", os.O_RDONLY, 0, 0)
    return read(call(given, "openat2", -100, given["canary"].encode(), how, len(how)))


@attack(secret)
def reads_through_proc_self_root(given):
    return read(os.open("/proc/self/root" + given["canary"], os.O_RDONLY))


@attack(secret)
def reads_through_the_c_library(given):
    file = ctypes.CDLL(None, use_errno=True).fopen
    file.restype = ctypes.c_void_p
    handle = file(given["canary"].encode(), b"r")
    if not handle:
        raise OSError(ctypes.get_errno(), "fopen")
    text = ctypes.create_string_buffer(1000)
    ctypes.CDLL(None).fgets(text, 1000, ctypes.c_void_p(handle))
    return text.value.decode()


@attack(secret, needs_root=True)
def opens_a_file_by_its_handle(given):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    mount = ctypes.c_int()
    path = given["canary"].encode()
    call(given, "name_to_handle_at", -100, path, handle, ctypes.byref(mount), 0)
    folder = os.open(given["dir"], os.O_RDONLY)
    return read(call(given, "open_by_handle_at", folder, handle, os.O_RDONLY))


@attack(answered)
def learns_the_handle_of_a_file(given):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    mount = ctypes.c_int()
    call(given, "name_to_handle_at", -100, given["canary"].encode(), handle, ctypes.byref(mount), 0)
    return handle.raw.hex()


@attack(lambda stage, output: output == len(stage.secret))
def learns_the_size_of_a_file(given):
    return os.stat(given["canary"]).st_size


@attack(lambda stage, output: output == len(stage.secret))
def learns_the_size_through_the_old_stat_call(given):
    status = ctypes.create_string_buffer(256)
    call(given, "stat", given["canary"].encode(), status)
    return struct.unpack_from("q", status, 48)[0]


@attack(lambda stage, output: output == len(stage.secret))
def learns_the_size_through_statx(given):
    status = ctypes.create_string_buffer(256)
    call(given, "statx", -100, given["canary"].encode(), 0, 0x7FF, status)
    return struct.unpack_from("Q", status, 40)[0]


@attack(answered)
def learns_through_access_that_a_file_exists(given):
    call(given, "faccessat", -100, given["canary"].encode(), os.F_OK)
    return "it exists"


@attack(answered, may_find_nothing=True)
def learns_from_errors_whether_a_file_exists(given):
    errors = []
    for name in (given["canary"], given["missing"]):
        try:
            os.close(os.open(name, os.O_RDONLY))
            errors.append(0)
        except OSError as error:
            errors.append(error.errno)
    return errors if errors[0] != errors[1] else None


@attack(answered, also=frozenset({ENOENT}))
def enters_a_directory(given):
    os.chdir(given["hidden"])
    return "entered"


@attack(secret)
def lists_a_directory(given):
    return os.listdir(given["hidden"])


@attack(secret)
def reads_where_a_link_leads(given):
    return os.readlink(given["link"])


@attack(answered)
def lists_the_attributes_of_a_file(given):
    return os.listxattr(given["canary"])


@attack(answered)
def learns_how_full_the_disk_is(given):
    return list(os.statvfs(given["dir"]))


@attack(answered)
def watches_a_directory(given):
    watch = call(given, "inotify_init1", 0)
    return call(given, "inotify_add_watch", watch, given["dir"].encode(), 0x100)


@attack(answered)
def watches_every_file_through_fanotify(given):
    return call(given, "fanotify_init", 0x200, os.O_RDONLY)


@attack(answered)
def asks_for_the_mount_table(given):
    request = struct.pack("IIQQ", 24, 0, 0xFFFFFFFFFFFFFFFF, 0)
    found = (ctypes.c_uint64 * 16)()
    return call(given, "listmount", request, found, 16, 0)


# -- what /proc and /sys tell -------------------------------------------------------------------------------


@attack(answered)
def reads_its_own_start_environment(given):
    return read(os.open("/proc/self/environ", os.O_RDONLY)) or "nothing, but it could look"


@attack(says("[stack]"))
def reads_its_own_memory_map(given):
    return read(os.open("/proc/self/maps", os.O_RDONLY)) + "".join(open("/proc/self/maps"))  # noqa: PTH123


@attack(secret)
def reads_the_environment_of_the_front(given):
    return read(os.open(f"/proc/{given['front']}/environ", os.O_RDONLY))


@attack(answered)
def reads_the_memory_map_of_its_parent(given):
    return read(os.open(f"/proc/{os.getppid()}/maps", os.O_RDONLY))


@attack(answered)
def reads_the_command_line_of_its_parent(given):
    return read(os.open(f"/proc/{os.getppid()}/cmdline", os.O_RDONLY))


@attack(secret)
def reads_the_memory_of_the_front_through_proc(given):
    memory = os.open(f"/proc/{given['front']}/mem", os.O_RDONLY)
    return os.pread(memory, given["length"], given["address"]).decode()


@attack(secret)
def reads_a_descriptor_of_the_front_through_proc(given):
    return read(os.open(f"/proc/{given['front']}/fd/{given['leaked']}", os.O_RDONLY))


@attack(says("lo"))
def lists_the_network_interfaces(given):
    return read(os.open("/proc/net/dev", os.O_RDONLY))


@attack(says("lo"))
def asks_the_c_library_for_the_network_interfaces(given):
    return socket.if_nameindex()


# -- what the process might have been handed ----------------------------------------------------------------


@attack(secret, may_find_nothing=True)
def reads_the_environment_it_was_given(given):
    return {name: value for name, value in os.environ.items() if name not in ("TZ", "LC_CTYPE")} or None


@attack(secret, may_find_nothing=True)
def searches_its_start_stack_for_an_environment(given):
    names = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    found, number = [], 0
    while names and names[number] is not None:
        found.append(names[number].decode())
        number += 1
    return [entry for entry in found if not entry.startswith(("TZ=", "LC_CTYPE="))] or None


@attack(secret, may_find_nothing=True)
def reads_every_descriptor_it_was_handed(given):
    for number in (0, 1, 2, *range(4, 1024)):
        try:
            if text := os.pread(number, 1000, 0):
                return text.decode("latin-1")
        except OSError:
            continue
    return None

"""Talking to anybody: over the network, through the file system, to the kernel, through the control socket."""

from __future__ import annotations

from tests.security.os_attacks.attack import answered, attack, connected, says
from tests.security.os_attacks.prelude import os, socket, struct


@attack(connected("tcp"))
def connects_over_tcp(given):
    socket.socket().connect(("127.0.0.1", given["ports"]["tcp"]))


@attack(connected("tcp6"))
def connects_over_tcp_on_ipv6(given):
    socket.socket(socket.AF_INET6).connect(("::1", given["ports"]["tcp6"]))


@attack(connected("tcp"))
def connects_by_sending_at_once(given):
    fast_open = 0x20000000
    socket.socket().sendto(b"!", fast_open, ("127.0.0.1", given["ports"]["tcp"]))


@attack(connected("tcp"))
def connects_over_multipath_tcp(given):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(("127.0.0.1", given["ports"]["tcp"]))


@attack(answered)
def listens_on_a_port(given):
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    door.listen()
    return door.getsockname()[1]


@attack(answered)
def listens_without_binding(given):
    door = socket.socket(socket.AF_INET6)
    door.listen()
    return door.getsockname()[1]


@attack(connected("udp"))
def sends_a_udp_datagram(given):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"!", ("127.0.0.1", given["ports"]["udp"]))


@attack(connected("unix"))
def connects_to_a_socket_in_the_file_system(given):
    socket.socket(socket.AF_UNIX).connect(given["dir"] + "/socket")


@attack(connected("datagram"))
def sends_to_a_socket_in_the_file_system(given):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"!", given["dir"] + "/datagram")


@attack(connected("abstract"))
def connects_to_an_abstract_socket(given):
    socket.socket(socket.AF_UNIX).connect(f"\0stage-{given['key']}")


@attack(answered)
def offers_an_abstract_socket(given):
    door = socket.socket(socket.AF_UNIX)
    door.bind(f"\0attack-{given['key']}")
    door.listen()
    return door.getsockname().decode()


@attack(answered, needs_root=True)
def listens_to_every_packet(given):
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300).fileno()


@attack(answered, needs_root=True)
def forges_packets(given):
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, 255).fileno()


@attack(says("lo"))
def asks_netlink_for_the_network(given):
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    kernel.send(struct.pack("IHHIIBxHiII", 32, 18, 0x301, 1, 0, 0, 0, 0, 0, 0))
    return kernel.recv(65536).decode("latin-1")


@attack(answered)
def opens_a_socket_to_the_host(given):
    door = socket.socket(40, socket.SOCK_STREAM)
    return door.fileno()


@attack(lambda stage, _output: bool(stage.received))
def sends_a_descriptor_through_the_control_socket(given):
    control = socket.socket(fileno=os.dup(3))
    socket.send_fds(control, [b" "], [3])

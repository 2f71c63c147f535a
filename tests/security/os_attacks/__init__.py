"""Attacks on the operating-system wall: what unrestricted Python tries from inside an executor."""

from tests.security.os_attacks import kernel, memory, network, processes, reading, writing
from tests.security.os_attacks.attack import ATTACKS, Attack

__all__ = ["ATTACKS", "FAMILIES", "Attack"]

FAMILIES = tuple(
    module.__name__.rpartition(".")[2] for module in (reading, writing, network, processes, memory, kernel)
)

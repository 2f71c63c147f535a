"""The second wall of the cage: Landlock, with a rule set that allows nothing. Runs inside the sandbox.

What the kernel can handle depends on its ABI version (landlock(7)): files since 1, moving between directories 2,
truncation 3, TCP 4, device controls 5, signals and abstract sockets outside of the domain 6.
"""

from __future__ import annotations

import ctypes
import os
import struct

from loopai_runtime.sandbox import kernel

_FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # ABI: how many rights on files there are
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract unix sockets, signals


def put_up() -> None:
    """Take all that Landlock can take from this process. Needs no_new_privs. Raises OSError."""
    version = kernel.landlock_version()
    handled = [(1 << _FILES[min(version, 5)]) - 1]
    if version >= 4:
        handled.append(_TCP)
    if version >= 6:
        handled.append(_SCOPES)
    attributes = struct.pack(f"<{len(handled)}Q", *handled)
    rules = kernel.call(kernel.LANDLOCK_CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)
    try:
        kernel.call(kernel.LANDLOCK_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)

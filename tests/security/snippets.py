"""What a snippet of the escape corpus is, and which part of the corpus it belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

CANARY = "<what the canary file holds>"
SECRET = "left-behind-by-the-call-before"
TIMEOUT_MS = 200
MEMORY_MB = 128


@dataclass(frozen=True, slots=True)
class Snippet:
    """One attempt to get out.

    An escape succeeds when the JSON of its answer holds the text `reached`, which neither its source nor its input
    does, or when it has changed the canary file. CANARY stands for what that file holds; its path is
    `input_data["canary"]`. A snippet with a `first` input leaves something behind in that call and succeeds if
    the call after it - of the program `then`, if there is one - answers with it.

    A bomb names in `bomb` how a plain process ends on it: `time` (still busy after twice the timeout), `memory` and
    `output` (more than twice the limit), the name of the exception or signal, or `broken` (whichever comes first).
    It succeeds when it is not stopped. With `at_load` it goes off before `run` is called, where a program has the
    time to load and not that of a call.
    """

    name: str
    family: str
    source: str
    reached: str = CANARY
    input: dict[str, Any] = field(default_factory=dict)
    first: dict[str, Any] | None = None
    then: str | None = None
    bomb: str | None = None
    at_load: bool = False
    found: bool = False
    """A hole that was found by reading the policy, and closed: never held out."""

    @property
    def held_out(self) -> bool:
        """Whether it is of the part nobody looks at while working on the policy."""
        return is_held_out(self.name) and not self.found

    @property
    def host(self) -> bool:
        """Whether it goes for the host, and not just for what the interpreter keeps from a program."""
        return self.bomb is not None or self.reached == CANARY


def is_held_out(name: str) -> bool:
    """Whether a snippet of this name is of the two thirds that are held out."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % 3 != 0


class Family:
    """Collects the snippets of one family: `family(name, source)` adds one."""

    def __init__(self, name: str, into: list[Snippet], **defaults: Any) -> None:
        self.name = name
        self._into = into
        self._defaults = defaults

    def __call__(self, name: str, source: str, **fields: Any) -> None:
        source = source.strip("\n") + "\n"
        self._into.append(Snippet(f"{self.name}: {name}", self.name, source, **(self._defaults | fields)))

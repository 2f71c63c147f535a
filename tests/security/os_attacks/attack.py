"""What an attack is, and the ways to tell from outside that one has worked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from errno import EACCES, EAFNOSUPPORT, EAGAIN, EFBIG, ENOSYS, EPERM
from pathlib import Path
from typing import Any

from tests.security.os_attacks import prelude
from tests.security.os_attacks.stage import Stage

REFUSALS = frozenset({EPERM, EACCES, ENOSYS, EAGAIN, EFBIG, EAFNOSUPPORT})
"""How a kernel says no. Any other error would be the attack's own mistake."""

Proof = Callable[[Stage, Any], bool]
Source = Callable[[dict[str, Any]], Any]
PRELUDE = inspect.getsource(prelude)


@dataclass(frozen=True, slots=True)
class Attack:
    """One program, and how to see that it did what it must not.

    `refusals` are the errors that count as a stop. `may_find_nothing`: to come back with None is one, too, as
    what it looks for may simply not be there. `needs_root`: nobody else could do it without the wall either.
    """

    name: str
    family: str
    source: str
    proof: Proof
    refusals: frozenset[int] = REFUSALS
    may_find_nothing: bool = False
    needs_root: bool = False


ATTACKS: dict[str, Attack] = {}


def attack(
    proof: Proof, *, also: frozenset[int] = frozenset(), may_find_nothing: bool = False, needs_root: bool = False
) -> Callable[[Source], Source]:
    """Enter a function as an attack: it gets `Stage.given` and answers what it got, or raises OSError."""

    def enter(function: Source) -> Source:
        name, family = function.__name__, function.__module__.rpartition(".")[2]
        assert name not in ATTACKS, name
        lines = inspect.getsource(function).splitlines(keepends=True)
        start = next(number for number, line in enumerate(lines) if line.startswith("def "))
        source = f"{PRELUDE}\n\n{''.join(lines[start:])}\n\nrun = {name}\n"
        ATTACKS[name] = Attack(name, family, source, proof, REFUSALS | also, may_find_nothing, needs_root)
        return function

    return enter


# -- proofs -------------------------------------------------------------------------------------------------


def secret(stage: Stage, output: Any) -> bool:
    """It came back with what only the stage knows."""
    return stage.secret in str(output)


def answered(stage: Stage, output: Any) -> bool:
    """The kernel did what it was asked: an attack that is refused raises, so it has no answer."""
    return output is not None and output is not False


def says(text: str) -> Proof:
    """It came back with what the world outside holds."""
    return lambda _stage, output: text in str(output)


def there(path: Callable[[Stage], Path]) -> Proof:
    """A file appeared."""
    return lambda stage, _output: path(stage).is_symlink() or path(stage).exists()


def gone(path: Callable[[Stage], Path]) -> Proof:
    """A file is no longer where it was."""
    return lambda stage, _output: not path(stage).exists()


marked = there(lambda stage: stage.mark)


def changed(stage: Stage, output: Any) -> bool:
    """The canary is not what it was: content, mode, owner, times or attributes."""
    return stage.canary_state() != stage.canary_was


def connected(listener: str) -> Proof:
    """The stage's listener has a visitor."""
    return lambda stage, _output: stage.visited(listener)


def killed(stage: Stage, output: Any) -> bool:
    """The bystander is dead."""
    return not stage.bystander_lives()

"""A program as Python: its expressions, compiled for use here or written out for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.atoms import Atom
from loopai_runtime.synthesis.dsl.conditions import Decision
from loopai_runtime.synthesis.dsl.views import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.synthesis.dsl.search import Program

_SCOPE = {name: value for name, value in vars(library).items() if not name.startswith("__")}
FAULTS = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError)
"""What a part that is not there raises."""


def lines(program: Program | Decision) -> list[str]:
    """The body of a function that returns the output's pieces."""
    if isinstance(program, Decision):
        body = []
        for at, (test, branch) in enumerate(program.branches):
            body.append(f"{'elif' if at else 'if'} {test.source}:")
            body += ["    " + line for line in lines(branch)]
        return [*body, "else:", *("    " + line for line in lines(program.otherwise))]
    lets = {name: source for piece in program.pieces if isinstance(piece, Atom) for name, source in piece.lets}
    pieces = ", ".join(piece.source if isinstance(piece, Atom) else quote(piece) for piece in program.pieces)
    return [*(f"{name} = {source}" for name, source in lets.items()), f"return [{pieces}]"]


class Runner:
    """A program of this module's own atoms, compiled; None where a part of it is not there."""

    def __init__(self, names: Sequence[str], program: Program | Decision) -> None:
        body = "".join(f"    {line}\n" for line in lines(program))
        scope = dict(_SCOPE)
        code = compile(f"def run({', '.join(names)}):\n{body}", "program", "exec")
        exec(code, scope)  # noqa: S102  it consists of this package's own expressions
        self._run: Callable[..., list[str]] = scope["run"]

    def __call__(self, row: dict[str, str]) -> str | None:
        try:
            return "".join(self._run(**row))
        except FAULTS:
            return None

"""A program as Python: its expressions, compiled for use here or written out for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.atoms import Atom
from loopai_runtime.synthesis.dsl.search import Program
from loopai_runtime.synthesis.dsl.views import quote

_SCOPE = {name: value for name, value in vars(library).items() if not name.startswith("__")}


class Runner:
    """A program of this module's own atoms, compiled; None where a part of it is not there."""

    def __init__(self, names: Sequence[str], program: Program) -> None:
        lets = {name: source for piece in program.pieces if isinstance(piece, Atom) for name, source in piece.lets}
        body = "".join(f"    {name} = {source}\n" for name, source in lets.items())
        pieces = ", ".join(piece.source if isinstance(piece, Atom) else quote(piece) for piece in program.pieces)
        code = f"def run({', '.join(names)}):\n{body}    return [{pieces}]\n"
        scope = dict(_SCOPE)
        exec(compile(code, "program", "exec"), scope)
        self._run: Callable[..., list[str]] = scope["run"]  # type: ignore[assignment]

    def __call__(self, row: dict[str, str]) -> str | None:
        try:
            return "".join(self._run(**row))
        except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError):
            return None

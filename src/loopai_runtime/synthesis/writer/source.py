"""The text of a program that a model wrote: what it defines, and its names made its own beside other programs'.

Called only on text that the language policy has let in: that was parsed before, in a process that may die of it.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from loopai_runtime.errors import Fault, PolicyRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENTRIES = ("answer", "score", "run")
"""The functions that may be a program's answer, the one asked for first."""
OLDEST = (3, 9)
_FUTURE = re.compile(r"^from __future__ import [^\n]*$", re.MULTILINE)
_MAIN = re.compile(r"^if __name__\b.*\Z", re.MULTILINE | re.DOTALL)


def tidy(text: str) -> str:
    """The text without what programs end in by habit and the policy refuses; its lines keep their numbers."""
    return _FUTURE.sub("", _MAIN.sub("", text)).rstrip() + "\n"


@dataclass(frozen=True)
class Source:
    """A program that the policy let in. `entry` is the function that answers."""

    text: str
    entry: str

    @classmethod
    def of(cls, text: str) -> Source:
        """Raises PolicyRefused where it defines no answer, or is written for newer Pythons than it may run on."""
        try:
            tree = ast.parse(text, feature_version=OLDEST)
        except SyntaxError as error:
            raise PolicyRefused(
                [Fault(f"written for a newer Python than 3.9: {error.msg}", None, error.lineno)]
            ) from None
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        for entry in ENTRIES:
            if entry in defined:
                return cls(text, entry)
        raise PolicyRefused([Fault("the program defines no function answer(input_data) at its top level")])

    def beside(self, taken: Mapping[str, str | None], suffix: str) -> Source:
        """The same program; where one of its names is `taken` for something else, its names end in `suffix`.

        `taken` says what each name is an import of, or None. Imports that mean the same are shared.
        """
        bound = self.binds
        clashes = {name for name, what in bound.items() if name in taken and (what is None or taken[name] != what)}
        if not clashes:
            return self
        tree = ast.parse(self.text)
        names = {name: name + suffix for name, what in bound.items() if what is None or name in clashes}
        text = _edited(self.text, tree, names)
        return Source(text if text is not None else _rewritten(tree, names), names[self.entry])

    @cached_property
    def binds(self) -> dict[str, str | None]:
        """What it binds at its top level: the thing that a name is an import of, None for anything else."""
        found: dict[str, str | None] = {}
        for name, what in _bound(ast.parse(self.text)):
            found[name] = what if found.get(name, what) == what else None
        return found


def _bound(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Names bound at module level, in loops and branches too, but not within functions."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            yield node.name, None
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id, None
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, None
        waiting += ast.iter_child_nodes(node)


class _Edit(NamedTuple):
    line: int
    column: int  # in UTF-8 bytes, as the parser counts
    old: str
    new: str


def _edited(text: str, tree: ast.Module, names: dict[str, str]) -> str | None:
    """The text with the names changed in place; None where a place cannot be told, as in f-strings."""
    lines = text.encode("utf-8").split(b"\n")
    edits: list[_Edit] = []
    for node in ast.walk(tree):
        found = _edits(node, names, lines)
        if found is None:
            return None
        edits += found
    for edit in sorted(set(edits), reverse=True):
        line, old = lines[edit.line - 1], edit.old.encode()
        if line[edit.column : edit.column + len(old)] != old:
            return None
        lines[edit.line - 1] = line[: edit.column] + edit.new.encode() + line[edit.column + len(old) :]
    changed = b"\n".join(lines).decode("utf-8")
    return changed if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(_rewritten(tree, names))) else None


def _edits(node: ast.AST, names: dict[str, str], lines: list[bytes]) -> list[_Edit] | None:
    if isinstance(node, ast.Name) and node.id in names:
        return [_Edit(node.lineno, node.col_offset, node.id, names[node.id])]
    if isinstance(node, ast.arg) and node.arg in names:
        return [_Edit(node.lineno, node.col_offset, node.arg, names[node.arg])]
    if isinstance(node, ast.FunctionDef) and node.name in names:
        at = lines[node.lineno - 1].find(node.name.encode(), node.col_offset + 4)
        return [_Edit(node.lineno, at, node.name, names[node.name])]
    if isinstance(node, ast.alias) and (node.asname or node.name) in names:
        bound = node.asname or node.name
        old = f"{node.name} as {bound}" if node.asname else node.name
        return [_Edit(node.lineno, node.col_offset, old, f"{node.name} as {names[bound]}")]
    if isinstance(node, (ast.ExceptHandler, ast.Nonlocal, ast.keyword)):
        own = (
            node.names
            if isinstance(node, ast.Nonlocal)
            else [node.arg if isinstance(node, ast.keyword) else node.name]
        )
        return None if any(name in names for name in own) else []
    return []


def _rewritten(tree: ast.Module, names: dict[str, str]) -> str:
    """The text as the parser understands it, with the names changed everywhere: comments are lost."""
    tree = ast.parse(ast.unparse(tree))
    parameters = {argument.arg for node in ast.walk(tree) for argument in _arguments(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = names.get(node.arg, node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.ExceptHandler)) and node.name:
            node.name = names.get(node.name, node.name)
        elif isinstance(node, ast.Nonlocal):
            node.names = [names.get(name, name) for name in node.names]
        elif isinstance(node, ast.alias) and (node.asname or node.name) in names:
            node.asname = names[node.asname or node.name]
        elif isinstance(node, ast.keyword) and node.arg in parameters and _calls_own(tree, node):
            node.arg = names.get(node.arg, node.arg) if node.arg else None
    return ast.unparse(tree) + "\n"


def _arguments(node: ast.AST) -> list[ast.arg]:
    if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
        return []
    every = node.args
    return [*every.posonlyargs, *every.args, *every.kwonlyargs]


def _calls_own(tree: ast.Module, keyword: ast.keyword) -> bool:
    """Whether a keyword belongs to a call of one of the program's own functions."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return any(
        isinstance(node, ast.Call)
        and keyword in node.keywords
        and isinstance(node.func, ast.Name)
        and node.func.id in own
        for node in ast.walk(tree)
    )

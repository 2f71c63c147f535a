"""Which module-level containers a program only ever reads. Runs inside the sandbox.

Freezing turns a module's dicts into read-only proxies, whose `get` costs half as much again as a dict's. A
name of which every use is one that can neither change nor hand out its object may keep the plain container:
there is no second name through which it could be changed. The analysis counts; it never follows values.
"""

from __future__ import annotations

import ast
from collections import Counter
from typing import TYPE_CHECKING

from loopai_runtime.sandbox.language import READ_METHODS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_CONSUMERS = frozenset(
    [
        "all",
        "any",
        "dict",
        "enumerate",
        "frozenset",
        "iter",
        "len",
        "list",
        "max",
        "min",
        "reversed",
        "set",
        "sorted",
        "sum",
        "tuple",
    ]
)
"""Builtins that, given one argument, read it and answer something new (`max(a, b)` would answer a or b)."""


def read_only_names(tree: ast.Module, assigned: Collection[str]) -> frozenset[str]:
    """Names assigned at module level of which every use, in any scope, is a reading one.

    `assigned` are all names the program binds: a builtin among them is no longer the builtin.
    """
    loads: Counter[str] = Counter()
    safe: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and type(node.ctx) is ast.Load:
            loads[node.id] += 1
        elif not isinstance(node, ast.Constant):
            safe.update(child.id for child in _read_by(node, assigned) if type(child) is ast.Name)
    return frozenset(name for name in _module_level(tree) if loads[name] == safe[name])


def _module_level(tree: ast.Module) -> Iterable[str]:
    for statement in tree.body:
        if type(statement) is ast.Assign:
            yield from (target.id for target in statement.targets if type(target) is ast.Name)


def _read_by(node: ast.AST, assigned: Collection[str]) -> Iterable[ast.AST | None]:
    """The children of `node` that it only reads."""
    match node:
        case ast.Attribute(ctx=ast.Load(), attr=attribute):
            return (node.value,) if attribute in READ_METHODS else ()
        case ast.Subscript(ctx=ast.Load()):
            return (node.value,)
        case ast.Compare(ops=operators):
            return [
                right
                for operator, right in zip(operators, node.comparators, strict=True)
                if type(operator) is ast.In or type(operator) is ast.NotIn
            ]
        case ast.For() | ast.comprehension():
            return (node.iter,)
        case ast.Starred(ctx=ast.Load()):
            return (node.value,)
        case ast.BinOp():
            return (node.left, node.right)
        case ast.Call(func=ast.Name(id=name)) if name not in assigned:
            if name == "zip" or (name in _CONSUMERS and len(node.args) == 1):
                return node.args
    return ()

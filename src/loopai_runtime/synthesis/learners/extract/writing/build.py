"""Statements that put an output together from its fields' values, absent ones as the examples show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.extract.leaves import Absent
from loopai_runtime.synthesis.learners.extract.writing.names import quoted

if TYPE_CHECKING:
    from loopai_runtime.synthesis.learners.extract.leaves import Path, Shape


def body(shape: Shape) -> str:
    """The body of a function of `values`, a dict by the fields' names."""
    if shape.leaves[0].path == ():
        return f"    return values[{quoted(shape.leaves[0].name)}] or []"
    if _is_flat(shape):
        pairs = ", ".join(f"{quoted(leaf.path[0])}: {_shown(leaf.name, leaf.nothing)}" for leaf in shape.leaves)
        if len(pairs) < 90:
            return f"    return {{{pairs}}}"
        rows = "\n".join(
            f"        {quoted(leaf.path[0])}: {_shown(leaf.name, leaf.nothing)}," for leaf in shape.leaves
        )
        return f"    return {{\n{rows}\n    }}"
    out = ["    output = {}"]
    _object((), "output", shape, out, "    ")
    return "\n".join([*out, "    return output"])


def _is_flat(shape: Shape) -> bool:
    """Whether every output has every field, and no field is an object."""
    return all(len(leaf.path) == 1 and leaf.absent is not Absent.MISSING for leaf in shape.leaves)


def _shown(name: str, nothing: object) -> str:
    """A value, or what stands for none."""
    value = f"values[{quoted(name)}]"
    return value if nothing is None else f"{quoted(nothing)} if {value} is None else {value}"


def _object(path: Path, name: str, shape: Shape, out: list[str], indent: str) -> None:
    """Statements that fill the object at a path."""
    size = len(path)
    done = set()
    for leaf in shape.leaves:
        if leaf.path[:size] != path or leaf.path[size] in done:
            continue
        key = leaf.path[size]
        done.add(key)
        below = (*path, key)
        if leaf.path != below:
            _inner(below, name, shape, out, indent)
        elif leaf.absent is Absent.MISSING:
            value = f"values[{quoted(leaf.name)}]"
            out += [f"{indent}if {value} is not None:", f"{indent}    {name}[{quoted(key)}] = {value}"]
        else:
            out.append(f"{indent}{name}[{quoted(key)}] = {_shown(leaf.name, leaf.nothing)}")


def _inner(path: Path, above: str, shape: Shape, out: list[str], indent: str) -> None:
    """Statements for an object in an object, which may vanish with its fields."""
    name = f"{above}_{len(out)}"
    how = shape.vanishing.get(path)
    if how is not None:
        if how is Absent.NULL:
            out.append(f"{indent}{above}[{quoted(path[-1])}] = None")
        below = [leaf.name for leaf in shape.leaves if leaf.path[: len(path)] == path]
        out.append(f"{indent}if any([values[name] is not None for name in {below!r}]):")
        indent += "    "
    out.append(f"{indent}{name} = {above}[{quoted(path[-1])}] = {{}}")
    _object(path, name, shape, out, indent)

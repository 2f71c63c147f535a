"""What things are called in a program, and text written so that it can stand in one."""

from __future__ import annotations

import builtins
import itertools
import keyword
import re
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.extract import reading, tagging
from loopai_runtime.synthesis.learners.extract.recognise import RECOGNISERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopai_runtime.synthesis.learners.extract.leaves import Leaf, Path

_TAKEN = {
    *dir(reading),
    *dir(tagging),
    *dir(builtins),
    *keyword.kwlist,
    *["run", "score", "explain", "fields", "build", "text", "texts", "values", "struct", "math"],
}


def functions(leaves: Sequence[Leaf], prefix: str) -> list[str]:
    """A name that a function may have, for each field."""
    names: list[str] = []
    for leaf in leaves:
        name = (
            re.sub(r"\W|^(?=\d)", "_", prefix + "_".join(leaf.path), flags=re.ASCII).strip("_").lower() or "items"
        )
        while name in _TAKEN or name in names:
            name += "_field"
        names.append(name)
    return names


def groups(pattern: str, names: Mapping[int, str]) -> str:
    """A format's pattern with its groups called as the fields are."""
    return re.sub(r"\(\?P(<|=)f(\d+)", lambda group: f"(?P{group[1]}{names[int(group[2])]}", pattern)


def parts(pattern: str) -> list[str]:
    """A format's pattern: each field, with what stands between it and the next."""
    cuts = [0, *[found.start() for found in re.finditer(r"(?:\(\?=)?\(\?P<\w+>", pattern)][1:], len(pattern)]
    return [pattern[a:b] for a, b in itertools.pairwise(cuts)]


def alternatives(pattern: str) -> list[str]:
    """A long pattern, cut before alternatives that look at what is around them."""
    return re.split(r"(?=\|\(\?<)", pattern) if len(pattern) > 90 else [pattern]


def regex(pattern: str) -> str:
    """A pattern as a raw literal where that is possible."""
    if pattern.isprintable() and '"' not in pattern and not pattern.endswith("\\"):
        return f'r"{pattern}"'
    return f"r'{pattern}'" if pattern.isprintable() and "'" not in pattern else repr(pattern)


def recognisers(pattern: str) -> list[str]:
    """The known kinds of things that a pattern looks for; at most one, as rules are made."""
    return [name for name, known in RECOGNISERS.items() if f"(?:{known})" in pattern][:1]


def constant(recogniser: str) -> str:
    return re.sub(r"\W+", "_", recogniser).upper()


def recognised(pattern: str) -> str:
    """A pattern as a literal, a known kind of thing in it by its name."""
    for name in recognisers(pattern):
        before, _, after = pattern.partition(f"(?:{RECOGNISERS[name]})")
        return f"{regex(before)} + {constant(name)} + {regex(after)}"
    return regex(pattern)


def quoted(value: object) -> str:
    """A value as Python, with double quotes where that reads well."""
    plain = repr(value)
    if isinstance(value, str) and plain[0] == "'" and '"' not in plain:
        return f'"{plain[1:-1]}"'
    return plain


def plain(text: str) -> str:
    """A text that may stand in a docstring."""
    shown = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return shown[:200].replace("\\", "/").replace('"', "'").rstrip(": ")


def path(keys: Path) -> str:
    """A path as a tuple."""
    return f"({', '.join(map(quoted, keys))}{',' * (len(keys) == 1)})"


def where(path: Path) -> str:
    return f"the text {'.'.join(path)!r}" if path else "the input"

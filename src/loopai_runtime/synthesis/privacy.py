"""What no program may contain: personal data, and from so many examples on what too few of them have.

A learner asks before it takes a text for a constant; whatever is written is looked through once more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from loopai_runtime import jsonl
from loopai_runtime.redaction import find

SUPPORTED_FROM = 200
"""Examples from which on a constant must occur in several; with fewer, one is enough."""

Forbidden: TypeAlias = Callable[[str | int], bool]

# A class of characters, `\\d` and the like stand for what is not known; other escapes for the character itself.
_PATTERN = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\([^A-Za-z0-9])|\\.", re.DOTALL)

_SIGNS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Admission:
    """What is let into a program: nothing `forbidden`, nothing that fewer than `least` distinct inputs have."""

    forbidden: Forbidden | None = None
    least: int = 1

    def admits(self, constant: Any) -> bool:
        """Whether a text, a number or other JSON may stand in a program. A regular expression counts as the text
        that it spells."""
        if self.forbidden is None:
            return True
        if not isinstance(constant, str | int):
            constant = jsonl.dumps(constant)
        return not any(map(self.forbidden, {constant, spelled(constant)}))

    def admits_code(self, source: str) -> bool:
        """Whether nothing in a piece of Python is forbidden."""
        return self.forbidden is None or all(self.admits(constant) for _, constant in constants(source))

    def admits_outputs(self, inputs: Sequence[str], outputs: Sequence[str]) -> bool:
        """Whether no output but a copied one tells personal data.

        What all outputs tell though some input does not, written in whatever way, can only come from the program,
        in however small pieces.
        """
        if self.forbidden is None or not self.forbidden(outputs[0]):
            return True
        told = {outputs[0][one.start : one.end] for one in find(outputs[0])}
        told = {text for text in told if all(text in output for output in outputs)}
        return all(_bare(text) in _bare(given) for text in told for given in inputs)


def _bare(text: str) -> str:
    return _SIGNS.sub("", text).casefold()


ANYTHING = Admission()


def spelled(constant: str | int) -> str | int:
    r"""The text that a regular expression spells: `bob@example\.com` is an address, `\w+@example\.com` none."""
    if not isinstance(constant, str) or "\\" not in constant:
        return constant
    return _PATTERN.sub(lambda found: found[1] or " ", constant)


def constants(source: str) -> Iterator[tuple[int, str | int]]:
    """Each text and whole number of a program with its line, long texts line by line; of a table only what its
    lines are about, without their weights."""
    tree = ast.parse(source)
    table, width = _table(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or isinstance(node.value, bool):
            continue
        if isinstance(node.value, int):
            yield node.lineno, node.value
        elif isinstance(node.value, str):
            several = node.end_lineno != node.lineno
            for at, line in enumerate(node.value.split("\n")):
                for text in line[width:].split("\t") if node is table else [line]:
                    yield node.lineno + (at if several else 0), text


def _table(tree: ast.Module) -> tuple[ast.expr | None, int]:
    """The text ROWS of a classifier or tagger, and how many characters of each line are weights."""
    named = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    labels, moves = named.get("LABELS"), named.get("MOVES")
    if isinstance(labels, ast.List):
        return named.get("ROWS"), len(labels.elts) + 1
    return named.get("ROWS"), len(moves.elts) - 1 if isinstance(moves, ast.List) else 0

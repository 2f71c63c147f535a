"""Programs written out: the steps as people would write them, and of the helpers only what the steps need."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.dsl import library
from loopai_runtime.synthesis.dsl.atoms import Atom
from loopai_runtime.synthesis.dsl.conditions import Decision
from loopai_runtime.synthesis.dsl.views import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.synthesis.dsl.search import Program

_WIDTH = 100


@cache
def _helpers() -> dict[str, str]:
    """The source of each function and constant of the library."""
    source = inspect.getsource(library)
    found = {}
    for node in ast.parse(source).body:
        text = ast.get_source_segment(source, node) or ""
        if isinstance(node, ast.FunctionDef):
            found[node.name] = text
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = text
    return found


def _needed(body: str) -> list[str]:
    """The helpers that a text calls, and those that they call, in the library's order."""
    helpers = _helpers()
    wanted: set[str] = set()
    open_ends = [body]
    while open_ends:
        text = open_ends.pop()
        named = set(re.findall(r"\b([a-z]\w*)\(", text)) | set(re.findall(r"\b[A-Z]+\b", text))
        for name in named & helpers.keys() - wanted:
            wanted.add(name)
            open_ends.append(helpers[name])
    return [name for name in helpers if name in wanted]


def emit(
    name: str,
    variables: dict[str, str | None],
    program: Program | Decision,
    rival: Program | Decision | None,
    examples: int,
    confidence: float,
    shapes: Sequence[str],
    doubt: float,
) -> str:
    """The whole program. `variables` names each argument's property; a bare string has none."""
    arguments = ", ".join(f"{variable}: str" for variable in variables)
    parts = [
        _function("steps", arguments, "What each step is, and the part of the output that it gives.", program)
    ]
    if rival is not None:
        says = "The next best reading of the examples: where it answers otherwise, one of the two is wrong."
        parts.append(_function("second_opinion", arguments, says, rival))
    body = "\n\n\n".join(parts)
    helpers = [_helpers()[one] for one in _needed(body)]
    constants = [text for text in helpers if not text.startswith("def ")]
    functions = [text for text in helpers if text.startswith("def ")]
    rest = _REST_RIVAL if rival is not None else _REST
    code = "\n\n\n".join([*functions, body, _columns(variables), rest])
    used = set(re.findall(r"\b[A-Za-z_]\w*\b", code))
    head = [
        f'"""{_docstring(name)}',
        "",
        f"Learned from {examples} examples, all of which it reproduces. Standard library alone; defines run,",
        "score and explain.",
        '"""',
        "",
        *_imports(used),
        "",
        "# The probability that this is right on every input, and by how much an unknown kind of input lowers it.",
        f"CONFIDENCE = {confidence:.3f}",
        f"UNSEEN = {doubt:.2f}",
        "# What the inputs of the examples looked like: words are *, numbers are #.",
        _list("SHAPES", shapes),
        *constants,
    ]
    return "\n".join(head) + "\n\n\n" + code + "\n"


def _docstring(name: str) -> str:
    return re.sub(r'["\\]', "", name) + ": one text made from others."


def _imports(used: set[str]) -> list[str]:
    names = [name for name in ("date", "timedelta") if name in used]
    lines = ["import re", *(["import unicodedata"] if "unicodedata" in used else [])]
    if names:
        lines.append(f"from datetime import {', '.join(names)}")
    if "Decimal" in used:
        lines.append("from decimal import Decimal")
    return [*lines, "from typing import Any"]


def _list(name: str, items: Sequence[str]) -> str:
    inner = ", ".join(map(quote, items))
    if len(inner) < _WIDTH - 12:
        return f"{name} = [{inner}]"
    return f"{name} = [\n" + "".join(f"    {quote(item)},\n" for item in items) + "]"


def _function(name: str, arguments: str, says: str, program: Program | Decision) -> str:
    lines = [f"def {name}({arguments}) -> list[tuple[str, str]]:", f'    """{says}"""']
    return _renamed("\n".join([*lines, *("    " + line for line in _body(program, []))]))


def _body(program: Program | Decision, because: list[tuple[str, str]]) -> list[str]:
    if isinstance(program, Decision):
        lines = []
        for test, branch in program.branches:
            lines.append(f"if {test.source}:")
            lines += ["    " + line for line in _body(branch, [(f"since {test.says}", quote(""))])]
        return lines + _body(program.otherwise, [("since nothing else holds", quote(""))])
    lets = {name: source for piece in program.pieces if isinstance(piece, Atom) for name, source in piece.lets}
    pairs = because + [
        (piece.says, piece.source) if isinstance(piece, Atom) else ("as in the examples", quote(piece))
        for piece in program.pieces
    ]
    steps = [f"    ({quote(says)}, {source})," for says, source in pairs]
    return [*(f"{name} = {source}" for name, source in lets.items()), "return [", *steps, "]"]


def _renamed(code: str) -> str:
    """The search numbers its variables; in a program they are `day`, `day2`, … in order of appearance."""
    names: dict[str, str] = {}
    for found in re.finditer(r"\b(day|time|slot)_\d\w*\b", code):
        if found.group() not in names:
            same = sum(one.rstrip("0123456789") == found[1] for one in names.values())
            names[found.group()] = found[1] + (str(same + 1) if same else "")
    return re.sub(r"\b(?:day|time|slot)_\d\w*\b", lambda found: names[found.group()], code)


def _columns(variables: dict[str, str | None]) -> str:
    if list(variables.values()) == [None]:
        values = "[text_of(input_data)]"
    else:
        values = (
            "[" + ", ".join(f"text_of(input_data.get({quote(prop or '')}))" for prop in variables.values()) + "]"
        )
    return f'''def text_of(value: Any) -> str:
    """A value as text; nothing is the empty text."""
    return value if isinstance(value, str) else "" if value is None else str(value)


def columns(input_data: Any) -> list[str]:
    """The texts that the program works on."""
    return {values}'''


_REST = '''def answer(reading: Any, values: list[str]) -> Any:
    """What a reading makes of the texts; None where something that it needs is not there."""
    try:
        return "".join([part for _, part in reading(*values)])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def shape(values: list[str]) -> str:
    """What texts look like: words become *, numbers #."""
    return re.sub(r"\\d+", "#", re.sub(r"[^\\W\\d_]+", "*", " | ".join(values)))


def run(input_data: Any) -> str:
    """The output; empty where a part of it is not there."""
    return answer(steps, columns(input_data)) or ""


def score(input_data: Any) -> tuple[str, float]:
    """The output, and the probability that it is right."""
    values = columns(input_data)
    output = answer(steps, values)
    if output is None:
        return "", 0.0
    confidence = CONFIDENCE if shape(values) in SHAPES else CONFIDENCE * UNSEEN
    return output, confidence


def explain(input_data: Any) -> list[dict[str, str]]:
    """Step by step, how the output comes about."""
    values = columns(input_data)
    if answer(steps, values) is None:
        return [{"step": "a part that the output needs is not in the input", "gives": ""}]
    return [{"step": says, "gives": part} for says, part in steps(*values)]'''

_REST_RIVAL = _REST.replace(
    "    return output, confidence\n",
    "    if answer(second_opinion, values) != output:\n        confidence /= 2\n    return output, confidence\n",
)

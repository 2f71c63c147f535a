"""Change one value in a YAML file's text and nothing else: comments, order, quotes and blank lines stay.

The edit is made in the text at the places that PyYAML's nodes mark, then read back: a result that does not say
exactly the old data with the one key changed is refused rather than written.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from loopai_runtime import yamldoc
from loopai_runtime.errors import ConfigError, DocumentError, Fault

INDENT = 2
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")


def set_value(text: str, key: str, value: str | float | bool | None, file: str) -> str:
    """`text` with the dotted `key` set to `value`, its sections made where they are missing.

    Raises ConfigError if the text is not valid YAML, or is laid out so that it has to be edited by hand.
    """
    before = yamldoc.parse(text, file, ConfigError).data
    names = key.split(".")
    try:
        edited = _edit(text, names, scalar(value))
        as_wanted = edited is not None and yamldoc.parse(edited, file).data == _with(before, names, value)
    except (DocumentError, yaml.YAMLError):
        as_wanted = False
    if edited is None or not as_wanted:
        hint = f"write {names[-1]}: {scalar(value)} into it by hand"
        raise ConfigError(
            [Fault("this file's layout cannot be edited by a program", file, path=f"$.{key}")], hint=hint
        )
    return edited


def scalar(value: str | float | bool | None) -> str:
    """How a value is written in YAML, inside braces too."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and yamldoc.parse(value, "").data == value:
        return value
    return json.dumps(value, ensure_ascii=not str(value).isprintable(), allow_nan=False)


def _with(data: Any, names: list[str], value: Any) -> dict[str, Any]:
    first, *rest = names
    data = data or {}
    return {**data, first: _with(data.get(first), rest, value) if rest else value}


def _edit(text: str, names: list[str], written: str) -> str | None:
    """The edited text, or None where this place cannot be edited."""
    newline = "\r\n" if "\r\n" in text else "\n"
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        start = text if not text or text.endswith("\n") else text + newline
        return start + newline.join(_block(names, written, 0)) + newline
    while isinstance(node, yaml.MappingNode):
        first, *rest = names
        entry = next(((key, value) for key, value in node.value if key.value == first), None)
        if entry is None:
            return _add(text, node, names, written, newline)
        key, value = entry
        if value.start_mark.index < key.end_mark.index:
            return None  # an alias: its text stands elsewhere and serves others too
        if isinstance(value, yaml.ScalarNode):
            if rest and value.tag != "tag:yaml.org,2002:null":
                return None  # a section is needed where a value stands
            return _fill(text, node, key, value, rest, written, newline)
        node, names = value, rest
        if not names:
            return None
    return None


def _fill(
    text: str,
    parent: yaml.MappingNode,
    key: yaml.ScalarNode,
    value: yaml.ScalarNode,
    rest: list[str],
    written: str,
    newline: str,
) -> str:
    """Put the new value, or the new section, where a scalar or nothing stands."""
    start, end = value.start_mark.index, _end(value)
    before = text[:start] if text[start - 1] in " \t" else text[:start] + " "
    if not rest:
        return before + written + text[end:]
    if parent.flow_style:
        return before + "{" + _flow(rest, written) + "}" + text[end:]
    return _after_line(
        text[:start] + text[end:], start, _block(rest, written, key.start_mark.column + INDENT), newline
    )


def _add(text: str, node: yaml.MappingNode, names: list[str], written: str, newline: str) -> str:
    """A new key behind the last one of a mapping."""
    if node.flow_style:
        end = node.end_mark.index - 1
        before = text[:end].rstrip()
        return before + ("" if before[-1] in "{," else ", ") + _flow(names, written) + text[end:]
    return _after_line(text, _end(node), _block(names, written, node.value[0][0].start_mark.column), newline)


def _end(node: yaml.Node) -> int:
    """Where a node's text ends; PyYAML counts blank lines and comments behind a block to it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return max(map(_end, last)) if isinstance(last, tuple) else _end(last)
    start, end = node.start_mark.index, node.end_mark.index
    return start + len(str(node.start_mark.buffer)[start:end].rstrip())


def _after_line(text: str, position: int, lines: list[str], newline: str) -> str:
    """Insert whole lines behind the line of `position`."""
    end = text.find(newline, position)
    end = len(text) if end < 0 else end
    return text[:end] + "".join(newline + line for line in lines) + (text[end:] or newline)


def _block(names: list[str], written: str, indent: int) -> list[str]:
    lines = [" " * (indent + INDENT * depth) + f"{name}:" for depth, name in enumerate(names)]
    lines[-1] += f" {written}"
    return lines


def _flow(names: list[str], written: str) -> str:
    first, *rest = names
    return f"{first}: " + ("{" + _flow(rest, written) + "}" if rest else written)

"""CSV cells as the JSON values that a schema asks for."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}
_IMPLIED = {"properties": "object", "required": "object", "items": "array"}
_MAX_REFERENCES = 20


def converter(schema: Any, what: str, root: Any = None) -> Callable[[str], Any]:
    """A function from a cell to a value of `schema`, which stands in the schema `root`.

    It raises ValueError with a sentence that names `what`. Where a schema allows several types, an empty cell
    is null, then numbers, truth values and JSON are taken for what they look like, and text is what remains.
    """
    found = types(schema, root) or {"string"}
    if found == {"string"}:
        return lambda cell: cell
    members = schema.get("enum") if isinstance(schema, dict) else None
    return lambda cell: _convert(cell, found, what, members if isinstance(members, list) else None)


def types(schema: Any, root: Any = None) -> set[str]:
    """The JSON types that a schema allows; none where it does not say."""
    return _types(schema, root if root is not None else schema, _MAX_REFERENCES)


def _types(schema: Any, root: Any, left: int) -> set[str]:
    if not isinstance(schema, dict) or left == 0:
        return set()
    kind = schema.get("type")
    if isinstance(kind, str):
        return {kind}
    if isinstance(kind, list):
        return {str(name) for name in kind}
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        return {_NAMES.get(type(value), "object") for value in values}
    if isinstance(schema.get("$ref"), str):
        return _types(_resolve(schema["$ref"], root), root, left - 1)
    found = {kind for key, kind in _IMPLIED.items() if key in schema}
    for key in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(key, []):
            found |= _types(part, root, left - 1)
    return found


def _resolve(reference: str, root: Any) -> Any:
    """What a local reference (`#/$defs/price`) points to; None where that is nothing."""
    if not reference.startswith("#"):
        return None
    for part in reference[1:].split("/")[1:]:
        root = root.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(root, dict) else None
    return root


def _convert(cell: str, kinds: set[str], what: str, members: Sequence[Any] | None) -> Any:
    for value in _readings(cell, kinds):
        if members is None or any(jsonl.equal(value, member) for member in members):
            return value
    if "string" in kinds:
        return cell
    shown = cell if len(cell) <= 40 else cell[:40] + "…"
    wanted = f"one of {jsonl.dumps(members)[1:-1]}" if members else " or ".join(sorted(kinds))
    raise ValueError(f"{what}: {shown!r} is not {wanted}")


def _readings(cell: str, kinds: set[str]) -> list[Any]:
    """What the cell may mean beside the text it is, best first."""
    text = cell.strip()
    found: list[Any] = []
    if "null" in kinds and text in ("", "null"):
        found.append(None)
    whole = _INTEGER.fullmatch(text) is not None
    if whole and not kinds.isdisjoint(("integer", "number")):
        found.append(int(text))
    elif not kinds.isdisjoint(("integer", "number")) and _NUMBER.fullmatch(text):
        number = float(text)
        if abs(number) != float("inf") and ("number" in kinds or number.is_integer()):
            found.append(number if "number" in kinds else int(number))
    if "boolean" in kinds and text.lower() in ("true", "false"):
        found.append(text.lower() == "true")
    if (text[:1] == "{" and "object" in kinds) or (text[:1] == "[" and "array" in kinds):
        with suppress(InputError):
            found.append(jsonl.loads(text))
    return found

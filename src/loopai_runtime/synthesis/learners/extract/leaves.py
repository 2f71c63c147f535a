"""The fields of an output: where each stands in the object, what it holds, and how it shows that it is absent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

JSON: TypeAlias = Any
Path: TypeAlias = tuple[str, ...]


class Absent(Enum):
    """What an example shows where a field has no value."""

    MISSING = "left out"
    NULL = "null"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field that is not an object. `many`: a list of values, or of objects."""

    path: Path
    kind: str  # string, integer, number, boolean, object (in a list) or any
    many: bool
    absent: Absent
    optional: bool  # some example has no value here

    @property
    def name(self) -> str:
        return ".".join(self.path) or "items"

    def values(self, output: JSON) -> list[JSON]:
        """The values in an output: none where it is absent, one, or a list's."""
        for key in self.path:
            output = output.get(key) if isinstance(output, dict) else None
        if self.many:
            return output if isinstance(output, list) else []
        return [] if output is None or output == "" else [output]

    @property
    def nothing(self) -> JSON:
        """The value that stands for none, unless the field is left out."""
        if self.absent is Absent.EMPTY:
            return [] if self.many else ""
        return None


@dataclass(frozen=True, slots=True)
class Shape:
    """All leaves of a task's outputs, in the order of the examples, and objects that vanish with their leaves."""

    leaves: tuple[Leaf, ...]
    vanishing: dict[Path, Absent]

    def assemble(self, values: Sequence[JSON | None]) -> JSON:
        """An output from each leaf's value (a list where it has many); None is absent."""
        if self.leaves[0].path == ():
            return [] if values[0] is None else values[0]
        output: dict[str, Any] = {}
        gone: set[Path] = set()
        for path, how in self.vanishing.items():
            below = [v for leaf, v in zip(self.leaves, values, strict=True) if leaf.path[: len(path)] == path]
            if all(value is None for value in below):
                gone.add(path)
                if how is Absent.NULL:
                    _put(output, path, None)
        for leaf, value in zip(self.leaves, values, strict=True):
            if any(leaf.path[: len(path)] == path for path in gone):
                continue
            if value is not None:
                _put(output, leaf.path, value)
            elif leaf.absent is not Absent.MISSING:
                _put(output, leaf.path, leaf.nothing)
            else:
                _put(output, leaf.path[:-1], {})
        return output


def _put(output: dict[str, Any], path: Path, value: JSON) -> None:
    for key in path[:-1]:
        output = output.setdefault(key, {})
    if path and not (value == {} and path[-1] in output):
        output[path[-1]] = value


def shape_of(outputs: Sequence[JSON], schema: dict[str, Any]) -> Shape:
    """Read the fields off the examples; the schema adds types, and fields that no example has."""
    seen: dict[Path, None] = {}
    for output in outputs:
        seen.update(dict.fromkeys(_paths(output)))
    for path in _schema_paths(schema):
        seen.setdefault(path)
    objects = {path[:size] for path in seen for size in range(len(path))}
    paths = [path for path in seen if path not in objects or path == ()]
    paths = [path for path in paths if path != () or len(paths) == 1]
    habit = _habit(outputs, paths)
    leaves = [_leaf(path, outputs, schema_at(schema, path), habit) for path in paths]
    vanishing = {path: how for path in sorted(objects - {()}) if (how := _vanishes(path, outputs)) is not None}
    return Shape(tuple(leaves), vanishing)


def _paths(output: JSON, above: Path = ()) -> Iterable[Path]:
    if isinstance(output, dict) and (output or not above):
        for key, value in output.items():
            yield from _paths(value, (*above, key))
    else:
        yield above


def _schema_paths(schema: dict[str, Any], above: Path = ()) -> Iterable[Path]:
    for key, inner in (schema.get("properties") or {}).items():
        if isinstance(inner, dict) and inner.get("properties"):
            yield from _schema_paths(inner, (*above, key))
        else:
            yield (*above, key)


def schema_at(schema: dict[str, Any], path: Path) -> dict[str, Any]:
    """The schema of a field, with `required_here` where it may not be left out."""
    required = True
    for key in path:
        required = required and key in schema.get("required", ())
        inner = (schema.get("properties") or {}).get(key)
        schema = inner if isinstance(inner, dict) else {}
    return {**schema, "required_here": required}


MISSING = object()


def _at(output: JSON, path: Path) -> Any:
    for key in path:
        if not isinstance(output, dict) or key not in output:
            return MISSING
        output = output[key]
    return output


def _how(value: Any) -> Absent | None:
    if value is MISSING:
        return Absent.MISSING
    if value is None:
        return Absent.NULL
    return Absent.EMPTY if value in ("", []) else None


def _habit(outputs: Sequence[JSON], paths: Sequence[Path]) -> Absent | None:
    """How the task shows absence most often, for fields that no example shows absent."""
    shown = Counter(how for output in outputs for path in paths if (how := _how(_at(output, path))))
    return shown.most_common(1)[0][0] if shown else None


def _vanishes(path: Path, outputs: Sequence[JSON]) -> Absent | None:
    ways = Counter(how for output in outputs if (how := _how(_at(output, path))) and how is not Absent.EMPTY)
    return ways.most_common(1)[0][0] if ways else None


def _leaf(path: Path, outputs: Sequence[JSON], schema: dict[str, Any], habit: Absent | None) -> Leaf:
    values = [_at(output, path) for output in outputs]
    ways = Counter(
        how
        for output, value in zip(outputs, values, strict=True)
        if (how := _how(value)) and (how is not Absent.MISSING or _at(output, path[:-1]) not in (MISSING, None))
    )
    there = [value for value in values if _how(value) is None]
    many = any(isinstance(value, list) for value in values) or _types(schema)[:1] == ["array"]
    inner = schema.get("items") if many and isinstance(schema.get("items"), dict) else schema
    kind = _kind(
        [item for value in there for item in (value if isinstance(value, list) else [value])], inner or {}
    )
    kind = "any" if kind == "object" and not many else kind
    absent = ways.most_common(1)[0][0] if ways else _unshown(schema, kind, many, habit)
    return Leaf(path, kind, many, absent, optional=bool(ways))


def _unshown(schema: dict[str, Any], kind: str, many: bool, habit: Absent | None) -> Absent:
    """How to show absence where no example does: as its siblings do, if the schema lets it."""
    nullable = "null" in _types(schema)
    empties = many or kind == "string"
    if habit is Absent.EMPTY and empties:
        return Absent.EMPTY
    if habit is Absent.NULL and (nullable or not schema.get("type")):
        return Absent.NULL
    if habit is Absent.MISSING and not schema.get("required_here"):
        return Absent.MISSING
    if nullable:
        return Absent.NULL
    return Absent.EMPTY if empties else Absent.MISSING


def _types(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type")
    return [kind] if isinstance(kind, str) else list(kind or ())


def _kind(values: Sequence[JSON], schema: dict[str, Any]) -> str:
    if all(isinstance(value, dict) for value in values) and (values or _types(schema)[:1] == ["object"]):
        return "object"
    for kind in _types(schema):
        if kind in ("string", "integer", "number", "boolean"):
            return kind
    if values and all(isinstance(value, bool) for value in values):
        return "boolean"
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer"
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "number"
    return "string" if all(isinstance(value, str) for value in values) else "any"

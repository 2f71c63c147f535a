"""JSON Schema: the only importer of jsonschema-rs. Compiled once, asked often, never reaching for the network."""

from __future__ import annotations

import json
import re
from typing import Any

from loopai_runtime.errors import Fault
from loopai_runtime.yamldoc import child

MAX_FAULTS = 20

_DRAFTS = ("draft/2020-12/schema", "draft/2019-09/schema", "draft-07/schema", "draft-06/schema", "draft-04/schema")


class SchemaFault(ValueError):
    """A schema that is itself not valid; `path` is the JSON path inside it."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


def _no_remote(uri: str) -> Any:
    raise ValueError(f"{uri} lies outside the schema; only local references (#/$defs/…) are followed")


class Schema:
    """A compiled schema. Raises SchemaFault if it is not one, or refers to something outside itself."""

    def __init__(self, schema: dict[str, Any]) -> None:
        import jsonschema_rs as rs

        self.schema = schema
        _require_known_draft(schema)
        try:
            rs.meta.validate(schema)
            # The linear-time engine: a pattern in a schema must not become a way to stop the server.
            self._validator = rs.validator_for(
                schema,
                retriever=_no_remote,
                pattern_options=rs.RegexOptions(size_limit=1 << 20),
                validate_formats=True,
            )
        except rs.ValidationError as exc:
            raise SchemaFault(_message(exc), _path(exc.instance_path)) from None
        except (ValueError, rs.ReferencingError) as exc:
            raise SchemaFault(str(exc), "$") from None

    def accepts(self, value: Any) -> bool:
        return bool(self._validator.is_valid(value))

    def faults(self, value: Any) -> list[Fault]:
        """What is wrong with `value`, each with its JSON path; at most 20."""
        found = []
        for error in self._validator.iter_errors(value):
            found.append(Fault(_message(error), path=_path(error.instance_path)))
            if len(found) == MAX_FAULTS:
                break
        return found


def _require_known_draft(schema: dict[str, Any]) -> None:
    """The library would look an unknown `$schema` up in the network."""
    named = schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")
    text = named.removesuffix("#").partition("://json-schema.org/")[2] if isinstance(named, str) else ""
    if text not in _DRAFTS:
        raise SchemaFault(f"{named!r} is no known draft of JSON Schema; leave it out for 2020-12", "$.$schema")


def _path(parts: list[str | int]) -> str:
    path = "$"
    for part in parts:
        path = child(path, part)
    return path


def _message(error: Any) -> str:
    text = str(error.message)
    shown = text if len(text) <= 300 else text[:180] + " … " + text[-100:]
    return shown + _advice(error)


def _advice(error: Any) -> str:
    """What was probably meant: a number or truth value for the text that looks the same, or the reverse."""
    kind, value = error.kind, error.instance
    if kind.name == "format" and kind.value == "regex":
        return "; patterns have no look-around and no back-references, and are small"
    if kind.name == "anyOf" and error.instance_path[-1:] == ["type"]:
        return "; the types are string, number, integer, boolean, array, object and null"
    if kind.name not in ("type", "enum") or isinstance(value, dict | list) or value is None:
        return ""
    if not isinstance(value, str):
        written = json.dumps(value)
        meant = "string" in kind.types if kind.name == "type" else written in kind.options
        return f'; quote it: "{written}"' if meant else ""
    if kind.name == "type":
        meant = _is_number(value) and not {"integer", "number"}.isdisjoint(kind.types)
    else:
        meant = any(json.dumps(option) == value for option in kind.options if not isinstance(option, str))
    return "; write it without quotes" if meant else ""


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) is not None

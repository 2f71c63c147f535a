"""JSON Schema: the only importer of jsonschema-rs. Compiled once, asked often, never reaching for the network."""

from __future__ import annotations

from typing import Any

from loopai_runtime.errors import Fault
from loopai_runtime.yamldoc import child

MAX_FAULTS = 20


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


def _path(parts: list[str | int]) -> str:
    path = "$"
    for part in parts:
        path = child(path, part)
    return path


def _message(error: Any) -> str:
    text = str(error.message)
    return text if len(text) <= 300 else text[:180] + " … " + text[-100:]

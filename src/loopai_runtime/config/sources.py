"""Where settings come from: the command line's flags, `LOOPAI_*` variables, one YAML file.

Each source becomes a `Layer` of dotted keys (`telemetry.privacy_mode`) with the place each value was given at.
`${NAME}` inside a text of the file stands for an environment variable, `$${` for a plain `${`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime import yamldoc
from loopai_runtime.errors import ConfigError, Fault, NotFound, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

PREFIX = "LOOPAI_"
SHORT_NAMES = {
    "LOOPAI_TASK_ID": "runtime.task_id",
    "LOOPAI_RUNTIME_MODE": "runtime.mode",
    "LOOPAI_API_KEY": "cloud.api_key",
    "LOOPAI_LOG_LEVEL": "logging.level",
}
DATA_DIR_VARIABLE = "LOOPAI_DATA_DIR"
DATA_DIR_KEY = "storage.data_dir"

NOT_SET = "is not set"

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was given: `name` is the variable or the file, `via` the variables a file's text refers to."""

    source: Literal["flag", "environment", "file", "default"]
    name: str = ""
    line: int | None = None
    via: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.source != "file":
            return f"{self.source} {self.name}".rstrip()
        place = f"{self.name}:{self.line}" if self.line else self.name
        return f"{place} (from {', '.join(self.via)})" if self.via else place

    def fault(self, key: str, message: str) -> Fault:
        if self.source == "file":
            return Fault(message, self.name, self.line, f"$.{key}")
        return Fault(message, path=f"{self.name} ({key})" if self.name else key)


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Given:
    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source gives, what is wrong with it, and what is only worth a warning."""

    values: dict[str, Given] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


def nearest(key: str, keys: Collection[str]) -> str | None:
    """The key or section that was probably meant: a slip of spelling, or the right name in the wrong section."""
    known = {".".join(key.split(".")[:depth]) for key in keys for depth in range(1, key.count(".") + 2)}
    section, _, last = key.rpartition(".")
    siblings = {name.rpartition(".")[2]: name for name in sorted(known) if name.rpartition(".")[0] == section}
    elsewhere = [name for name in sorted(known) if name.rpartition(".")[2] == last]
    near = [siblings[name] for name in difflib.get_close_matches(last, siblings, 1)]
    return next(iter(near + elsewhere + difflib.get_close_matches(key, known, 1)), None)


def unknown(key: str, keys: Collection[str]) -> str:
    near = nearest(key, keys)
    if near:
        return f"unknown key; did you mean {near}?"
    return f"unknown key; the sections are {', '.join(sorted({known.split('.')[0] for known in keys}))}"


def from_flags(flags: Mapping[str, Any]) -> Layer:
    """Flags under dotted keys; None means that the flag was not given."""
    return Layer({key: Given(value, Origin("flag")) for key, value in flags.items() if value is not None})


def from_environment(environ: Mapping[str, str], keys: Collection[str]) -> Layer:
    """`LOOPAI_SECTION__KEY` and the short names. An empty variable counts as not set.

    A short name gives way to the long one. Names with single underscores are left alone, since Kubernetes sets
    such (`LOOPAI_SERVICE_HOST`) by itself; one that spells a key so is worth a warning.
    """
    layer = Layer()
    flattened = {key.replace(".", "_"): key for key in keys}
    for name in sorted(environ, key=lambda name: "__" not in name):
        if not name.startswith(PREFIX) or not environ[name] or name == DATA_DIR_VARIABLE:
            continue
        rest = name.removeprefix(PREFIX).lower()
        origin = Origin("environment", name)
        if name in SHORT_NAMES:
            layer.values.setdefault(SHORT_NAMES[name], Given(environ[name], origin))
        elif "__" in rest:
            key = rest.replace("__", ".")
            if key == DATA_DIR_KEY:
                layer.faults.append(Fault(f"use {DATA_DIR_VARIABLE} instead", path=name))
            elif key in keys:
                layer.values[key] = Given(environ[name], origin)
            else:
                layer.faults.append(Fault(_unknown_variable(key, keys), path=name))
        elif rest in keys:  # a list by itself, as JSON
            layer.values[rest] = Given(environ[name], origin)
        elif rest in flattened:
            right = variable(flattened[rest])
            layer.warnings.append(Fault(f"has no effect; did you mean {right}?", path=name))
    return layer


def variable(key: str) -> str:
    """The environment variable of a key: `LOOPAI_TELEMETRY__PRIVACY_MODE`."""
    return PREFIX + key.upper().replace(".", "__")


def short_variable(key: str) -> str:
    """The variable a person would use for `key`: the short name where there is one."""
    return next((name for name, known in SHORT_NAMES.items() if known == key), variable(key))


def _unknown_variable(key: str, keys: Collection[str]) -> str:
    near = nearest(key, keys)
    return f"unknown variable; did you mean {variable(near)}?" if near else unknown(key, keys)


def read_file(path: Path, *, required: bool) -> yamldoc.Document | None:
    """The parsed file, or None where an optional one is missing. Raises NotFound, ConfigError, StorageError."""
    try:
        return yamldoc.read(path, ConfigError)
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise NotFound("no such file", where=str(path)) from None
        return None
    except IsADirectoryError:
        raise ConfigError([Fault("is a directory; a deployment.yaml is needed", str(path))]) from None
    except OSError as exc:
        hint = "fix its owner and mode, or give another with --config"
        raise StorageError(exc.strerror or str(exc), where=str(path), hint=hint) from exc


def from_file(document: yamldoc.Document, keys: Collection[str]) -> Layer:
    """The values of a deployment.yaml, not yet expanded; a section that is empty says nothing."""
    layer = Layer()
    _collect(document.data, "", document, keys, layer)
    return layer


def _collect(data: Any, key: str, document: yamldoc.Document, keys: Collection[str], layer: Layer) -> None:
    origin = Origin("file", document.file, document.line(f"$.{key}" if key else "$"))
    if key in keys:
        layer.values[key] = Given(data, origin)
    elif key and not any(known.startswith(f"{key}.") for known in keys):
        layer.faults.append(origin.fault(key, unknown(key, keys)))
    elif isinstance(data, dict):
        for name, value in data.items():
            dotted = f"{key}.{name}" if key else name
            _collect(value, dotted, document, keys, layer)
    elif data is not None:
        layer.faults.append(
            origin.fault(key, "must be a section with keys below it") if key else _no_mapping(origin)
        )


def _no_mapping(origin: Origin) -> Fault:
    return Fault("must hold sections, such as `runtime:`, with keys below them", origin.name, origin.line)


def expand(given: Given, environ: Mapping[str, str]) -> tuple[Given, list[str]]:
    """The value with `${NAME}` replaced, and what is wrong. Names appear in messages, never values."""
    if given.origin.source != "file" or not _has_reference(given.value):
        return given, []
    wrong: list[str] = []
    used: list[str] = []

    def expanded(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "${"
        if not match[2]:
            wrong.append("has `${` without `}`; write `$${` for the characters themselves")
        elif not _NAME.fullmatch(name):
            wrong.append(f"${{{name}}} does not name an environment variable")
        elif name not in environ:
            wrong.append(f"the environment variable {name} {NOT_SET}")
        else:
            used.append(name)
            return environ[name]
        return ""

    value = _in_texts(given.value, lambda text: _REFERENCE.sub(expanded, text))
    return Given(value, dataclasses.replace(given.origin, via=tuple(used))), wrong


def _has_reference(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_has_reference, inside))


def _in_texts(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _in_texts(item, change) for name, item in value.items()}
    return [_in_texts(item, change) for item in value] if isinstance(value, list) else value

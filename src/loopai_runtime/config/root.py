"""`Config`: the sections together, the rules between them, and how the sources become one."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, get_args

from pydantic import BaseModel, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from loopai_runtime import yamldoc
from loopai_runtime.config import loop, sections, sources
from loopai_runtime.config.section import Section, usable_path
from loopai_runtime.config.sections import default_data_dir
from loopai_runtime.config.sources import DATA_DIR_KEY, DATA_DIR_VARIABLE, DEFAULT, Given, Layer, Origin
from loopai_runtime.errors import ConfigError, DocumentError, Fault, UsageError
from loopai_runtime.models import PrivacyMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

CONFIG_FILE = Path("config", "deployment.yaml")  # below the data directory

_PATH_KEYS = (DATA_DIR_KEY, "server.keys_file", "storage.encryption_key_file")


class Config(Section):
    """Every setting. `Config()` is all defaults; `Config.load` reads the flags, the environment and the file."""

    runtime: sections.Runtime = sections.Runtime()
    cloud: sections.Cloud = sections.Cloud()
    execution: sections.Execution = sections.Execution()
    sandbox: sections.Sandbox = sections.Sandbox()
    sampling: sections.Sampling = sections.Sampling()
    telemetry: sections.Telemetry = sections.Telemetry()
    storage: sections.Storage = sections.Storage()
    retention: sections.Retention = sections.Retention()
    privacy: sections.Privacy = sections.Privacy()
    server: sections.Server = sections.Server()
    improvement: loop.Improvement = loop.Improvement()
    rollout: loop.Rollout = loop.Rollout()
    oracle: sections.Oracle = sections.Oracle()
    llm: sections.Llm = sections.Llm()
    central: sections.Central = sections.Central()
    webhooks: loop.Webhooks = Field(
        (), description="who is told what happens: a list of {url, secret or secret_file, events}"
    )
    logging: sections.Logging = sections.Logging()

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)
    _warnings: tuple[Fault, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _rules(self) -> Self:
        broken = [] if self.telemetry.privacy_mode is PrivacyMode.PERMISSIVE else self._only_permissive()
        if "adaptive" in self.sampling.strategies and not self.sampling.has_budget:
            needs = "max_labels_per_day, precision, or max_usd_per_month"
            broken.append(("sampling.strategy", f"adaptive follows a budget: set sampling.{needs}"))
        if broken:
            text = "; ".join(f"{key} {message}" for key, message in broken)
            raise PydanticCustomError("rules", "{text}", {"text": text, "broken": broken})
        return self

    def _only_permissive(self) -> list[tuple[str, str]]:
        message = "may be false only with telemetry.privacy_mode: permissive"
        values = {"pii_detection": self.privacy.pii_detection, "sample_only": self.privacy.sample_only}
        return [(f"privacy.{name}", message) for name, value in values.items() if not value]

    # --- reading

    @classmethod
    def load(
        cls,
        *,
        config_file: Path | None = None,
        data_dir: Path | None = None,
        flags: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Read every source, once. `flags` have dotted keys; None in them means not given.

        Raises ConfigError with every fault found, NotFound for a `config_file` that is not there, and
        StorageError where a file cannot be read.
        """
        environ = os.environ if environ is None else environ
        named = _named_data_dir(data_dir, environ)
        place = named.value if named else default_data_dir()
        document = sources.read_file(config_file or place / CONFIG_FILE, required=config_file is not None)
        file = sources.from_file(document, known_keys()) if document else Layer()
        if config_file is None:
            _ignore_data_dir(file, place)
        first = Layer({DATA_DIR_KEY: named} if named else {})
        environment = sources.from_environment(environ, known_keys())
        return cls._assemble([first, sources.from_flags(flags or {}), environment, file], environ)

    @classmethod
    def of_document(cls, document: yamldoc.Document, *, environ: Mapping[str, str] | None = None) -> Self:
        """One file by itself, whatever flags and environment would put over it. Raises ConfigError."""
        layer = sources.from_file(document, known_keys())
        return cls._assemble([layer], os.environ if environ is None else environ)

    @classmethod
    def _assemble(cls, layers: list[Layer], environ: Mapping[str, str]) -> Self:
        """One configuration of layers, the strongest first. Raises ConfigError."""
        faults = [fault for layer in layers for fault in layer.faults]
        given: dict[str, Given] = {}
        for layer in reversed(layers):
            given |= layer.values
        # Only what counts is expanded: a variable that a flag makes unnecessary may be missing.
        for key in list(given):
            item, wrong = sources.expand(given[key], environ)
            faults += [item.origin.fault(key, message) for message in wrong]
            if wrong:
                del given[key]
            else:
                given[key] = _from_its_directory(key, item)
        try:
            config = cls.model_validate(
                nested({key: item.value for key, item in (_derived(given) | given).items()})
            )
        except ValidationError as exc:
            raise ConfigError(faults + _faults(exc, given)) from None
        if faults:
            raise ConfigError(faults)
        config._origins = {key: item.origin for key, item in given.items()}
        config._warnings = tuple(warning for layer in layers for warning in layer.warnings)
        return config

    # --- asking

    @property
    def file(self) -> Path | None:
        """The file that a setting came from; None where none did."""
        named = (origin.name for origin in self._origins.values() if origin.source == "file")
        return next((Path(name) for name in named), None)

    @property
    def data_dir(self) -> Path:
        return self.storage.data_dir

    @property
    def telemetry_on(self) -> bool:
        """Whether anything may leave for the platform: wanted, and both its address and a key are there."""
        return self.telemetry.enabled and self.cloud.api_url is not None and self.cloud.api_key is not None

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What was given and has no effect."""
        return self._warnings

    def origin(self, key: str) -> Origin:
        return self._origins.get(key, DEFAULT)

    def is_set(self, key: str) -> bool:
        """Whether somebody gave this value."""
        return self.origin(key).source != "default"

    def timeout_ms(self, own: int) -> int:
        """Milliseconds for one call of a task: what was set for this deployment, else the task's own."""
        return self.execution.timeout_ms if self.is_set("execution.timeout_ms") else own

    def sampling_rate(self, own: float | None) -> float:
        """The share of a task's executions to validate: what was set for this deployment, else the task's own."""
        return self.sampling.rate if own is None or self.is_set("sampling.rate") else own

    def shown(self) -> dict[str, Any]:
        """Every key with its value as JSON, in the order of the file; of a secret only whether it is set."""
        return {
            key: self._masked(key) if isinstance(value, SecretStr) else value for key, value in _flat(self, "")
        }

    def _masked(self, key: str) -> str:
        origin = self.origin(key)
        return f"set (from {'environment' if origin.via else origin.source})"


@cache
def known_keys() -> Mapping[str, FieldInfo]:
    """Every dotted key that can be set, with its field."""
    return MappingProxyType(dict(_fields(Config, "")))


@cache
def secret_keys() -> frozenset[str]:
    """A list of webhooks is one, as their secrets stand in it."""
    kinds = (SecretStr, loop.Webhook)
    return frozenset(
        key for key, field in known_keys().items() if any(_holds(field.annotation, kind) for kind in kinds)
    )


def require_key(key: str) -> None:
    """Raises UsageError naming the nearest known key, or a section's keys."""
    if key in known_keys():
        return
    inside = [known for known in known_keys() if known.startswith(f"{key}.")]
    message = f"is a section; its keys are {', '.join(inside)}" if inside else sources.unknown(key, known_keys())
    raise UsageError(message, where=key, hint="loopai config show lists every key")


def value_of(key: str, text: str) -> str | float | bool | None:
    """What `text`, as typed, means for `key`: a number, a truth value or null where it may be one."""
    annotation = known_keys()[key].annotation
    if text in ("null", "~") and _holds(annotation, type(None)):
        return None
    if not any(_holds(annotation, wanted) for wanted in (bool, int, float)):
        return text
    try:
        value = yamldoc.parse(text, key).data
    except DocumentError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _holds(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_holds(part, wanted) for part in get_args(annotation))


def _flat(section: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in section:
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, tuple):
            yield prefix + name, [each.shown() if isinstance(each, loop.Webhook) else each for each in value]
        else:
            yield prefix + name, str(value) if isinstance(value, Path) else value


def _named_data_dir(data_dir: Path | None, environ: Mapping[str, str]) -> Given | None:
    if data_dir is not None:
        origin, path = Origin("flag", "--data-dir"), data_dir
    elif environ.get(DATA_DIR_VARIABLE):
        origin, path = Origin("environment", DATA_DIR_VARIABLE), Path(environ[DATA_DIR_VARIABLE])
    else:
        return None
    try:
        return Given(usable_path(path), origin)
    except ValueError as exc:
        raise UsageError(str(exc), where=origin.name) from None


def chosen_data_dir(data_dir: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """The data directory by flag, environment or default; a file has no say. Raises UsageError."""
    named = _named_data_dir(data_dir, os.environ if environ is None else environ)
    return named.value if named else default_data_dir()


def _ignore_data_dir(file: Layer, place: Path) -> None:
    """A data directory cannot say that it is another one: only a file given by --config may name it."""
    given = file.values.pop(DATA_DIR_KEY, None)
    if given is not None and given.value != str(place):
        message = f"has no effect in this file; the data directory is {place}"
        advice = f"choose it with --data-dir or {DATA_DIR_VARIABLE}"
        file.warnings.append(given.origin.fault(DATA_DIR_KEY, f"{message} ({advice})"))


def _from_its_directory(key: str, given: Given) -> Given:
    """A relative path in a file starts where the file is, not where the command was typed."""
    if key not in _PATH_KEYS or given.origin.source != "file" or not isinstance(given.value, str):
        return given
    path = Path(given.value)
    return given if given.value.startswith("~") else Given(Path(given.origin.name).parent / path, given.origin)


def _derived(given: Mapping[str, Given]) -> dict[str, Given]:
    """Defaults that follow from other keys."""
    derived: dict[str, Given] = {}
    mode, privacy = given.get("runtime.mode"), given.get("telemetry.privacy_mode")
    if mode is not None and mode.value == "hybrid":
        derived["rollout.auto"] = Given(True, DEFAULT)
    if privacy is not None and privacy.value == PrivacyMode.PERMISSIVE:
        derived |= {f"privacy.{name}": Given(False, DEFAULT) for name in ("pii_detection", "sample_only")}
    return {key: value for key, value in derived.items() if key not in given}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as the file has them: sections in sections."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *parents, name = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = value
    return tree


def _faults(exc: ValidationError, given: Mapping[str, Given]) -> list[Fault]:
    faults = []
    for error in exc.errors(include_url=False, include_input=False):
        if error["type"] == "rules":
            broken = error["ctx"]["broken"]
        else:
            broken = [(".".join(map(str, error["loc"])), _message(error))]
        faults += [_origin(key, given).fault(key, message) for key, message in broken]
    return faults


def _origin(key: str, given: Mapping[str, Given]) -> Origin:
    """Where a value came from, or the list that it is in."""
    while key not in given and "." in key:
        key = key.rpartition(".")[0]
    return given[key].origin


def _message(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return "must be a whole number"
        case "float_type" | "float_parsing" | "finite_number":
            return "must be a number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "string_type" | "path_type":
            return "must be a text; put it in quotes"
        case "enum" | "literal_error":
            return f"must be {context['expected']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "value_error":
            return str(context["error"])
        case _:
            return error["msg"].replace("Input should", "must", 1)

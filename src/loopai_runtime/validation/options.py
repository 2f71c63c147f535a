"""Which options go with which kind of oracle, and `${NAME}` in them."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loopai_runtime.errors import Fault, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loopai_runtime.models import OracleConfig
    from loopai_runtime.yamldoc import Document

Wrong = tuple[str, str]
"""The name of an option, empty for the oracle as a whole, and what is wrong with it."""

_ALWAYS = frozenset({"kind", "send", "max_wait_s"})
_CALLED = _ALWAYS | {"timeout_s", "concurrency", "rate", "cache", "max_usd_per_day"}
_MODEL = _CALLED | {"model", "url", "api_key", "prices", "n", "examples", "max_tokens"}
_GO_WITH: Mapping[str, frozenset[str]] = {
    "llm": _MODEL,
    "openai": _MODEL | {"headers"},
    "http": _CALLED | {"url", "api_key", "headers", "usd_per_call", "batch"},
    "command": _CALLED | {"command", "usd_per_call", "batch"},
    "labels": _ALWAYS | {"file", "input", "output"},
    "human": _ALWAYS,
}
_NEEDS = {"llm": "model", "openai": "model", "http": "url", "command": "command"}
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")


def wrong(config: OracleConfig) -> Iterator[Wrong]:
    """What stands against building the oracle, whatever the environment is."""
    for name in sorted(config.model_fields_set - _GO_WITH[config.kind]):
        there = ", ".join(sorted(_GO_WITH[config.kind] - {"kind"}))
        yield name, f"{name} does not go with kind {config.kind}, which takes {there}"
    needed = _NEEDS.get(config.kind)
    if needed is not None and not getattr(config, needed):
        yield "", f"kind {config.kind} needs {needed}"
    if config.url is not None and "${" not in config.url and (fault := url_fault(config.url)):
        yield "url", fault
    if config.kind == "command" and config.command:
        try:
            empty = not arguments(config)
        except ValueError as error:
            yield "command", f"command cannot be split into arguments: {error}"
        else:
            if empty:
                yield "command", "command must not be empty"
    if config.kind == "labels" and config.file is None and config.model_fields_set & {"input", "output"}:
        yield "", "input and output map the columns of `file`, which is not given"


def faults(config: OracleConfig, document: Document) -> list[Fault]:
    """The same as faults of a specification."""
    found = []
    for name, message in wrong(config):
        path = f"$.oracle.{name}" if name else "$.oracle"
        found.append(Fault(message, document.file, document.line(path), path))
    return found


def arguments(config: OracleConfig) -> list[str]:
    """The command as its arguments. Raises ValueError for quotes that do not end."""
    command = config.command or []
    return shlex.split(command) if isinstance(command, str) else list(command)


def url_fault(url: str) -> str | None:
    """What is wrong with the address of a service."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and url.isprintable() and " " not in url
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        return "url must be an address such as https://oracle.example.com/answer"
    if parts.username is not None or parts.password is not None:
        return "url must not hold a user name or password; the key belongs in api_key"
    return None


def expanded(config: OracleConfig, environ: Mapping[str, str] = os.environ) -> OracleConfig:
    """The options with `${NAME}` replaced in texts that may hold secrets or places; `$${` is a plain `${`.

    Raises SpecError naming the variable that is not set.
    """
    missing: list[Fault] = []

    def text(value: str | None, path: str) -> str | None:
        if value is None:
            return None

        def one(match: re.Match[str]) -> str:
            if match[1] is None:
                return "${"
            if match[1] not in environ:
                missing.append(Fault(f"the environment variable {match[1]} is not set", path=path))
            return environ.get(match[1], "")

        return _REFERENCE.sub(one, value)

    changed = {name: text(getattr(config, name), f"$.oracle.{name}") for name in ("url", "api_key", "model")}
    headers = {name: text(value, f"$.oracle.headers.{name}") for name, value in config.headers.items()}
    if missing:
        raise SpecError(missing)
    made = config.model_copy(update={**changed, "headers": headers})
    _check_header_values(made)
    return made


def _check_header_values(config: OracleConfig) -> None:
    """Line breaks and the like would break out of a header; a key from a file often ends in one."""
    if config.api_key is not None:
        config.api_key = config.api_key.strip()
    values = {"api_key": config.api_key, **{f"headers.{name}": value for name, value in config.headers.items()}}
    odd = [name for name, value in values.items() if value is not None and not _fits_a_header(value)]
    odd += [f"headers.{name}" for name in config.headers if re.fullmatch(r"[A-Za-z0-9-]+", name) is None]
    if odd:
        raise SpecError([Fault("has characters that no HTTP header can hold", path=f"$.oracle.{n}") for n in odd])
    if config.url is not None and (fault := url_fault(config.url)):
        raise SpecError([Fault(fault, path="$.oracle.url")])


def _fits_a_header(value: str) -> bool:
    return value.isascii() and value.isprintable()

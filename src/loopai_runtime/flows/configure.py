"""Change and judge deployment.yaml: what `loopai config set` and `loopai config check` do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime import yamldoc
from loopai_runtime.config import CONFIG_FILE, Config, root, sources
from loopai_runtime.config.edit import set_value
from loopai_runtime.errors import ConfigError, Fault, UsageError
from loopai_runtime.files import FILE_MODE, make_dir, only_one, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


@dataclass(frozen=True, slots=True)
class Target:
    """The configuration that is meant: a file that was named, or the data directory's own."""

    named: Path | None
    data_dir: Path | None
    environ: Mapping[str, str]

    @property
    def path(self) -> Path:
        return self.named or root.chosen_data_dir(self.data_dir, self.environ) / CONFIG_FILE


def change(target: Target, key: str, text: str) -> list[Fault]:
    """Set `key` to what `text` says, in the target's file, which is made if it is missing; returns warnings.

    Nothing is written where the file would get a fault that it did not have: ConfigError. A secret is refused
    unless it is a reference to an environment variable: UsageError.
    """
    _may_be_set(target, key, text)
    path = target.path.resolve()
    value = root.value_of(key, text)
    with only_one(make_dir(path.parent)):  # two changes at once must not lose one of them
        before = _read(path, required=target.named is not None)
        after = set_value(before, key, value, str(path))
        known = {(fault.path, fault.message) for fault in _faults(before, path, target.environ)}
        faults = _faults(after, path, target.environ)
        new = [fault for fault in faults if (fault.path, fault.message) not in known]
        # The server that will read the file may have a variable that this shell has not.
        unset = [fault for fault in new if fault.message.endswith(sources.NOT_SET)]
        if len(unset) < len(new):
            raise ConfigError([fault for fault in new if fault not in unset])
        if after != before:
            _write(path, after)
    return unset


def _may_be_set(target: Target, key: str, text: str) -> None:
    root.require_key(key)
    if key == sources.DATA_DIR_KEY and target.named is None:
        raise UsageError(
            "a data directory cannot say that it is another one",
            where=key,
            hint=f"choose it with --data-dir or {sources.DATA_DIR_VARIABLE}, or in a file given by --config",
        )
    if key in root.secret_keys() and not _REFERENCE.fullmatch(text):
        name = sources.short_variable(key)
        raise UsageError(
            "a secret on the command line is seen by the shell's history and by other users",
            where=key,
            hint=f"put it in the environment as {name}, which counts by itself; or: "
            f"loopai config set {key} '${{{name}}}'",
        )


def check(target: Target, *, alone: bool) -> Config:
    """Judge the target's file by itself and, unless `alone`, with the environment over it.

    Raises ConfigError with all faults, NotFound if a file that was named is missing, StorageError.
    """
    faults: list[Fault] = []
    config = Config()
    document = sources.read_file(target.path, required=target.named is not None)
    judges: list[Callable[[], Config]] = (
        [lambda: Config.of_document(document, environ=target.environ)] if document else []
    )
    if not alone:
        judges.append(
            lambda: Config.load(config_file=target.named, data_dir=target.data_dir, environ=target.environ)
        )
    for judge in judges:
        try:
            config = judge()
        except ConfigError as exc:
            faults += [fault for fault in exc.faults if fault not in faults]
    if faults:
        raise ConfigError(faults)
    return config


def _read(path: Path, *, required: bool) -> str:
    document = sources.read_file(path, required=required)
    if document is None:
        return ""
    # newline="": a file with CRLF keeps it
    with storage_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
        return file.read()


def _write(path: Path, text: str) -> None:
    """A file that stood here keeps its mode: an administrator may have opened it to a service's group."""
    mode = path.stat().st_mode & 0o777 if path.exists() else FILE_MODE
    replace_file(path, text.encode("utf-8"))
    if mode != FILE_MODE:
        with storage_errors(path):
            path.chmod(mode)


def _faults(text: str, path: Path, environ: Mapping[str, str]) -> list[Fault]:
    try:
        Config.of_document(yamldoc.parse(text, str(path), ConfigError), environ=environ)
    except ConfigError as exc:
        return exc.faults
    return []

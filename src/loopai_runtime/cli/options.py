"""Options that several commands share, each declared once, and the settings they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

# The five panels of `--help`, in order.
AUTHOR = "Author"
USE = "Use"
WATCH = "Watch"
IMPROVE = "Improve"
OPERATE = "Operate"


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where everything is kept (else LOOPAI_DATA_DIR, else the platform's user data directory).",
        show_default=False,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A deployment.yaml instead of DATA_DIR/config/deployment.yaml.",
        show_default=False,
    ),
]
OutputFormat = Annotated[
    Output, typer.Option("--output", "-o", help="How the result is printed.", show_choices=True)
]
LockTimeout = Annotated[
    float,
    typer.Option(
        "--lock-timeout", metavar="SECONDS", min=0, help="How long to wait for another command on the same task."
    ),
]
TaskRef = Annotated[
    str,
    typer.Argument(
        metavar="TASK[@V]", help="A task, or one version: task@3, task@v3, task@active, task@previous."
    ),
]
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.")]


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command starts from."""

    config: Config
    layout: Layout


def duration_s(text: str, option: str) -> float:
    """Seconds from `30s`, `2m`, `1h`, `7d`, `500ms` or a bare number of seconds. Raises UsageError."""
    import re

    from loopai_runtime.errors import UsageError

    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"{option} {text!r} is no time", hint="30s, 2m, 500ms, 7d")
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[match[2] or "s"]


def settings(data_dir: Path | None, config_file: Path | None = None, **flags: Any) -> Settings:
    """Load the configuration once, with flags over environment over file, and say what in it has no effect.

    `flags` are dotted keys with double underscores: `execution__worker_count=2`; None means not given.
    Raises ConfigError.
    """
    from loopai_runtime.cli.render import say
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

    given = {key.replace("__", "."): value for key, value in flags.items() if value is not None}
    config = Config.load(config_file=config_file, data_dir=data_dir, flags=given)
    for warning in dict.fromkeys(map(str, config.warnings)):
        say(f"warning: {warning}")
    layout = Layout(config.data_dir)
    if config.storage.has_key:
        from loopai_runtime.crypto import vault_of

        layout.vault = vault_of(config.storage)
    return Settings(config, layout)

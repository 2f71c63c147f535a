"""`loopai config` and `loopai doctor`: how this installation is set up, and whether it can work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.flows.configure import Target

config_app = typer.Typer(help="Show and change the configuration (deployment.yaml).", rich_markup_mode=None)

Key = Annotated[str, typer.Argument(metavar="KEY", help="A dotted key, such as telemetry.privacy_mode.")]


def register(app: typer.Typer) -> None:
    app.add_typer(config_app, name="config", rich_help_panel=options.OPERATE)
    app.command("doctor", rich_help_panel=options.OPERATE)(doctor)


@config_app.command("show")
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Also where each value comes from.")] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Print every setting in force. Of a secret only whether it is set."""
    from loopai_runtime.cli.render import document, rows
    from loopai_runtime.config import nested

    loaded = options.settings(data_dir, config).config
    values = loaded.shown()
    if output in (Output.JSON, Output.JSONL):
        tree = nested({key: _described(loaded, key, value, origin) for key, value in values.items()})
        document(tree, output)
        return
    columns = {"key": "key", "value": "value"} | ({"origin": "from"} if origin else {})
    records = [{"key": k, "value": _text(v), "origin": str(loaded.origin(k))} for k, v in values.items()]
    rows(records, output, columns)


@config_app.command("get")
def get(
    key: Key,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Print one setting as it is in force; nothing where it is not set. Of a secret only whether it is set."""
    from loopai_runtime.cli.render import as_json, out
    from loopai_runtime.config import require_key

    require_key(key)
    value = options.settings(data_dir, config).config.shown()[key]
    out(as_json(value, indent=None) if output in (Output.JSON, Output.JSONL) else _text(value))


@config_app.command("set", context_settings={"ignore_unknown_options": True})
def set_(
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The value; null for none.")],
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Set one key in DATA_DIR/config/deployment.yaml (or the --config file), leaving the rest as it is written.

    The result is checked before anything is written. A secret is given as a reference: '${LOOPAI_API_KEY}'.
    """
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows.configure import change

    target = _target(data_dir, config)
    for warning in change(target, key, value):
        say(f"warning: {warning}")
    say(f"{key} set in {target.path}")


@config_app.command("check")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A deployment.yaml; else the one in force.", show_default=False),
    ] = None,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Judge a configuration file: every fault at once, with its line. Exits 2 if there are faults.

    Without FILE the environment is judged too.
    """
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows.configure import check as judge

    target = _target(data_dir, file or config)
    judged = judge(target, alone=file is not None)
    for warning in judged.warnings:
        say(f"warning: {warning}")
    missing = "" if target.path.exists() else " is not there, which is fine: defaults and environment"
    say(f"{target.path}{missing}: no faults")


def doctor(
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Look over this installation: Python, data directory, sandbox, extras, keys, clock; and what to do.

    Exits 1 when something that is needed is broken.
    """
    from loopai_runtime.cli.render import rows
    from loopai_runtime.flows.doctor import FAIL, examine

    checks = examine(data_dir=data_dir, config_file=config)
    records = [{"status": c.status, "name": c.name, "found": c.found, "advice": c.advice} for c in checks]
    rows(records, output, {"status": "", "name": "what", "found": "found", "advice": "what to do"})
    if any(c.status == FAIL for c in checks):
        raise typer.Exit(1)


def _target(data_dir: Path | None, named: Path | None) -> Target:
    import os

    from loopai_runtime.flows.configure import Target

    return Target(named, data_dir, os.environ)


def _text(value: Any) -> str:
    """A value as deployment.yaml would have it, without quotes; nothing for null."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _described(config: Config, key: str, value: Any, origin: bool) -> Any:
    return {"value": value, "origin": str(config.origin(key))} if origin else value

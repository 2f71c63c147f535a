"""`loopai keys`: who may enter the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.cli.options import Settings
    from loopai_runtime.http.keys import KeysFile

keys_app = typer.Typer(help="Create, list and revoke the keys of the server's own door.", rich_markup_mode=None)

File = Annotated[
    Path | None,
    typer.Option("--keys-file", metavar="FILE", help="Instead of server.keys_file.", show_default=False),
]


def register(app: typer.Typer) -> None:
    app.add_typer(keys_app, name="keys", rich_help_panel=options.OPERATE)


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    keys_file: File = None,
    data_dir: options.DataDir = None,
    config_file: options.ConfigFile = None,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from loopai_runtime.cli.render import out, say

    settings = options.settings(data_dir, config_file)
    keys = _keys(settings, keys_file)
    key, text = keys.create(name)
    out(text)
    say(f"key {key.id}; its hash is in {keys.path}, and it is shown only now")
    if settings.config.server.keys_file is None:
        say(f"the server asks for keys once it knows them: loopai config set server.keys_file {keys.path}")


@keys_app.command("list")
def list_keys(
    keys_file: File = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config_file: options.ConfigFile = None,
) -> None:
    """List the keys: ids, names and when they were made and revoked."""
    from loopai_runtime.cli.render import rows

    keys = _keys(options.settings(data_dir, config_file), keys_file)
    if keys.path.exists():
        keys.reload_if_changed()
    columns = ["id", "name", "created_at", "revoked_at"]
    rows([{column: getattr(key, column) for column in columns} for key in keys], output)


@keys_app.command("revoke")
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The part between lp_ and the secret.")],
    keys_file: File = None,
    data_dir: options.DataDir = None,
    config_file: options.ConfigFile = None,
) -> None:
    """Make a key invalid for ever; a running server learns of it within a second."""
    from loopai_runtime.cli.render import say

    key = _keys(options.settings(data_dir, config_file), keys_file).revoke(id_)
    say(f"key {key.id} is revoked since {key.revoked_at}")


def _keys(settings: Settings, keys_file: Path | None) -> KeysFile:
    from loopai_runtime.http.keys import KeysFile

    return KeysFile(keys_file or settings.config.server.keys_file or settings.layout.root / "config" / "keys.json")

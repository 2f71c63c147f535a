"""`loopai keys`: who may ask this server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopai_runtime.cli import options, platform_keys
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.http.keys import KeysFile

keys_app = typer.Typer(
    help="Make, list and revoke the keys of this server's own door; with --central, the platform's.",
    rich_markup_mode=None,
)

Central = Annotated[bool, typer.Option("--central", help="The platform's keys, not this server's.")]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Whose, where the platform is here.", show_default=False),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="execute, read, publish, telemetry or admin; repeat it.",
        show_default=False,
    ),
]
Deployment = Annotated[
    str | None, typer.Option("--deployment", metavar="ID", help="Bind it to one edge.", show_default=False)
]
Rate = Annotated[
    float | None, typer.Option("--rate", min=0.01, help="Calls a minute at most.", show_default=False)
]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` has it.")]

KeysFilePath = Annotated[
    Path | None,
    typer.Option(
        "--keys-file",
        metavar="FILE",
        help="The file of keys (else server.keys_file, else DATA_DIR/config/keys.json).",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(keys_app, name="keys", rich_help_panel=options.OPERATE)


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Who or what the key is for.")] = "",
    central: Central = False,
    scope: Scopes = None,
    deployment: Deployment = None,
    rate: Rate = None,
    tenant: Tenant = None,
    keys_file: KeysFilePath = None,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from loopai_runtime.cli.render import out, say

    if central:
        platform_keys.create(data_dir, config, tenant, name, scope or [], deployment, rate)
        return
    file, configured = _file(keys_file, data_dir, config)
    key, text = file.create(name)
    out(text)
    say(f"key {key.id}: shown only now; its hash is kept in {file.path}")
    if configured is None:
        say(f"  to have the server ask for it: {_config_set(file.path, data_dir, config)}")
    elif configured != file.path:
        say(f"  server.keys_file names another file: {configured}")


@keys_app.command("list")
def list_(
    output: options.OutputFormat = Output.TABLE,
    central: Central = False,
    tenant: Tenant = None,
    keys_file: KeysFilePath = None,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """List the keys, the oldest first; revoked ones too."""
    from loopai_runtime.cli.render import rows, say

    if central:
        platform_keys.list_(data_dir, config, tenant, output)
        return
    file, _ = _file(keys_file, data_dir, config)
    records = [key.model_dump(exclude={"sha256"}) for key in file.list()]
    columns = {"id": "id", "name": "name", "created_at": "created", "revoked_at": "revoked"}
    if output is not Output.TABLE:
        rows(records, output, {column: column for column in columns})
    elif records:
        rows(records, output, columns)
    else:
        say(f"no keys in {file.path}; loopai keys create makes one")


@keys_app.command("revoke")
def revoke(
    key_id: KeyId,
    central: Central = False,
    tenant: Tenant = None,
    keys_file: KeysFilePath = None,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Let a key open nothing any more. A running server sees it by itself."""
    from loopai_runtime.cli.render import say

    if central:
        platform_keys.revoke(data_dir, config, tenant, key_id)
        return
    file, _ = _file(keys_file, data_dir, config)
    key = file.revoke(key_id)
    say(f"key {key.id}{f' ({key.name})' if key.name else ''} revoked at {key.revoked_at}")


@keys_app.command("rotate")
def rotate(
    key_id: KeyId,
    central: Central = False,
    tenant: Tenant = None,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Make the successor of a platform's key; the old one goes on until it is revoked. Needs --central."""
    from loopai_runtime.errors import UsageError

    if not central:
        raise UsageError(
            "only the platform's keys are rotated: give --central",
            hint="loopai keys create makes another key here",
        )
    platform_keys.rotate(data_dir, config, tenant, key_id)


def _file(named: Path | None, data_dir: Path | None, config: Path | None) -> tuple[KeysFile, Path | None]:
    """The file that is meant, and the one that the server's configuration names."""
    from loopai_runtime.http.keys import KeysFile

    loaded = options.settings(data_dir, config)
    configured = loaded.config.server.keys_file
    file = KeysFile(named or configured or loaded.layout.keys_file)
    return file, configured and KeysFile(configured).path


def _config_set(path: Path, data_dir: Path | None, config: Path | None) -> str:
    import shlex

    words = ["loopai", "config", "set", "server.keys_file", str(path)]
    for flag, value in (("--data-dir", data_dir), ("--config", config)):
        words += [flag, str(value)] if value else []
    return shlex.join(words)

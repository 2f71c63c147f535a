"""`central`: the platform as a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from loopai_runtime.cli.options import OPERATE, ConfigFile, DataDir

app = typer.Typer(help="Run the central platform, back it up, restore it.", rich_markup_mode=None)

Host = Annotated[str, typer.Option("--host", help="Where to listen.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Its port; 0: a free one.")]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain; TLS 1.3.", show_default=False)
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key.", show_default=False)]


@app.command()
def start(
    host: Host = "127.0.0.1",
    port: Port = 8090,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> int:
    """Serve the platform until SIGTERM.

    The first start writes an admin's key to DATA_DIR/secrets/admin.key.
    """
    import sys

    from loopai_runtime.cli.options import settings
    from loopai_runtime.cli.render import out, say
    from loopai_runtime.errors import UsageError
    from loopai_runtime.http.serving import is_loopback, log_to_stderr

    with _extra():
        from loopai_runtime.central.server import Exposure, serve
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together")
    loaded = settings(data_dir, config_file)
    if tls_cert is None and not is_loopback(host):
        say("warning: without --tls-cert keys and data cross the network as they are")
    log_to_stderr(loaded.config.logging.level)
    key = loaded.layout.secrets / "admin.key"
    is_first = not key.exists()

    def announce(url: str) -> None:
        if is_first:
            say(f"the admin's key is in {key}")
        out(url)
        sys.stdout.flush()

    serve(loaded.config, loaded.layout, Exposure(host, port, tls_cert, tls_key), announce=announce)
    return 0


@app.command()
def backup(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A new file, or a folder for a file named by the time.")
    ],
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> int:
    """Write the whole platform into one tar file, while it may serve: database, bundles, keys, logs.

    The file has the platform's secrets in it. Exits 1 where a bundle was lost or damaged already.
    """
    from loopai_runtime.cli.options import settings
    from loopai_runtime.cli.render import out as out_
    from loopai_runtime.cli.render import say

    with _extra():
        from loopai_runtime.central.backup import backup as write
    loaded = settings(data_dir, config_file)
    made = write(loaded.layout, loaded.config, out)
    out_(str(made.path))
    say(f"{made.rows} rows, {made.bundles} bundles, {made.size / 1e6:.1f} MB")
    for key in made.lost:
        say(f"lost before this backup: {key}")
    return 1 if made.lost else 0


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="What backup wrote.")],
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> int:
    """Make a platform of a backup, where there is none yet. Its database may be of another kind.

    Nothing is written before all of the backup was compared with its digests.
    """
    from loopai_runtime.cli.options import settings
    from loopai_runtime.cli.render import say

    with _extra():
        from loopai_runtime.central.restore import restore as read
    loaded = settings(data_dir, config_file)
    made = read(loaded.layout, loaded.config, source)
    say(f"{made.rows} rows and {made.bundles} bundles of {made.made_at} are in {loaded.layout.root}")
    return 0


@contextmanager
def _extra() -> Iterator[None]:
    from loopai_runtime.errors import MissingExtra

    try:
        yield
    except ModuleNotFoundError:
        raise MissingExtra("the central platform", "central") from None


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="central", rich_help_panel=OPERATE)

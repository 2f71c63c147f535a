"""`central`: the platform as a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopai_runtime.cli.options import OPERATE, ConfigFile, DataDir

app = typer.Typer(help="Run the central platform: artifacts, news, execution.", rich_markup_mode=None)

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
    from loopai_runtime.errors import MissingExtra, UsageError
    from loopai_runtime.http.serving import is_loopback, log_to_stderr

    try:
        from loopai_runtime.central.server import Exposure, serve
    except ModuleNotFoundError:
        raise MissingExtra("the central platform", "central") from None
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


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="central", rich_help_panel=OPERATE)

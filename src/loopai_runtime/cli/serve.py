"""`start`, also called `serve`: the HTTP server of one data directory; `bench`, which loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopai_runtime.cli.options import USE, ConfigFile, DataDir, Output, OutputFormat, TaskRef

Only = Annotated[
    str | None,
    typer.Option("--task-id", metavar="TASK", help="Serve this task alone.", show_default=False),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", metavar="KEY", help="This edge's credential to the platform.", show_default=False),
]
Host = Annotated[
    str | None, typer.Option("--host", help="Where to listen  [default: 127.0.0.1]", show_default=False)
]
Port = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="Its port; 0: a free one  [default: 8080]", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Serving executors (execution.worker_count); HTTP is one process.",
        show_default=False,
    ),
]
Anonymous = Annotated[
    bool, typer.Option("--allow-anonymous", help="Let anybody in who can reach an address that is not loopback.")
]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain; TLS 1.3.", show_default=False)
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key.", show_default=False)]


def start(
    task_id: Only = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    allow_anonymous: Anonymous = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> int:
    """Serve the active versions over HTTP until SIGTERM.

    SIGTERM and Ctrl-C drain: requests that are under way are answered. SIGHUP reads the keys and the tasks again;
    versions that are activated or rolled back are taken up by themselves.
    """
    from loopai_runtime.cli.options import settings
    from loopai_runtime.cli.render import say
    from loopai_runtime.edge.door import open_door
    from loopai_runtime.edge.server import Exposure, serve
    from loopai_runtime.errors import UsageError
    from loopai_runtime.http.serving import is_loopback, log_to_stderr

    if api_key is not None:
        say("warning: a key on the command line is seen by everybody on this machine; LOOPAI_API_KEY is not")
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together")
    loaded = settings(
        data_dir,
        config_file,
        cloud__api_key=api_key,
        server__host=host,
        server__port=port,
        execution__worker_count=workers,
    )
    if task_id is not None:
        loaded.layout.require_task(task_id)
    log_to_stderr(loaded.config.logging.level)
    server = loaded.config.server
    door = open_door(server.keys_file, is_loopback(server.host), allow_anonymous)
    exposure = Exposure(server.host, server.port, door.caller, tls_cert, tls_key)
    only = task_id or loaded.config.runtime.task_id
    serve(loaded.config, loaded.layout, exposure, only=only, reload=door.reload, announce=_announce)
    return 0


def bench(
    task: TaskRef,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Requests a second.")] = 1000,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="For how long.")] = 10,
    connections: Annotated[int, typer.Option("--connections", min=1, max=4096, help="Kept open.")] = 32,
    text: Annotated[
        str | None,
        typer.Option("--input", metavar="INPUT", help="Send this, not the stored examples.", show_default=False),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="A server that runs already; its log gets the load.", show_default=False),
    ] = None,
    workers: Workers = None,
    plot: Annotated[bool, typer.Option("--plot", help="Also the histogram of latencies, as bars.")] = False,
    output: OutputFormat = Output.TABLE,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> int:
    """Measure a task under load: open loop, latencies counted from when each request was due.

    Starts a server of its own over a copy of the version, unless --url names one.
    """
    from contextlib import ExitStack
    from urllib.parse import urlsplit

    from loopai_runtime.artifacts import references
    from loopai_runtime.cli.inputs import argument
    from loopai_runtime.cli.options import settings
    from loopai_runtime.cli.render import out, record
    from loopai_runtime.flows.bench import example_inputs, own_server, run_load

    layout = settings(data_dir, config_file).layout
    task_id = references.parse(task).task_id
    inputs = [argument(text)] if text is not None else example_inputs(layout, task_id)
    with ExitStack() as stack:
        if url is None:
            host, port = "127.0.0.1", stack.enter_context(own_server(layout, task, workers))
        else:
            parts = urlsplit(url if "//" in url else f"//{url}")
            host, port = parts.hostname or "127.0.0.1", parts.port or 80
        load = run_load(host, port, task_id, inputs, rate=rate, seconds=seconds, connections=connections)
    record(load.summary(), output)
    if plot:
        most = max((count for _, count in load.histogram()), default=1)
        for bound, count in load.histogram():
            out(f"{bound:>12} {'█' * max(1, round(40 * count / most))} {count}")
    return 1 if load.failed or load.unanswered else 0


def _announce(url: str) -> None:
    import sys

    from loopai_runtime.cli.render import out

    out(url)
    sys.stdout.flush()


def register(app: typer.Typer) -> None:
    app.command("start", rich_help_panel=USE)(start)
    app.command("serve", rich_help_panel=USE, help="The same as start.")(start)
    app.command("bench", rich_help_panel=USE)(bench)

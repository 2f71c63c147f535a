"""`push` and `pull`: versions to and from the central platform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.cli.options import Settings

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The platform's address (else cloud.api_url).", show_default=False),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", metavar="KEY", help="Your key there (else LOOPAI_API_KEY, cloud.api_key).", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    app.command("pull", rich_help_panel=options.USE)(pull)
    app.command("push", rich_help_panel=options.USE)(push)


def _settings(data_dir: Path | None, config: Path | None, url: str | None, api_key: str | None) -> Settings:
    from loopai_runtime.cli.render import say

    if api_key is not None:
        say("warning: a key on the command line is seen by everybody on this machine; LOOPAI_API_KEY is not")
    return options.settings(data_dir, config, cloud__api_url=url, cloud__api_key=api_key)


def push(
    ref: options.TaskRef,
    url: Url = None,
    api_key: ApiKey = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Publish a version on the platform, which numbers and signs it. The same one again changes nothing.

    Exits 1 if there is personal data in it; `loopai verify TASK --pii` lists it.
    """
    from loopai_runtime.cli.render import record, say
    from loopai_runtime.flows.push import push as run_flow

    settings = _settings(data_dir, config, url, api_key)
    done = run_flow(ref, settings.layout, settings.config)
    record(done.as_dict(), output)
    if not done.created:
        say(f"the platform had it already, as v{done.version}")
    elif done.version != done.local_version:
        say(f"{done.task_id} v{done.local_version} is v{done.version} there")


def pull(
    ref: options.TaskRef,
    url: Url = None,
    api_key: ApiKey = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Fetch a version from the platform (the newest if none is named), verify it, and store it.

    A download that broke off is gone on with. It serves at once only if the task has no active version. Without
    the platform, what is on disk goes on.
    """
    from loopai_runtime.cli.render import record, say
    from loopai_runtime.flows.pull import pull_or_keep

    settings = _settings(data_dir, config, url, api_key)
    done = pull_or_keep(ref, settings.layout, settings.config)
    record(done.as_dict(), output)
    if done.first_key is not None:
        say(f"the platform signs by the key {done.first_key}, which is pinned from now on")
    if done.why_kept is not None:
        say(f"warning: {done.why_kept}")
        say(f"{done.task_id} v{done.version} is on disk ({done.status}) and goes on")
    elif done.already:
        say(f"it was here already, as {done.task_id} v{done.version}")
    elif done.status != "active":
        say(f"loopai activate {done.task_id}@{done.version} lets it serve")

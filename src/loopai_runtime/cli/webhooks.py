"""`loopai webhooks`: what was told to whom, and what has not arrived."""

from __future__ import annotations

from typing import Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

app = typer.Typer(
    rich_markup_mode=None,
    help="What is told to the webhooks of the configuration; a running edge delivers by itself.",
)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="webhooks", rich_help_panel=options.IMPROVE)


@app.command("list")
def list_(
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """List what has not arrived yet, and what was given up."""
    from loopai_runtime.cli.render import rows, say
    from loopai_runtime.flows import webhooks

    layout = options.settings(data_dir, config).layout
    shown = [_row("waiting", each) for each in webhooks.waiting(layout)]
    shown += [_row("given up", each) for each in webhooks.dead_letters(layout)]
    if not shown and output is Output.TABLE:
        say("everything has arrived")
        return
    rows(shown, output)


def _row(state: str, entry: dict[str, Any]) -> dict[str, Any]:
    from loopai_runtime.outbound import place_of

    names = ("id", "event", "attempts")
    return {"state": state, "to": place_of(entry["url"])} | {name: entry[name] for name in names}


@app.command("deliver")
def deliver(data_dir: options.DataDir = None, config: options.ConfigFile = None) -> None:
    """Send what is due; what does not arrive is tried again, and given up after three days."""
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows import webhooks

    settings = options.settings(data_dir, config)
    done = webhooks.deliver(settings.layout, settings.config)
    say(f"{done.sent} delivered, {done.failed} failed, {done.given_up} given up, {done.waiting} wait")


@app.command("redeliver")
def redeliver(data_dir: options.DataDir = None, config: options.ConfigFile = None) -> None:
    """Put back what was given up, to be sent again."""
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows import webhooks

    say(f"{webhooks.redeliver(options.settings(data_dir, config).layout)} wait again")

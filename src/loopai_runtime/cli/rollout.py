"""`loopai rollout`: a new version beside the one that serves, and what has been seen of both."""

from __future__ import annotations

from typing import Annotated

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

rollout_app = typer.Typer(
    help="Try a new version beside the one that serves, and let evidence decide.", rich_markup_mode=None
)

Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Kept in the task's history, and told to whoever listens.")
]
Version = Annotated[str, typer.Argument(metavar="TASK@V", help="The version to try: task@3.")]


def register(app: typer.Typer) -> None:
    app.add_typer(rollout_app, name="rollout", rich_help_panel=options.IMPROVE)


@rollout_app.command("start")
def start(
    ref: Version,
    force: Annotated[bool, typer.Option("--force", help="Try a draft as well, which missed its targets.")] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Begin to run a version beside the active one. A running server takes it up by itself.

    Both answer the same inputs; where their answers differ, the task's oracle is asked who is right. Exits 3 for a
    draft, and 6 where a rollout of the task is under way.
    """
    from loopai_runtime.cli.render import record, say
    from loopai_runtime.flows.roll_out import start as run_flow

    settings = options.settings(data_dir, config)
    begun = run_flow(settings.layout, settings.config, ref, force=force)
    record(_named(begun.as_dict()), output)
    say(f"a running server takes it up by itself; loopai rollout status {begun.task_id} shows how it stands")


@rollout_app.command("status")
def status(
    task: options.TaskId,
    disagreements: Annotated[
        int, typer.Option("--disagreements", metavar="N", min=0, max=1000, help="How many to show, the latest.")
    ] = 10,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Show how a task's rollout stands: the evidence, what is missing, and the answers that differ.

    With -o csv or jsonl: the disagreements alone.
    """
    from loopai_runtime.cli import rolloutview
    from loopai_runtime.cli.render import record, rows
    from loopai_runtime.flows.roll_out import status as run_flow
    from loopai_runtime.flows.standing import shown

    settings = options.settings(data_dir, config)
    found = shown(settings.layout, run_flow(settings.layout, task), disagreements=disagreements)
    if output is Output.JSON:
        record(found, output)
    elif output is Output.TABLE:
        rolloutview.draw(found)
    else:
        rows(found["disagreements"], output)


@rollout_app.command("promote")
def promote(
    task: options.TaskId,
    reason: Reason,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Go to the next stage, whatever the evidence says; from the last one the candidate takes over."""
    from loopai_runtime.cli.render import record, say
    from loopai_runtime.flows.roll_out import promote as run_flow

    settings = options.settings(data_dir, config)
    done = run_flow(settings.layout, settings.config, task, reason)
    record(_named(done.as_dict()), output)
    if done.state == "running":
        say(f"{task} v{done.candidate} serves {done.stage} % from now on")
    else:
        say(f"{task} v{done.candidate} serves; loopai rollback {task} goes back to v{done.incumbent}")


@rollout_app.command("abort")
def abort(
    task: options.TaskId,
    reason: Reason,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """End the rollout: the candidate is out, and the incumbent serves alone."""
    from loopai_runtime.cli.render import record, say
    from loopai_runtime.flows.roll_out import abort as run_flow

    settings = options.settings(data_dir, config)
    done = run_flow(settings.layout, settings.config, task, reason)
    record(_named(done.as_dict()), output)
    say(f"{task} v{done.incumbent} serves alone")


def _named(rollout: dict[str, object]) -> dict[str, object]:
    names = ("rollout_id", "task_id", "candidate", "incumbent", "state", "stage", "reason")
    return {name: rollout.get(name) for name in names}

"""`loopai improve` and `loopai tickets`: failures become a better version, and what does not a person's work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.improvements import Improvement

tickets_app = typer.Typer(
    rich_markup_mode=None,
    help="What the loop could not settle by itself and a person has to look at.",
    invoke_without_command=True,
)


def register(app: typer.Typer) -> None:
    app.command("improve", rich_help_panel=options.IMPROVE)(improve)
    app.add_typer(tickets_app, name="tickets", rich_help_panel=options.IMPROVE)


def improve(
    task: options.TaskId,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write and judge a version, and keep nothing; asks no model.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also without evidence, within the cool-down, and past a ticket.")
    ] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
    lock_timeout: options.LockTimeout = 0,
) -> None:
    """Make a better version of a task that fails too often.

    The oracle's answers to checked executions become labels, and a new version is written with them. It is kept
    only if what was right stays right, or the gain outweighs that (docs/improve.md). It does not serve by itself:
    `rollout start` tries it beside the one that does. After three attempts in a row that came to nothing a
    ticket asks a person.

    Exits 0 where nothing is to be done, 3 where nothing better came of it or there is nothing to judge on.
    """
    from loopai_runtime.cli.render import document, progress, record, say
    from loopai_runtime.flows.improve import improve as run_flow

    settings = options.settings(data_dir, config)
    with progress("improving") as advance:
        result = run_flow(
            settings.layout,
            settings.config,
            task,
            dry_run=dry_run,
            force=force,
            lock_timeout_s=lock_timeout,
            tell=say,
            progress=lambda what, _share: advance(None, what),
        )
    if output is Output.TABLE:
        _report(result)
    elif output in (Output.JSON, Output.JSONL):
        document(result.as_dict(), output)
    else:
        names = ("id", "task_id", "base", "state", "version", "reason", "labels", "usd")
        record({name: getattr(result, name) for name in names}, output)
    result.require()


def _report(result: Improvement) -> None:
    from loopai_runtime.cli.render import rows, say

    if result.patterns:
        shown = [_pattern(pattern) for pattern in result.patterns]
        columns = {"pattern": "failures", "count": "count", "share": "of checked", "words": "words of the inputs"}
        rows(shown, Output.TABLE, columns, title=f"{result.task_id} v{result.base}")
        say(result.hypothesis)
    regression = result.regression
    if regression is not None:
        gain = regression["gain"]
        say(
            f"on {gain['rows']} checked executions that neither had seen: {gain['fixed']} become right,"
            f" {gain['broken']} wrong (p = {regression['p']:.2g})"
        )
        say(f"{regression['replayed']} gold examples replayed, {len(result.flips)} of them become wrong")
        if result.flips:
            columns = {"source": "who said so", "right": "right", "answer": "would be", "input": "input"}
            rows(result.flips, Output.TABLE, columns, title="right answers that would become wrong")
    kept = " (nothing was kept)" if result.dry_run and regression is not None else ""
    say(f"{result.state}: {result.reason}{kept}")
    if result.state == "made" and result.version:
        say(f"  loopai rollout start {result.task_id}@{result.version} tries it beside v{result.base}")


def _pattern(pattern: dict[str, Any]) -> dict[str, Any]:
    share = "" if pattern["share"] is None else f"{pattern['share']:.1%}"
    return {**pattern, "share": share, "words": ", ".join(pattern["words"])}


# --- tickets


@tickets_app.callback()
def tickets(
    context: typer.Context,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """What the loop could not settle by itself and a person has to look at."""
    if context.invoked_subcommand is None:
        _list(None, False, output, data_dir, config)


@tickets_app.command("list")
def list_tickets(
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones as well.")] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """List open tickets."""
    _list(task, everything, output, data_dir, config)


def _list(task: str | None, everything: bool, output: Output, data_dir: Any, config: Any) -> None:
    from loopai_runtime.cli.render import rows, say
    from loopai_runtime.tickets import Tickets

    settings = options.settings(data_dir, config)
    found = Tickets(settings.layout).list(task, None if everything else "open")
    if not found and output is Output.TABLE:
        say("no ticket waits")
        return
    columns = {"id": "id", "task_id": "task", "status": "status", "created_at": "opened", "title": "what"}
    shown = [one.as_dict(whole=False) for one in found]
    rows(shown, output, columns if output is Output.TABLE else None)


@tickets_app.command("show")
def show(
    ticket: Annotated[str, typer.Argument(metavar="ID", help="A ticket's id, or how it begins.")],
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Show what was seen and what was tried."""
    from loopai_runtime.cli.render import document, record, rows, say
    from loopai_runtime.tickets import Tickets

    settings = options.settings(data_dir, config)
    found = Tickets(settings.layout).show(ticket)
    if output is not Output.TABLE:
        document(found.as_dict(), output)
        return
    record(found.as_dict(whole=False), output)
    columns = {"pattern": "failures", "count": "count", "share": "of checked", "words": "words of the inputs"}
    rows([_pattern(one) for one in found.body.get("patterns", [])], output, columns)
    examples = [one for pattern in found.body.get("patterns", []) for one in pattern["examples"]]
    rows(examples, output, {"input": "input", "output": "answered", "right": "right"}, title="for example")
    columns = {"started_at": "tried", "learner": "with", "state": "came to", "reason": "because"}
    rows(found.body.get("tried", []), output, columns, title="what was tried")
    say(found.body.get("hypothesis", ""))


@tickets_app.command("resolve")
def resolve(
    ticket: Annotated[str, typer.Argument(metavar="ID", help="A ticket's id, or how it begins.")],
    note: Annotated[str, typer.Option("--note", "-m", help="What was done about it.")] = "",
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Close a ticket: the task's loop goes on."""
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows.improve import resolve as run_flow

    settings = options.settings(data_dir, config)
    found = run_flow(settings.layout, settings.config, ticket, note)
    say(f"{found.id} is resolved: {found.task_id} is improved again when it fails too often")

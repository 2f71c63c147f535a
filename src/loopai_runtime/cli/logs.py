"""`loopai logs`: the executions themselves. `loopai prune`: how long they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Callable

logs_app = typer.Typer(help="Look at the executions that were logged, and erase some.", rich_markup_mode=None)

OneTask = Annotated[
    str | None, typer.Argument(metavar="[TASK]", help="One task; else all of them.", show_default=False)
]


def register(app: typer.Typer) -> None:
    app.add_typer(logs_app, name="logs", rich_help_panel=options.WATCH)
    app.command("prune", rich_help_panel=options.WATCH)(prune)


@logs_app.command("tail")
def tail(
    task: OneTask = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the latest ones.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with those that come, until Ctrl-C.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Errors and time-outs alone.")] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Print the latest executions, the newest last; -o jsonl prints whole records."""
    from loopai_runtime.datasets.tail import Follower, latest

    layout = options.settings(data_dir, config).layout
    if task is not None and task not in layout.logged_tasks():
        layout.require_task(task)

    def tasks() -> list[str]:
        return [task] if task is not None else layout.logged_tasks()

    def wanted(record: dict[str, Any]) -> bool:
        return not failed or record.get("status") != "success"

    show = _printer(output)
    follower = Follower(layout, tasks) if follow else None
    show(latest(layout, tasks(), lines, wanted))
    for record in follower.follow() if follower else ():
        if wanted(record):
            show([record])


def _printer(output: Output) -> Callable[[list[dict[str, Any]]], None]:
    """How records are printed: whole ones as JSON, and otherwise a line for each."""
    import sys

    from loopai_runtime.cli import render

    def show(records: list[dict[str, Any]]) -> None:
        if output is Output.TABLE:
            for record in records:
                render.out(_line(record))
        elif output is Output.JSON:
            for record in records:
                render.out(render.as_json(record))
        elif records or output is Output.CSV:
            render.rows(records, output)
        sys.stdout.flush()

    return show


def _line(record: dict[str, Any]) -> str:
    from loopai_runtime.cli import render

    error = record.get("error") or {}
    output = "abstained" if record.get("abstained") else render.as_json(record.get("output"), indent=None)
    what = output if record.get("status") == "success" else f"{record.get('status')}: {error.get('message')}"
    text = render.as_json(record.get("input"), indent=None)
    name = f"{record.get('task_id')}@{record.get('version')}"
    shown = f"{str(record.get('timestamp'))[:23]}Z  {name}  {record.get('latency_ms')} ms  {what[:80]}  <- {text}"
    return render.printable(shown if len(shown) <= 240 else shown[:239] + "…").replace("\n", " ")


@logs_app.command("import")
def import_(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task that the model did.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Calls as JSONL, or rows as CSV or JSON.")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="PROPERTY=COLUMN", help="Or the one column; repeat.", show_default=False),
    ] = None,
    answer: Annotated[
        str | None, typer.Option("--output-column", help="The column of the answer.", show_default=False)
    ] = None,
    encoding: Annotated[str, typer.Option("--encoding", help="Of a CSV that is not UTF-8.")] = "utf-8",
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Take over what a model answered before: its answers become labels, its cost the history of the task.

    Without a mapping, JSONL files are read as calls of a model: requests with responses, or a batch's two files.
    """
    from loopai_runtime.cli.render import record, say
    from loopai_runtime.flows.imports import import_calls, import_rows

    layout = options.settings(data_dir, config).layout
    plain = columns is None and answer is None and all(file.suffix in (".jsonl", ".ndjson") for file in files)
    if plain:
        done = import_calls(layout, task, files)
    else:
        mapping = _mapping(columns or [])
        done = import_rows(layout, task, files, columns=mapping, output=answer, encoding=encoding)
    if output is not Output.TABLE:
        record(done._asdict(), output)
    say(f"{done.labels:,} new labels; {done.known:,} were known, {done.unfit + done.skipped:,} did not fit")
    say(f"next: loopai generate {task}")


def _mapping(given: list[str]) -> dict[str, str] | str | None:
    from loopai_runtime.errors import UsageError

    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    pairs = [one.partition("=") for one in given]
    if any(not separator or not column for _, separator, column in pairs):
        raise UsageError("--input takes PROPERTY=COLUMN, or one column that is the whole input")
    return {name: column for name, _, column in pairs} or None


@logs_app.command("erase")
def erase(
    task: OneTask = None,
    match: Annotated[
        str,
        typer.Option("--match", metavar="FIELD=VALUE|REGEX", help="email=a@b.example, or a pattern."),
    ] = ...,  # type: ignore[assignment]
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
    lock_timeout: options.LockTimeout = 0,
) -> None:
    """Erase records from logs, archives, labels, queues and caches, and name the versions to rebuild.

    FIELD is a property of the input, or of the record (execution_id); a pattern is looked for in inputs, outputs
    and errors. There is no way back. The audit keeps that it was done.
    """
    import sys

    from loopai_runtime.cli import render
    from loopai_runtime.datasets.erasure import parse
    from loopai_runtime.flows.erase import erase as run_flow

    meant, layout = parse(match), options.settings(data_dir, config).layout
    if not (dry_run or yes) and sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm("Erase for good? --dry-run shows what", abort=True, err=True)
    done = run_flow(layout, meant, task, dry_run=dry_run, lock_timeout_s=lock_timeout)
    if output is not Output.TABLE:
        render.record(done.as_dict(), output)
        return
    found = [{"place": place, "records": n} for place, n in done.records.items()]
    if found:
        render.rows(found, output, {"place": "would be erased from" if dry_run else "erased from", "records": ""})
    else:
        render.say("nothing matches")
    for version in done.rebuild:
        render.say(
            f"{version} was made from what was erased, or has it in its program: generate again, then remove it"
        )
    for path in done.by_hand:
        render.say(f"{path} has it too: edit it by hand, and the files that it names")


@logs_app.command("decrypt")
def decrypt(
    what: Annotated[str, typer.Argument(metavar="TASK|FILE", help="A task, or a file of the data directory.")],
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="Today (UTC) and the days before it.")] = 7,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Write a task's executions, or a file as it was before it was encrypted, to stdout, for a pipe.

    Says on stderr which files have no end mark: their writer runs, was killed, or somebody cut them off.
    """
    import sys

    from loopai_runtime.cli.render import say
    from loopai_runtime.datasets.decrypt import decrypted

    layout = options.settings(data_dir, config).layout
    for block in decrypted(layout, what, days, lambda path: say(f"{path} has no end mark")):
        sys.stdout.buffer.write(block)


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
    lock_timeout: options.LockTimeout = 0,
) -> int:
    """Compress and delete what is older, or more, than the configuration keeps; a server does this daily.

    Exits 1 if something could not be done.
    """
    from loopai_runtime.cli.render import rows, say
    from loopai_runtime.flows.prune import prune as run_flow

    settings = options.settings(data_dir, config)
    steps = list(run_flow(settings.layout, settings.config, dry_run=dry_run, lock_timeout_s=lock_timeout))
    table = [step.as_dict() for step in steps]
    if output is not Output.TABLE or table:
        headings = {"action": "", "kind": "kind", "path": "file", "freed": "bytes freed", "why": "why"}
        rows(table, output, headings if output is Output.TABLE else None)
    for step in steps:
        if step.trouble:
            say(f"error: {step.trouble}")
    freed = sum(step.freed for step in steps)
    done = "would be freed, about" if dry_run else "freed"
    say(f"{done} {freed / 1e6:.1f} MB" if steps else "there is nothing to do")
    return 1 if any(step.trouble for step in steps) else 0

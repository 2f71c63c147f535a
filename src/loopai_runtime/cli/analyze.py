"""`loopai analyze`: what tasks did, from rollups, or by SQL over their raw logs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.flows.analysis import Analysis, Row
    from loopai_runtime.flows.failures import Pattern
    from loopai_runtime.layout import Layout


class Grouping(StrEnum):
    DAY = "day"
    VERSION = "version"
    LABEL = "label"
    HOUR = "hour"


def register(app: typer.Typer) -> None:
    app.command("analyze", rich_help_panel=options.WATCH)(analyze)


def analyze(
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="One task; else all of them.", show_default=False)
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(
            "--days",
            min=1,
            max=3660,
            help="Today (UTC) and the days before it  [default: 7; with --cost all]",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        Grouping | None, typer.Option("--by", help="What the rows are  [default: day]", show_default=False)
    ] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Also what goes wrong most, with examples.")
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="Instead: what was spent on models, and what the program saves.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="With --cost: the model to compare with, instead of the task's own.",
            show_default=False,
        ),
    ] = None,
    drift: Annotated[
        bool,
        typer.Option("--drift", help="Is traffic still what the version was made for? Exits 3 where it is not."),
    ] = False,
    sql: Annotated[
        str | None,
        typer.Option(
            "--sql",
            metavar="SELECT",
            help="Ask the raw logs instead; the tables are executions and validations.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Also a picture: .png, .svg or .pdf.", show_default=False),
    ] = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Show what a task did: volume, errors, latency, and accuracy where an oracle has checked.

    Accuracy is of the executions that were sampled for checking, weighted to all; its interval is at 95 %.
    """
    layout = options.settings(data_dir, config).layout
    if cost:
        from loopai_runtime.cli.costs import show

        show(layout, task, days, model, output)
        return
    days = days or 7
    if sql is not None:
        _sql(layout, task, days, sql, output)
        return
    if plot is not None:
        from loopai_runtime.cli.plot import require_plotting

        require_plotting(plot)
    from loopai_runtime.flows.analysis import analyze as run_flow

    found = run_flow(layout, task, days=days, by=by.value if by else None)
    if drift:
        _drift(layout, task, days, found, output)
        return
    if plot is not None:
        from loopai_runtime.cli.plot import traffic

        traffic(found, plot)
    patterns = None
    if failures:
        from loopai_runtime.flows.failures import failure_patterns

        patterns = failure_patterns(layout, found)
    _print(found, patterns, output)


def _print(found: Analysis, patterns: Sequence[Pattern] | None, output: Output) -> None:
    from loopai_runtime.cli import render

    if output is Output.JSON:
        whole = found.as_dict()
        render.out(
            render.as_json(whole | ({} if patterns is None else {"failures": [p.as_dict() for p in patterns]}))
        )
    elif output is not Output.TABLE:
        lines = [p.as_dict() for p in patterns] if patterns is not None else None
        render.rows(lines if lines is not None else [_flat(row) for row in found.rows], output)
    elif not found.total.group.count:
        render.say(f"no executions from {found.days[0]} to {found.days[-1]} (UTC)")
    else:
        _table(found)
        if patterns is not None:
            _failures(patterns)


def _flat(row: Row) -> dict[str, Any]:
    flat = {"key": row.key} | row.as_dict()
    accuracy = flat.pop("accuracy", None) or dict.fromkeys(("value", "low", "high", "n"))
    return flat | {
        "accuracy": accuracy["value"],
        "low": accuracy["low"],
        "high": accuracy["high"],
        "n": accuracy["n"],
    }


def _table(found: Analysis) -> None:
    from loopai_runtime.cli import render

    table = [_shown(row) for row in [*found.rows, found.total]]
    headings = {"key": "", "count": "executions", "errors": "errors", "timeouts": "time-outs"}
    headings |= {"p50_ms": "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms"}
    if found.total.accuracy is not None:
        headings["accuracy"] = "accuracy (95% interval, checks)"
    name = found.task_id or "all tasks"
    render.rows(table, Output.TABLE, headings, title=f"{name}, {found.days[0]} to {found.days[-1]} (UTC)")

    if found.total.accuracy is not None:
        low, high = found.total.accuracy.always()
        render.out(f"accuracy for those who look again and again: between {low:.1%} and {high:.1%} at all times")
        if more := found.total.accuracy.more():
            render.out(f"{more} more checks until it is known to within ±2 points")


def _drift(layout: Layout, task: str | None, days: int, found: Analysis, output: Output) -> None:
    from loopai_runtime.cli import render
    from loopai_runtime.errors import UsageError
    from loopai_runtime.flows.drift import drift

    if task is None:
        raise UsageError("name a task whose drift is to be looked at", hint="loopai analyze TASK --drift")
    checks = [(one.match, one.execution_id) for one in found.checked[task]]
    result = drift(layout, task, days, checks)
    if output is Output.JSON:
        render.out(render.as_json(result.as_dict()))
    else:
        rows = [shift._asdict() | {"alarm": shift.is_alarm} for shift in result.shifts]
        columns = {"what": "", "psi": "PSI", "limit": "limit", "worst": "grew most", "was": "was", "now": "now"}
        title = f"{task} v{result.version}: {result.executions} executions, {result.checks} of them checked"
        render.rows(rows, output, columns | {"alarm": "alarm"} if output is Output.TABLE else None, title=title)
        for alarm in result.alarms if output is Output.TABLE else ():
            for example in alarm.examples:
                text = render.as_json(example["input"], indent=None)
                render.out(f"{alarm.what}: {example['execution_id']} {render.printable(text[:120])}")
    result.require_none()


def _shown(row: Row) -> dict[str, Any]:
    shown = row.as_dict() | {"key": f"v{row.key}" if isinstance(row.key, int) else row.key}
    shown["accuracy"] = "–"
    known = row.accuracy
    if known is not None and known.value is not None:
        shown["accuracy"] = f"{known.value:.1%} ({known.low:.1%} – {known.high:.1%}, {known.n})"
    return shown


def _failures(patterns: Sequence[Pattern]) -> None:
    from loopai_runtime.cli import render

    if not patterns:
        render.say("no failures among the executions that were checked, and no errors")
        return
    headings = {"pattern": "what goes wrong", "count": "times", "share": "share", "words": "where the input has"}
    table = [
        {
            "pattern": p.pattern,
            "count": p.count,
            "share": "" if p.share is None else f"{p.share:.1%}",
            "words": ", ".join(p.words),
        }
        for p in patterns
    ]
    render.rows(table, Output.TABLE, headings, title="failures")
    for pattern in patterns:
        for example in pattern.examples:
            text = render.as_json(example["input"], indent=None)
            render.out(f"{pattern.pattern}: {render.printable(text[:160])}{'…' if len(text) > 160 else ''}")


def _sql(layout: Layout, task: str | None, days: int, sql: str, output: Output) -> None:
    from loopai_runtime.cli import render
    from loopai_runtime.datasets.query import query

    columns, records = query(layout, task, days, sql)
    render.rows(records, output, {name: name for name in columns})

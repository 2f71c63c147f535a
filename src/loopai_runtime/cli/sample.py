"""`loopai sample`: which logged executions a way of sampling chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.sample import DryRun, Share


def register(app: typer.Typer) -> None:
    app.command("sample", rich_help_panel=options.WATCH)(sample)


def sample(
    ref: options.TaskRef,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="S[+S…]",
            help="random, uncertainty, stratified, temporal, adaptive; several are joined by +.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Share of executions, 0.01 to 0.20.", show_default=False)
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            "--precision",
            metavar="HALF",
            help="Choose the rate by which a week's accuracy is known to within this.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option("--max-labels-per-day", min=0, help="A budget that the rate follows.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="Today (UTC) and the days before it.")] = 7,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be chosen in numbers, not the executions.")
    ] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Choose among logged executions as a server would.

    Prints the chosen ones, a JSON object a line, each with the probability `pi` of its choice. What is not given
    comes from the settings (sampling.*), which is also where a server takes it from.
    """
    from loopai_runtime.cli import render
    from loopai_runtime.flows.sample import sample_logged

    settings = options.settings(
        data_dir,
        config,
        sampling__strategy=strategy,
        sampling__rate=rate,
        sampling__precision=precision,
        sampling__max_labels_per_day=labels,
    )
    found: list[dict[str, Any]] = []
    take = None if dry_run else found.append
    run = sample_logged(settings.layout, settings.config, ref, days, take, render.say)
    if not dry_run:
        render.rows(found, Output.JSONL if output is Output.TABLE else output)
        render.say(_total(run))
    elif output is Output.TABLE:
        _report(run)
    elif output is Output.JSON:
        render.out(render.as_json(run.as_dict()))
    else:
        render.rows([{"key": key, **share.as_dict()} for key, share in _keyed(run)], output)


def _total(run: DryRun) -> str:
    total = run.total
    share = total.expected / total.executions
    text = f"{total.chosen} of {total.executions} executions chosen ({share:.2%} expected)"
    return f"{text}; {run.other} more are no answer of the program's" if run.other else text


def _keyed(run: DryRun) -> list[tuple[str, Share]]:
    confidence = [(f"confidence {key}", run.by_confidence[key]) for key in sorted(run.by_confidence)]
    labels = sorted(run.by_label.items(), key=lambda item: -item[1].executions)[:30]
    return [("all", run.total), *sorted(run.by_day.items()), *labels, *confidence]


def _report(run: DryRun) -> None:
    from loopai_runtime.cli import render

    plan = run.plan
    budget = f", {plan.labels_per_day:.0f} labels a day" if plan.labels_per_day is not None else ""
    title = f"{run.task_id}: {'+'.join(plan.strategies)}, rate {'up to ' if budget else ''}{plan.rate:.1%}{budget}"
    rows = [
        {
            "key": key,
            "executions": share.executions,
            "chosen": share.chosen,
            "pi": f"{share.expected / share.executions:.2%}",
            "range": f"{share.least:.2%} – {share.most:.2%}",
        }
        for key, share in _keyed(run)
    ]
    columns = {"key": "", "executions": "executions", "chosen": "chosen", "pi": "mean pi", "range": "pi from – to"}
    render.rows(rows, Output.TABLE, columns, title=title)
    render.out(_total(run))
    render.out(
        f"an accuracy of {run.accuracy:.1%} would be known to within ±{100 * run.half_width:.1f} points (95 %)"
    )

"""`loopai scan`: which tasks of a log of model calls could be programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.datasets.calls import Log
    from loopai_runtime.flows.scan import Found


def register(app: typer.Typer) -> None:
    app.command("scan", rich_help_panel=options.AUTHOR)(scan)


def scan(
    calls: Annotated[
        list[Path],
        typer.Argument(metavar="CALLS.jsonl…", help="Requests with their responses, or a batch's two files."),
    ],
    target: Annotated[
        float, typer.Option("--target", min=0.5, max=0.999, help="Agreement that given answers must have.")
    ] = 0.95,
    price_in: Annotated[
        float | None,
        typer.Option("--price-in", min=0, help="US dollars for a million prompt tokens.", show_default=False),
    ] = None,
    price_out: Annotated[
        float | None,
        typer.Option("--price-out", min=0, help="US dollars for a million answer tokens.", show_default=False),
    ] = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Find the tasks in a log of model calls, and say for each whether a program could take it over.

    Calls are grouped by their prompt's template; a program from the earlier calls is tried on the later ones.
    Nothing leaves the machine. A task that compiles is kept: loopai generate NAME makes it a version.
    """
    from loopai_runtime.cli.render import as_json, out, progress, rows, say
    from loopai_runtime.datasets.calls import read_calls
    from loopai_runtime.errors import GateMissed, UsageError
    from loopai_runtime.flows.scan import Prices, keep
    from loopai_runtime.flows.scan import scan as run_flow

    if (price_in is None) != (price_out is None):
        raise UsageError("--price-in and --price-out go together")
    prices = None if price_in is None or price_out is None else Prices(price_in, price_out)
    settings = options.settings(data_dir, config)
    log = read_calls(calls)
    _tell_skipped(log)
    with progress("scanning", 100) as advance:
        found = run_flow(
            log.calls,
            settings.config,
            target=target,
            prices=prices,
            tell=lambda what, share: advance(None if share is None else round(share * 100), what),
        )
    kept = {one.task_id: keep(one, settings.layout, target) for one in found if one.compiles}
    if output is Output.TABLE:
        _report(found)
    elif output is Output.JSON:
        out(as_json({"calls": len(log.calls), "skipped": log.skipped, "tasks": [one.as_dict() for one in found]}))
    else:
        rows([_flat(one) for one in found], output)
    for name in kept.values():
        say(f"next: loopai generate {name}")
    if not found:
        raise GateMissed(
            f"no task found in {len(log.calls):,} calls",
            hint="a task is at least five calls that share the words of their prompt and differ in their input",
        )


def _tell_skipped(log: Log) -> None:
    from loopai_runtime.cli.render import say

    if log.skipped:
        say(f"warning: {log.skipped:,} of {log.skipped + len(log.calls):,} lines are no calls and were skipped:")
        for where in log.first_skipped:
            say(f"  {where}")


def _report(found: Sequence[Found]) -> None:
    from loopai_runtime.cli.render import rows, say

    for one in found:
        say(f"{one.task_id}: {one.verdict}")
        say(f"  prompt: {_short(one.template)}")
    columns = ("task", "calls", "a day", "verdict", "agreement on later calls", "$/day now", "$/day after")
    rows([dict(zip(columns, _cells(one), strict=True)) for one in found], Output.TABLE)
    say("Agreement is with the model's own answers, not accuracy: where the model is wrong, so is the program.")


def _cells(one: Found) -> list[str]:
    return [
        one.task_id,
        f"{one.calls:,}",
        _number(one.calls_a_day, "{:,.0f}"),
        one.verdict.split(";")[0],
        _shares(one),
        _number(one.usd_a_day, "{:,.4g}"),
        _number(one.usd_a_day_after if one.compiles else one.usd_a_day, "{:,.4g}"),
    ]


def _shares(one: Found) -> str:
    part = one.agreement_answered if one.compiles else one.agreement
    if part is None:
        return ""
    return f"{part['value']:.1%} ({part['low']:.1%} to {part['high']:.1%}) of {part['n']:,.0f}"


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else form.format(value)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:157]}..."


def _flat(one: Found) -> dict[str, Any]:
    keys = (
        "task_id",
        "verdict",
        "calls",
        "calls_a_day",
        "answered",
        "usd_a_day",
        "usd_a_day_after",
        "form",
        "odd",
    )
    return {key: one.as_dict()[key] for key in keys}

"""`loopai validate`: the oracle is asked about sampled executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.validate import Validation
    from loopai_runtime.validation.error_rate import Share
    from loopai_runtime.validation.estimate import Estimate


def register(app: typer.Typer) -> None:
    app.command("validate", rich_help_panel=options.WATCH)(validate)


def validate(
    task: options.TaskRef,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, metavar="N", help="Ask about so many at most.", show_default=False),
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under",
            min=0,
            max=1,
            help="Exit 3 if the accuracy (the estimate, not its lower bound) is below this.",
            show_default=False,
        ),
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Also measure the oracle itself, on examples and persons' labels.")
    ] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
    lock_timeout: options.LockTimeout = 0,
) -> None:
    """Ask the oracle about sampled executions.

    Each is asked about once, the newest first, and compared with what the program answered. The accuracy is
    that of the version that serves. Where the oracle was audited, its own errors are taken out of it
    (Rogan-Gladen).

    Exits 3 below --fail-under, and where there is nothing to judge on.
    """
    from loopai_runtime.artifacts import references
    from loopai_runtime.artifacts.store import ArtifactStore
    from loopai_runtime.cli.render import as_json, out, progress, say
    from loopai_runtime.cli.render import rows as print_rows
    from loopai_runtime.flows.validate import validate as run_flow

    settings = options.settings(data_dir, config)
    ref = references.parse(task)
    with progress("asking the oracle", limit) as advance:
        result = run_flow(
            settings.layout,
            settings.config,
            ref.task_id,
            version=ArtifactStore(settings.layout).resolve(ref)[1] if "@" in task else None,
            limit=limit,
            audit=audit,
            lock_timeout_s=lock_timeout,
            tell=say,
            advance=lambda done: advance(done if limit else None, f"{done} asked"),
        )
    if output is Output.TABLE:
        _report(result)
    elif output is Output.JSON:
        out(as_json(result.as_dict()))
    else:
        print_rows([{"version": v, **share.as_dict()} for v, share in sorted(result.versions.items())], output)
    _conclude(result)
    result.require(fail_under)


def _report(result: Validation) -> None:
    from loopai_runtime.cli import render

    table: list[dict[str, Any]] = []
    for version, share in sorted(result.versions.items()):
        name = f"v{version}" + (" (active)" if version == result.active else "")
        table.append({"what": f"{name} agrees with the oracle", **_cells(share)})
    if result.audit is not None and result.audit.accuracy is not None:
        table.append({"what": "the oracle is right on gold labels", **_cells(result.audit.accuracy)})
    if result.corrected is not None:
        table.append({"what": "accuracy, corrected for the oracle's errors", **_cells(result.corrected)})
    if table:
        columns = {"what": "", "share": "share", "interval": "95 % interval", "n": "of"}
        render.rows(table, Output.TABLE, columns, title=f"{result.task_id}, judged by {result.oracle}")


def _cells(share: Share | Estimate) -> dict[str, str]:
    return {
        "share": "–" if share.value is None else f"{share.value:.1%}",
        "interval": f"{share.low:.1%} – {share.high:.1%}",
        "n": str(share.n),
    }


def _conclude(result: Validation) -> None:
    from loopai_runtime.cli.render import say

    cost = f", ${result.usd:.4g}" if result.usd else ""
    say(f"asked about {result.asked} executions: {result.matched} of {result.judged} judged are right{cost}")
    for trouble, count in result.troubles.items():
        say(f"no answer to {count}: {trouble}")
    if result.waiting:
        say(f"{result.waiting} wait for a person: loopai label {result.task_id}")
    if result.uncorrectable is not None:
        say(f"not corrected for the oracle's errors: {result.uncorrectable}")

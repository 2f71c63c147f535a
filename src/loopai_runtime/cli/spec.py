"""`loopai init` and `loopai check`: a specification to start from, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.check import Checked

SHOWN = 30  # classes in the table


def register(app: typer.Typer) -> None:
    app.command("init", rich_help_panel=options.AUTHOR)(init)
    app.command("check", rich_help_panel=options.AUTHOR)(check)


def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Where to write it.")] = Path("spec.yaml"),
    template: Annotated[
        str, typer.Option("--template", "-t", metavar="NAME", help="classify, extract, route or transform.")
    ] = "classify",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a specification that works as it is.

    Beside it stands its JSON Schema, with which editors complete and check it.
    """
    from loopai_runtime.cli.render import out, say
    from loopai_runtime.flows.check import init as write

    out(str(write(path, template, force=force)))
    say(f"next: loopai check {path}, then loopai generate {path}")


def check(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The specification (spec.yaml), or - for stdin.")],
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Judge a specification and its examples: every fault at once.

    Exits 2 if there are faults; each is a line with file, line and JSON path.
    """
    from loopai_runtime.cli.render import document, rows, say
    from loopai_runtime.flows.check import check as judge

    checked = judge(spec, options.settings(data_dir, config).layout.vault)
    for sentence in checked.ignored:
        say(f"warning: {sentence}")
    if output is Output.TABLE:
        _report(checked)
    elif output is Output.CSV:
        rows(checked.as_dict()["faults"], output, {"file": "", "line": "", "path": "", "message": ""})
    else:
        document(checked.as_dict(), output)
    if checked.faults:
        raise typer.Exit(2)


def _report(checked: Checked) -> None:
    from loopai_runtime.cli.render import out, printable, say

    for fault in checked.faults:
        out(printable(str(fault)))
    if checked.faults:
        say(f"{len(checked.faults)} fault{'s' if len(checked.faults) > 1 else ''}")
    found = checked.examples
    if found is None:
        return
    counts = found.label_counts
    out(f"{found.given:,} examples" + (f" of {len(counts)} classes" if counts else ", outputs of many kinds"))
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for label, count in most_first[:SHOWN]:
        out(printable(f"  {count:>7,}  {label}"))
    if len(most_first) > SHOWN:
        out(f"  {sum(count for _, count in most_first[SHOWN:]):>7,}  in {len(most_first) - SHOWN} smaller classes")
    out(f"{found.duplicates:,} exact duplicates, merged")
    out(f"{found.near_duplicates:,} near duplicates, kept on one side of every split")
    out(f"{len(found.contradictions):,} inputs with contradicting outputs")
    if checked.unlabelled:
        out(f"{checked.unlabelled:,} inputs without answers")
    for warning in found.warnings:
        say(f"warning: {warning}")
    out("no faults")

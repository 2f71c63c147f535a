"""`loopai generate`: a specification becomes a verified version."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.synthesis.writer.write import Prompts


Spec = Annotated[
    str,
    typer.Argument(metavar="SPEC", help="The specification (spec.yaml), - for stdin, or a task that scan found."),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="auto, rule, ml, … instead of the specification's.",
        show_default=False,
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Same seed, same program.", show_default=False)]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="Write and judge candidates for so long (30s, 2m), take the best so far; so does Ctrl-C.",
        show_default=False,
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A language model, by its name for litellm, that writes programs too.",
        show_default=False,
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        metavar="USD",
        min=0,
        help="The most that calls to it may cost; 0 makes none.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the prompts and the most it could cost; call and write nothing."),
]
Variance = Annotated[
    int,
    typer.Option("--variance", metavar="N", min=1, max=50, help="Repeat with N seeds and report the spread."),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="Ask nothing; take examples that the model makes up, if there are none, unseen."),
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Accuracy by share answered, as PNG or SVG.", show_default=False),
]


def register(app: typer.Typer) -> None:
    app.command("generate", rich_help_panel=options.AUTHOR)(generate)


def generate(
    spec: Spec,
    strategy: Strategy = None,
    seed: Seed = None,
    budget: Budget = None,
    model: ModelName = None,
    max_cost: MaxCost = None,
    dry_run: DryRun = False,
    variance: Variance = 1,
    yes: Yes = False,
    plot: Plot = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
    lock_timeout: options.LockTimeout = 0,
) -> None:
    """Make a verified program of a specification.

    It is written from the examples, judged on examples it has not seen, and stored as a new version.
    Where two readings fit the examples, and this is a terminal, it asks which is meant; the answer is kept
    as a label of the task, from which later versions learn too.

    Exits 3 when the program misses the specification's targets: it is kept as a draft, and nothing changes
    for the version that serves.
    """
    from dataclasses import replace

    from loopai_runtime.cli.asking import settle, somebody
    from loopai_runtime.cli.generated import conclude, report
    from loopai_runtime.cli.plot import offload_curve, require_plotting
    from loopai_runtime.cli.render import document, progress, say
    from loopai_runtime.flows.check import not_applied
    from loopai_runtime.flows.generate import Ask, preview
    from loopai_runtime.flows.generate import generate as run_flow
    from loopai_runtime.synthesis.specfile import load

    if plot is not None:
        require_plotting(plot)
    budget_s = options.duration_s(budget, "--budget") if budget else math.inf
    settings = options.settings(data_dir, config)
    loaded = load(settings.layout.spec_named(spec))
    for sentence in not_applied(loaded.spec):
        say(f"warning: {sentence}")
    ask = Ask(strategy, seed, budget_s, model, max_cost, yes, variance, say)
    if dry_run:
        prompts(preview(loaded, settings.layout, settings.config, ask), output)
        return
    with progress("generating", 100) as advance:
        if output is Output.TABLE and not yes and somebody():
            ask = replace(ask, settle=advance.paused()(settle))
        made = run_flow(
            loaded,
            settings.layout,
            settings.config,
            ask,
            lock_timeout_s=lock_timeout,
            progress=lambda what, share: advance(None if share is None else int(share * 100), what),
        )
    if output is Output.TABLE:
        report(made)
    else:
        document(made.summary(), output)
    if plot is not None:
        offload_curve(made.synthesis.offload, plot, made.artifact.task_id)
    conclude(made)
    made.require()


def prompts(asked: Prompts, output: Output) -> None:
    """What a model would be asked, in full, and on stderr the most it could cost."""
    from loopai_runtime.cli.render import document, out, printable, say

    if output is not Output.TABLE:
        document(asked.as_dict(), output)
    else:
        for number, messages in enumerate(asked.messages, 1):
            for message in messages:
                out(f"--- prompt {number}, {message['role']}\n{printable(message['content'])}")
    say(f"{len(asked.messages)} prompts; with repairs at most {asked.calls} calls and ${asked.most_usd:.4f}")

"""`loopai replay`: a version over logged traffic, before anybody is served by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.changes import Answer, Group, Replayed

_SHOWN = 20  # groups of a table


def register(app: typer.Typer) -> None:
    app.command("replay", rich_help_panel=options.IMPROVE)(replay)


def replay(
    ref: options.TaskRef,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far back: 7d, 12h, 30m.")] = "7d",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="So many executions at most, the latest day first.", show_default=False
        ),
    ] = None,
    fail_on_broken: Annotated[
        int | None,
        typer.Option(
            "--fail-on-broken",
            metavar="N",
            min=1,
            help="Exit 3 if N or more answers would turn wrong, as judged, or if none was judged.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, max=64, show_default=False)] = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Run a version on the inputs in the log and show every answer that would change, and who is right.

    Nothing is recorded and no oracle is asked. Grouped, those first of which an oracle's answer is known; -o jsonl
    prints each execution that would change.
    """
    from loopai_runtime.artifacts.store import ArtifactStore
    from loopai_runtime.cli import render
    from loopai_runtime.flows.measure import open_pool
    from loopai_runtime.flows.replay import replay as run_flow

    seconds = options.duration_s(since, "--since")
    settings = options.settings(data_dir, config, execution__worker_count=workers)
    stored = ArtifactStore(settings.layout).read(ref)

    each = (lambda change: render.rows([change.as_dict()], output)) if output is Output.JSONL else None
    with open_pool(settings.config) as pool, render.progress("replaying", limit) as advance:
        done = run_flow(
            pool,
            stored,
            settings.layout,
            settings.config,
            since_s=seconds,
            limit=limit,
            changed=each,
            advance=lambda count: advance(count, None),
        )
    if output is Output.JSON:
        render.out(render.as_json(done.as_dict()))
    elif output is Output.CSV:
        render.rows([_flat(group) for group in done.groups], output)
    elif output is Output.TABLE:
        _report(done)
    if fail_on_broken is not None:
        done.require(fail_on_broken)


def _flat(group: Group) -> dict[str, Any]:
    return {
        "old": _text(group.old, group.kinds[0]),
        "new": _text(group.new, group.kinds[1]),
        "count": group.count,
        "checked": group.checked,
        **{str(verdict): count for verdict, count in group.verdicts.items()},
    }


def _text(answer: Answer | None, kind: str) -> str:
    from loopai_runtime.cli.render import as_json

    if answer is None:
        return f"({kind}, others)"
    if answer.kind == "answer":
        text = as_json(answer.output, indent=None)
        return text if len(text) <= 120 else text[:119] + "…"
    return "abstained" if answer.kind == "abstained" else f"error {answer.output}"


def _report(done: Replayed) -> None:
    from loopai_runtime.cli import render

    headings = {"old": "was", "new": "would be", "count": "times", "broken": "broken", "fixed": "fixed"}
    headings |= {"both_wrong": "both wrong", "both_right": "both right"}
    title = f"{done.task_id}@{done.version} on {done.executions:,} executions since {done.since}"
    groups = done.groups
    if groups:
        render.rows([_flat(group) for group in groups[:_SHOWN]], Output.TABLE, headings, title=title)
    share = done.changed / done.executions
    render.out(f"{done.changed:,} of {done.executions:,} answers would change ({share:.1%})")
    verdicts = done.verdicts
    if done.checked:
        render.out(
            f"of the {done.checked:,} that an oracle judged, {verdicts['fixed']:,} would be fixed and "
            f"{verdicts['broken']:,} broken"
        )
    else:
        render.out("no oracle has judged any of them: nothing says who is right")
    _latency(done)
    for group in groups[:_SHOWN]:
        _examples(group)
    if len(groups) > _SHOWN:
        render.say(f"{len(groups) - _SHOWN:,} more groups: -o json")
    if done.without_input:
        render.say(f"{done.without_input:,} executions were passed over: their inputs are not in the log")


def _latency(done: Replayed) -> None:
    from loopai_runtime.cli import render

    sides = done.latency_ms()
    if sides["logged"]["p50"] is not None:
        said = [", ".join(f"{name} {value:.3g}" for name, value in side.items()) for side in sides.values()]
        render.out(f"latency in ms: {said[0]} as logged; {said[1]} here")


def _examples(group: Group) -> None:
    from loopai_runtime.cli import render

    name = f"{_text(group.old, group.kinds[0])} -> {_text(group.new, group.kinds[1])}"
    for change in sorted(group.examples, key=lambda one: not one.checked):
        text = render.as_json(change.input, indent=None)
        judged = ""
        if change.checked:
            right = render.as_json(change.right, indent=None)
            judged = f" [{str(change.verdict).replace('_', ' ')}; right is {right[:80]}]"
        line = f"{name}{judged}: {change.execution_id} {text[:120]}{'…' if len(text) > 120 else ''}"
        render.out(render.printable(line).replace("\n", " "))

"""`loopai generate` and `loopai demo`: a specification becomes a verified version."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.generated import Generated
    from loopai_runtime.synthesis.writer.write import Prompts


def register(app: typer.Typer) -> None:
    app.command("generate", rich_help_panel=options.AUTHOR)(generate)
    app.command("demo", rich_help_panel=options.AUTHOR)(demo)


def generate(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", help="The specification (spec.yaml), - for stdin, or a task that scan found."
        ),
    ],
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help="auto, rule, ml, … instead of the specification's.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Same seed, same program.", show_default=False)
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="Judge candidates for so long (30s, 2m) and take the best so far; Ctrl-C does the same.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A language model, by its name for litellm, that writes programs too.",
            show_default=False,
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            "--max-cost",
            metavar="USD",
            min=0,
            help="The most that calls to it may cost; 0 makes none.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the prompts and the most it could cost; call and write nothing."),
    ] = False,
    variance: Annotated[
        int,
        typer.Option("--variance", metavar="N", min=1, max=50, help="Repeat with N seeds and report the spread."),
    ] = 1,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="Ask nothing; take examples that the model makes up, where there are none, unseen."
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Accuracy by share answered, as PNG or SVG.", show_default=False
        ),
    ] = None,
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
    from loopai_runtime.cli.plot import offload_curve, require_plotting
    from loopai_runtime.cli.render import as_json, out, progress, say
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
        out(as_json(made.summary(), indent=2 if output is Output.JSON else None))
    if plot is not None:
        offload_curve(made.synthesis.offload, plot, made.artifact.task_id)
    conclude(made)
    made.require()


def prompts(asked: Prompts, output: Output) -> None:
    """What a model would be asked, in full, and on stderr the most it could cost."""
    from loopai_runtime.cli.render import as_json, out, printable, say

    if output is not Output.TABLE:
        out(as_json(asked.as_dict(), indent=2 if output is Output.JSON else None))
    else:
        for number, messages in enumerate(asked.messages, 1):
            for message in messages:
                out(f"--- prompt {number}, {message['role']}\n{printable(message['content'])}")
    say(f"{len(asked.messages)} prompts; with repairs at most {asked.calls} calls and ${asked.most_usd:.4f}")


def report(made: Generated) -> None:
    """The table of what won and what lost, by how much, on how many examples."""
    from loopai_runtime.cli import render

    rows = [
        {
            "": "→" if candidate["won"] else "",
            "program": candidate["name"],
            "accuracy": _percent(candidate["accuracy"], candidate["standard_error"]),
            "size": _size(candidate["bytes"]),
            "call": "" if candidate["microseconds"] is None else f"{candidate['microseconds']:.0f} µs",
            "verdict": candidate["verdict"],
        }
        for candidate in made.artifact.candidates
    ]
    judged = made.artifact.judged
    title = (
        f"{made.artifact.task_id}: judged on {judged['examples']} examples, each by programs that had not seen it"
    )
    render.rows(rows, Output.TABLE, title=title)
    if made.artifact.abstain is not None:
        curve(made)


def curve(made: Generated) -> None:
    """How often what is answered is right, by how much is answered."""
    from loopai_runtime.cli import render

    offload = made.synthesis.offload
    rows = [
        {
            "answered": f"{point.coverage:.1%}",
            "right": f"{point.accuracy:.2%}",
            "at least": f"{point.lower_bound:.2%}",
            "score from": f"{point.threshold:.4f}",
        }
        for point in offload.curve
    ]
    title = f"what is answered, by the score it starts at; lower bounds with {offload.confidence:.0%} confidence"
    render.rows(rows, Output.TABLE, title=title)


def _percent(value: float | None, error: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" + (f" ± {error * 100:.1f}" if error is not None else "")


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1024:.1f} KB" if size >= 1024 else f"{size} B"


def conclude(made: Generated) -> None:
    """In words, on stderr: how good it is, what became of it, and what to type next."""
    from loopai_runtime.cli.render import say

    artifact, gate = made.artifact, made.gate
    ref = f"{artifact.task_id}@{artifact.version}"
    for warning in made.examples.warnings[:10]:
        say(f"warning: {warning}")
    for note in made.notes:
        say(note)
    say(
        f"{ref}: {artifact.learner} program, {_size(artifact.complexity_metrics.bytes)}; {_promise(made)}; "
        f"p99 {gate.p99_ms:.2f} ms (target {gate.latency_target_ms:g})"
    )
    offload = made.synthesis.offload
    if artifact.confidence_kind == "accuracy_bound":
        say(
            f"safe offload at {offload.target_accuracy:.1%} accuracy, {offload.confidence:.0%} confidence: "
            f"{offload.coverage:.1%} of inputs. Verdict: {offload.verdict}"
        )
    if artifact.abstain is not None:
        threshold = artifact.abstain.threshold
        where = (
            "on every input" if threshold is None else f"where score is below {threshold:g}" if threshold else ""
        )
        say(f"abstains {where or 'on nothing'}")
    if made.synthesis.advice:
        say(made.synthesis.advice)
    hints(made)
    if not gate.latency_met:
        say(f"too slow: p99 {gate.p99_ms:.2f} ms; latency_target_ms is {gate.latency_target_ms:g}")
    if made.activated:
        say(f"{ref} is active: loopai run {artifact.task_id} INPUT")
    elif gate.met:
        say(f"v{made.active_version} stays active; try loopai diff {artifact.task_id}@active {ref}, then")
        say(f"  loopai activate {ref}    or    loopai rollout start {ref}")
    else:
        say(f"{ref} is kept as a draft: loopai run {ref} INPUT tries it, loopai activate {ref} takes it")


def _promise(made: Generated) -> str:
    """How good the program is, in the words that fit how it was judged."""
    gate, bound = made.gate, made.artifact.confidence_score
    if made.artifact.confidence_kind == "all_correct":
        return f"right on all inputs with probability {gate.accuracy:.1%} (target {gate.accuracy_target:.1%})"
    return (
        f"accuracy {gate.accuracy:.1%} on unseen examples (target {gate.accuracy_target:.1%}), "
        f"at least {bound:.1%} with 90 % confidence"
    )


def hints(made: Generated) -> None:
    """Which examples look wrong, and which inputs to label next."""
    from loopai_runtime.cli.render import say
    from loopai_runtime.jsonl import dumps

    if suspects := made.suspects:
        say(f"{len(suspects)} examples look mislabelled, the surest first (all of them: -o json):")
        for one in suspects[:5]:
            given, answer = dumps(one["given"]), dumps(one["answer"])
            say(f"  {one['where'] or 'an example'}: says {given}, looks like {answer} ({one['confidence']:.2f})")
    if suggestions := made.survey.suggestions:
        place = f"tasks/{made.artifact.task_id}/suggestions.jsonl"
        say(f"labelling these would teach most; {len(suggestions)} are in {place}:")
        for suggestion in suggestions[:5]:
            text = dumps(suggestion.input)
            shown = text if len(text) <= 90 else text[:90] + "…"
            say(f"  {shown} (now {dumps(suggestion.output)}, {suggestion.confidence:.2f})")


def demo(
    data_dir: options.DataDir = None,
) -> None:
    """See the main job on a packaged task.

    Generates its program, runs a few inputs, and shows where everything landed.
    """
    import time

    from loopai_runtime.cli.render import as_json, out, progress
    from loopai_runtime.flows.demo import CALLS_A_DAY, PRICE_IN, PRICE_OUT
    from loopai_runtime.flows.demo import demo as run_flow

    started = time.monotonic()
    place = data_dir or Path(tempfile.mkdtemp(prefix="loopai-demo-"))
    settings = options.settings(place)
    with progress("generating", 100) as advance:
        shown = run_flow(
            place / "demo",
            settings.layout,
            settings.config,
            lambda what, share: advance(None if share is None else int(share * 100), what),
        )
    report(shown.made)
    conclude(shown.made)
    out("")
    for value, result in shown.results:
        line = result.line()
        confidence = f"{line['confidence']:.2f}" if "confidence" in line else "    "
        text = value["text"] if isinstance(value, dict) and "text" in value else as_json(value, indent=None)
        out(f"  {line['output']!s:<10} {confidence}  {line['latency_ms']:.2f} ms   {str(text)[:70]}")
    task_id = shown.made.artifact.task_id
    out(f"\nThe same from an LLM at {CALLS_A_DAY:,} calls a day: about ${shown.llm_usd_a_month:,.0f} a month")
    out(f"(assuming ${PRICE_IN} and ${PRICE_OUT} a million tokens in and out), and every text leaves the house.\n")
    for name, path in shown.places(settings.layout).items():
        out(f"  {name:<15} {path}")
    out(f"\nDone in {time.monotonic() - started:.1f} s. Next, with LOOPAI_DATA_DIR={place}:")
    sample = as_json(shown.results[0][0], indent=None)
    for command in (
        f"loopai run {task_id} {_quoted(sample)} --details",
        f"loopai why {task_id} {_quoted(sample)}",
        f"loopai show {task_id} --code",
        "loopai init my-task.yaml --template classify",
    ):
        out(f"  {command}")


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)

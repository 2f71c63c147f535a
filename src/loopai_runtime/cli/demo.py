"""`loopai demo`: the main job, on a packaged task."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

from loopai_runtime.cli import options


def register(app: typer.Typer) -> None:
    app.command("demo", rich_help_panel=options.AUTHOR)(demo)


def demo(
    data_dir: options.DataDir = None,
) -> None:
    """See the main job on a packaged task.

    Generates its program, runs a few inputs, and shows where everything landed.
    """
    import time

    from loopai_runtime.cli.generated import conclude, report
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

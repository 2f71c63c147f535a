"""`loopai telemetry`: what is reported to the platform, shown before it leaves."""

from __future__ import annotations

from typing import Annotated

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

telemetry_app = typer.Typer(
    help="What is reported to the platform: how it stands, what would leave, and sending it now.",
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    app.add_typer(telemetry_app, name="telemetry", rich_help_panel=options.OPERATE)


@telemetry_app.command("status")
def status(
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Show where reports go, what waits, what went and what was lost."""
    from loopai_runtime.cli.render import record, say
    from loopai_runtime.flows import outgoing, report

    loaded = options.settings(data_dir, config)
    record(outgoing.status(loaded.layout, loaded.config), output)
    if not loaded.config.telemetry_on:
        say(f"telemetry is off: nothing leaves; {report.how_on(loaded.config)}")


@telemetry_app.command("preview")
def preview(
    raw: Annotated[
        bool, typer.Option("--raw", help="The bytes as they go over the wire (gzip) instead of the JSON in them.")
    ] = False,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Print exactly the bytes that the next upload would hold, and why; nothing is sent."""
    import sys

    from loopai_runtime.cli.render import say
    from loopai_runtime.flows import outgoing, report
    from loopai_runtime.telemetry.policy import policy_of

    loaded = options.settings(data_dir, config)
    found = outgoing.preview(loaded.layout, loaded.config)
    mode, where = loaded.config.telemetry.privacy_mode, loaded.config.cloud.api_url
    say(f"to: {f'{where}/api/v1/telemetry' if where else 'nowhere'}")
    if not loaded.config.telemetry_on:
        say(f"  telemetry is off: nothing leaves; {report.how_on(loaded.config)}")
    say(f"privacy_mode {mode}: {'; '.join(policy_of(loaded.config).words())}")
    if found is None:
        say("nothing waits to be sent")
        return
    counts = ", ".join(f"{n:,} {kind}" for kind, n in sorted(found.kinds.items()))
    say(f"{found.records:,} records ({counts}), {len(found.plain):,} bytes, {len(found.packed):,} on the wire")
    for reason, n in sorted(found.withheld.items()):
        say(f"  {n:,} withheld: {reason}")
    if found.more:
        say(f"  {found.more:,} more wait for later uploads")
    sys.stdout.buffer.write(found.packed if raw else found.plain + b"\n")


@telemetry_app.command("flush")
def flush(
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Only if no earlier failure asks for waiting longer.")
    ] = False,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Report what is new and send everything now; safe beside a running server, and for cron."""
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows import report
    from loopai_runtime.telemetry.policy import warning_of

    loaded = options.settings(data_dir, config)
    if (warning := warning_of(loaded.config)) is not None:
        say(f"warning: {warning}")
    done = report.flush(loaded.layout, loaded.config, now=not if_due)
    if done.batches:
        text = f"sent {done.records:,} records in {done.batches:,} uploads, {done.bytes:,} bytes"
        say(f"{text}, to {loaded.config.cloud.api_url}")
    elif done.trouble is None and not if_due:
        say("nothing to send")
    report.checked(done)

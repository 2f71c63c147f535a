"""The application: its command tree, and the boundary where an error becomes a line and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from loopai_runtime.cli import (
    analyze,
    central,
    completion,
    demo,
    generate,
    improve,
    judge,
    keys,
    label,
    logs,
    operate,
    options,
    platform,
    replay,
    rollout,
    run,
    sample,
    scan,
    serve,
    spec,
    telemetry,
    validate,
    versions,
    webhooks,
)

_PANELS = (options.AUTHOR, options.USE, options.WATCH, options.IMPROVE, options.OPERATE)

# The order of the help, whichever file a command is in, and whether it is one command or a group of them.
_ORDER = (
    "scan init check generate label evaluate list ls show versions diff why export import verify demo "
    "run start serve bench activate rollback pull push sample validate analyze logs prune "
    "improve replay rollout tickets webhooks telemetry central keys config doctor completion"
)


class Panels(TyperGroup):
    """Help in plain text, its commands in panels: rich's help would double the start-up of every `--help`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=_ORDER.split().index)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        width = formatter.width - 6 - max(map(len, self.commands), default=0)
        for name in self.list_commands(ctx):
            command = self.commands[name]
            if not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                panels.setdefault(str(panel), []).append((name, command.get_short_help_str(width)))
        for panel in sorted(panels, key=lambda name: _PANELS.index(name) if name in _PANELS else -1):
            with formatter.section(panel):
                formatter.write_dl(panels[panel])


app = typer.Typer(
    name="loopai",
    cls=Panels,
    rich_markup_mode=None,
    help="Turn a task you send to an LLM again and again into a small verified program that runs anywhere.",
    epilog="Start with: loopai demo",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from loopai_runtime._version import __version__

        typer.echo(f"loopai-runtime {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback with an error; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Options of the application itself; what they do happens before any command."""


for _module in (
    scan,
    spec,
    generate,
    demo,
    judge,
    label,
    versions,
    run,
    serve,
    platform,
    rollout,
    sample,
    validate,
    analyze,
    central,
    logs,
    replay,
    improve,
    webhooks,
    telemetry,
    operate,
    keys,
    completion,
):
    _module.register(app)


def main() -> None:
    """The entry point of both console names."""
    sys.exit(run_line(sys.argv[1:]))


@functools.cache
def command_tree(application: typer.Typer) -> Any:
    """All commands as the parser has them, made once a process: it takes a tenth of a short command's time."""
    return typer.main.get_command(application)


def run_line(argv: list[str]) -> int:
    """Run one command line and return its exit code; errors are printed as one or two lines on stderr."""
    from loopai_runtime.errors import LoopaiError

    argv, debug = _take_debug(argv or ["--help"])
    try:
        code = command_tree(app)(args=argv, standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # Typer has made an exit of Ctrl-C
            print("interrupted", file=sys.stderr)
        return code if isinstance(code, int) else 0
    except LoopaiError as exc:
        if debug:
            raise
        _print_error(exc)
        return exc.exit_code
    except BrokenPipeError:
        # The reader went away (`loopai … | head`): stop quietly, and keep the exit hook from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.Abort:
        return 130
    except Exception as exc:
        if debug:
            raise
        return _other(exc)


def _take_debug(argv: list[str]) -> tuple[list[str], bool]:
    """`--debug` anywhere before `--` counts, since people add it to the end of the line that failed."""
    end = argv.index("--") if "--" in argv else len(argv)
    debug = "--debug" in argv[:end] or os.environ.get("LOOPAI_DEBUG", "") not in ("", "0")
    return [arg for arg in argv[:end] if arg != "--debug"] + argv[end:], debug


def _print_error(exc: Any) -> None:
    from loopai_runtime.cli.render import say

    faults = getattr(exc, "faults", None) or []
    for fault in faults[:50]:
        say(f"error: {fault}")
    if len(faults) > 50:
        say(f"error: … and {len(faults) - 50} more faults")
    if not faults:
        say(f"error: {exc}")
    if exc.hint:
        say(f"  {exc.hint}")


def _other(exc: Exception) -> int:
    """A usage error of Typer's parser, or a fault of ours."""
    from loopai_runtime.cli.render import say

    # Typer's parser errors share no public base class; they all format themselves and know their exit code.
    if hasattr(exc, "format_message"):
        context = getattr(exc, "ctx", None)
        say(f"error: {exc.format_message()}")
        if context is not None:
            say(f"  {context.command_path} --help tells more")
        return int(getattr(exc, "exit_code", 2))
    text = str(exc).strip().splitlines()
    say(f"error: internal error: {type(exc).__name__}{': ' + text[0] if text else ''}")
    say("  this is a fault of loopai-runtime; run it again with --debug and report what it prints")
    return 1


if __name__ == "__main__":
    main()

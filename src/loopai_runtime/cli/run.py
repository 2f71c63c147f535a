"""`loopai run`: one input, a batch, or a loose program file."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopai_runtime.cli import options

if TYPE_CHECKING:
    from loopai_runtime.cli.options import Settings
    from loopai_runtime.flows.execute import Executor
    from loopai_runtime.flows.remote import Remote


class OnError(StrEnum):
    FAIL = "fail"
    SKIP = "skip"
    NULL = "null"


class Wall(StrEnum):
    FULL = "full"
    POLICY = "policy"
    CAGE = "cage"


First = Annotated[
    str | None, typer.Argument(metavar="TASK[@V]", help="The task; with --program, the input.", show_default=False)
]
Second = Annotated[
    str | None, typer.Argument(metavar="INPUT", help="The input as JSON, or - for stdin.", show_default=False)
]
File = Annotated[
    str | None, typer.Option("--file", "-f", metavar="FILE", help="A JSONL file of inputs, or - for stdin.")
]
LooseProgram = Annotated[
    Path | None, typer.Option("--program", metavar="FILE.py", help="Run a loose program file in the sandbox.")
]
Details = Annotated[bool, typer.Option("--details", help="Print the whole result, not only the output.")]
FailedLine = Annotated[
    OnError, typer.Option("--on-error", help="A failed line of a batch: stop, drop the line, or keep it.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=64, help="Executor processes for a batch.", show_default=False),
]
TimeoutMs = Annotated[
    int | None, typer.Option("--timeout-ms", min=1, help="Instead of the task's own.", show_default=False)
]
NoRecord = Annotated[bool, typer.Option("--no-record", help="Do not append to the execution log.")]
Walls = Annotated[Wall, typer.Option("--sandbox", help="With --program: which walls stand.")]


def register(app: typer.Typer) -> None:
    app.command("run", rich_help_panel=options.USE)(run)


def run(
    first: First = None,
    second: Second = None,
    file: File = None,
    program: LooseProgram = None,
    details: Details = False,
    on_error: FailedLine = OnError.FAIL,
    workers: Workers = None,
    timeout_ms: TimeoutMs = None,
    no_record: NoRecord = False,
    sandbox: Walls = Wall.FULL,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Answer one input, or a file of them.

    The active version answers, or the one that TASK@V names. A file gives one result a line, in order.
    With runtime.mode: central the platform executes, and records there.
    """
    from loopai_runtime.cli.inputs import open_executor, open_remote

    given = _given(first, second, file, program)
    flags = {"execution__worker_count": workers, "execution__timeout_ms": timeout_ms}
    settings = options.settings(data_dir, config, **flags)
    if program is not None:
        raise typer.Exit(_loose(program, given, sandbox, settings))
    with ExitStack() as stack:
        one = 1 if file is None else None
        executor = open_remote(stack, settings, given, own_limits=bool(no_record or timeout_ms)) or open_executor(
            stack, settings, given, workers=one, record=not no_record
        )
        if file is not None:
            raise typer.Exit(_batch(executor, file, on_error))
        _single(executor, second or "", details)


def _given(first: str | None, second: str | None, file: str | None, program: Path | None) -> str:
    """The first argument, where the others go with it. Raises UsageError."""
    from loopai_runtime.errors import UsageError

    if program is not None and (first is None or second is not None or file is not None):
        raise UsageError("with --program give one INPUT", hint='loopai run --program FILE.py \'{"text": "hi"}\'')
    if first is None or (program is None and (second is None) == (file is None)):
        raise UsageError("give a TASK and either an INPUT or --file", hint='loopai run TASK \'{"text": "hi"}\'')
    return first


def _single(executor: Executor | Remote, text: str, details: bool) -> None:
    from loopai_runtime.cli.inputs import argument
    from loopai_runtime.cli.render import out
    from loopai_runtime.flows.execute import Request
    from loopai_runtime.jsonl import dumps

    result = executor.run(Request(argument(text, executor.input_schema)))
    if details:
        out(dumps(result.line()))
    if result.failure is not None:
        raise result.failure
    if not details and result.record is not None:
        out(dumps(result.output))


def _batch(executor: Executor | Remote, file: str, on_error: OnError) -> int:
    """Answer each line in order; the exit code is 7 if any failed."""
    from loopai_runtime.cli.inputs import open_lines, requests
    from loopai_runtime.cli.render import out, progress, say
    from loopai_runtime.flows.execute import envelope_reader
    from loopai_runtime.jsonl import dumps

    failed = done = 0
    reader = envelope_reader(executor.input_schema)
    with ExitStack() as stack:
        stream, total = open_lines(stack, file)
        advance = stack.enter_context(progress("running", total))
        for result in executor.run_all(requests(stream, reader)):
            done += 1
            failed += not result.ok
            if result.ok or on_error is not OnError.SKIP:
                out(dumps(result.line()))
            if not result.ok and on_error is OnError.FAIL:
                say(f"error: line {done}: {result.error}")
                say("  --on-error skip or null goes on after a failed line")
                return 7
            if done % 200 == 0:
                advance(stream.tell() if total else None, f"{done} lines")
    if failed:
        say(f"{failed} of {done} lines failed")
    return 7 if failed else 0


def _loose(path: Path, text: str, wall: Wall, settings: Settings) -> int:
    """Run a program file under the walls asked for; print the result object with its accounting."""
    from loopai_runtime.cli.inputs import argument
    from loopai_runtime.cli.render import out
    from loopai_runtime.errors import NotFound
    from loopai_runtime.flows.measure import run_loose
    from loopai_runtime.jsonl import dumps

    try:
        source = path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound("no such file", where=str(path)) from None
    line, code = run_loose(source, argument(text), wall.value, settings.config)
    out(dumps(line))
    return code

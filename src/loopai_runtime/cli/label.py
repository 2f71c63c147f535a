"""`loopai label`: a person answers what waits in a task's queue, a key each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopai_runtime.flows.label import Item, Session

_WIDEST = 2000  # characters of an input that are shown


def register(app: typer.Typer) -> None:
    app.command("label", rich_help_panel=options.AUTHOR)(label)


def label(
    task: options.TaskId,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Stop after so many labels.", show_default=False),
    ] = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Answer the inputs that wait for a person.

    One key gives a label: its number, or y for what is proposed; e types an answer, s skips, u undoes, q quits.
    Each label is kept at once, so that quitting loses nothing. Keys may come through a pipe. The next generate
    learns from the labels.
    """
    from loopai_runtime.cli.render import document, say
    from loopai_runtime.flows.label import open_session

    session = open_session(options.settings(data_dir, config).layout, task)
    try:
        if session.item is not None:
            _sit(session, limit)
    finally:
        left = session.close()
    given, skipped = len(session.given), len(session.skipped)
    if output is Output.TABLE:
        say(f"{given} labelled, {skipped} skipped, {left} left in the queue of {task}")
    else:
        counts = {"task_id": task, "labelled": given, "skipped": skipped, "left": left}
        document(counts, output)


def _sit(session: Session, limit: int | None) -> None:
    from loopai_runtime.cli.render import say
    from loopai_runtime.errors import InputError

    say(_legend(session))
    with _keyboard() as (key, line):
        while (item := session.item) is not None and (limit is None or len(session.given) < limit):
            say(_shown(session, item))
            while True:
                try:
                    goes_on = _act(session, key(), line)
                except InputError as error:
                    say(f"  {error}")
                    continue
                if goes_on is None:
                    continue
                if not goes_on:
                    return
                break


def _act(session: Session, pressed: str, line: Callable[[], str]) -> bool | None:
    """What a key does: True for the next item, False at the end, None where it means nothing.

    Raises InputError.
    """
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows.label import ACCEPT, EDIT, QUIT, SKIP, UNDO

    item = session.item
    assert item is not None
    if pressed in ("", QUIT, "\x04"):
        return False
    if pressed in session.keys:
        session.answer(session.keys[pressed])
    elif pressed == ACCEPT and item.has_proposal:
        session.answer(item.proposal)
    elif pressed == EDIT:
        session.typed(line())
    elif pressed == SKIP:
        session.skip()
    elif pressed == UNDO:
        say("  taken back" if session.undo() else "  nothing to undo")
    else:
        if pressed.strip():
            say(f"  {pressed!r} is no key here")
        return None
    return True


def _legend(session: Session) -> str:
    from loopai_runtime.cli.render import as_json

    keys = [f"[{key}] {as_json(value, indent=None)}" for key, value in session.keys.items()]
    others = "[y] as proposed  [e] type an answer  [s] skip  [u] undo  [q] quit"
    return "  ".join(keys) + ("\n" if keys else "") + others


def _shown(session: Session, item: Item) -> str:
    from loopai_runtime.cli.render import as_json

    text = as_json(item.input, indent=None)
    if len(text) > _WIDEST:
        text = text[:_WIDEST] + "…"
    sure = "" if item.confidence is None else f" ({item.confidence:.0%} sure)"
    proposal = f"   proposed: {as_json(item.proposal, indent=None)}{sure}" if item.has_proposal else ""
    made_up = "   made up" if item.source == "synthetic" else ""
    return f"\n{len(session.waiting)} left{made_up}\n{text}\n{proposal}".rstrip()


@contextmanager
def _keyboard() -> Iterator[tuple[Callable[[], str], Callable[[], str]]]:
    """How to read a key and a line: of a terminal as they are pressed, else of stdin; at its end both are empty.

    Raises UsageError where there is neither a terminal nor anything on stdin.
    """
    import sys

    from loopai_runtime.cli.render import say
    from loopai_runtime.errors import UsageError

    if not sys.stdin.isatty():
        first = sys.stdin.read(1)
        if not first:
            raise UsageError(
                "no terminal to read keys from, and nothing on stdin", hint="printf 12s | loopai label TASK"
            )
        pushed = [first]
        yield lambda: pushed.pop() if pushed else sys.stdin.read(1), sys.stdin.readline
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def line() -> str:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        try:
            say("answer: ")
            return sys.stdin.readline()
        finally:
            tty.setcbreak(descriptor)

    tty.setcbreak(descriptor)
    try:
        yield lambda: sys.stdin.read(1), line
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""Printing: data to stdout, messages to stderr, colour and progress only on a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType
    from rich.progress import Progress

UNBOUNDED = 1_000_000_000  # columns


def say(text: str = "") -> None:
    """A message for the person at the terminal (stderr)."""
    print(printable(text), file=sys.stderr)


def out(text: str) -> None:
    """Data (stdout), one line or block as it is."""
    sys.stdout.write(text + "\n")


def printable(text: str) -> str:
    """`text` without the control characters by which logged data could drive a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON as people read it: indented, or one line for `indent=None`."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def rows(
    records: Sequence[Mapping[str, Any]],
    output: Output,
    columns: Mapping[str, str] | None = None,
    *,
    title: str | None = None,
) -> None:
    """Print records in the format asked for. `columns` (key -> heading) chooses and orders what a table shows."""
    if output is Output.JSON:
        out(as_json(list(records)))
    elif output is Output.JSONL:
        for record in records:
            out(as_json(record, indent=None))
    elif output is Output.CSV:
        _csv(records, columns)
    else:
        _table(records, columns or {key: key for key in (records[0] if records else {})}, title)


def record(value: Mapping[str, Any], output: Output, *, title: str | None = None) -> None:
    """Print one object: as a two-column table, or as JSON."""
    if output is Output.TABLE:
        _table([{"key": key, "value": item} for key, item in value.items()], {"key": "", "value": ""}, title)
    elif output is Output.CSV:
        _csv([value], None)
    else:
        document(value, output)


def document(value: Any, output: Output) -> None:
    """Print one value as JSON: indented for people who asked for `json`, else on one line."""
    out(as_json(value, indent=2 if output is Output.JSON else None))


def cell(value: Any) -> str:
    """A value as a table's or a CSV's cell shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value
    return as_json(value, indent=None)


def _csv(records: Sequence[Mapping[str, Any]], columns: Mapping[str, str] | None) -> None:
    import csv

    names = list(columns) if columns else list(dict.fromkeys(key for record in records for key in record))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for item in records:
        values = [item.get(name) for name in names]
        writer.writerow(
            [v if isinstance(v, str | int | float) and not isinstance(v, bool) else cell(v) for v in values]
        )


def _table(records: Sequence[Mapping[str, Any]], columns: Mapping[str, str], title: str | None) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if title:  # by itself: as the table's own it would be folded to the width of the table
        show(Text(printable(title), style="table.title"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(columns.values()))
    for key, heading in columns.items():
        numeric = records and all(
            isinstance(r.get(key), int | float) and not isinstance(r.get(key), bool) for r in records
        )
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for item in records:
        table.add_row(*(Text(printable(cell(item.get(key)))) for key in columns))
    show(table)


def show(renderable: RenderableType) -> None:
    """Print something of rich's to stdout; piped, it is plain text as wide as it needs."""
    console().print(renderable)


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # A pipe has no width; rich would take 80 and fold what a script wants to read.
    size = None if stream.isatty() else UNBOUNDED
    return Console(
        file=stream, width=size, height=size, highlight=False, soft_wrap=False, emoji=False, markup=False
    )


class Bar:
    """Progress on stderr; `bar(completed, note)`: `completed` counts from 0 to the total, either may be None."""

    def __init__(self, description: str, total: int | None, shown: Progress | None) -> None:
        self.description, self.shown = description, shown
        self.task = shown.add_task(description, total=total) if shown else None

    def __call__(self, completed: int | None, note: str | None) -> None:
        if self.shown is not None and self.task is not None:
            told = printable(note) if note else self.description
            self.shown.update(self.task, completed=completed, description=told)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Off the terminal, for a question."""
        if self.shown is None:
            yield
            return
        self.shown.stop()
        try:
            yield
        finally:
            self.shown.start()


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Bar]:
    """A progress bar when stderr is a terminal, else silence."""
    if not sys.stderr.isatty():
        yield Bar(description, total, None)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as shown:
        yield Bar(description, total, shown)

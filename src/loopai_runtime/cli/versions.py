"""Versions of a task: what there is, which serves, and bundles in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.artifacts.store import ArtifactStore, Listed

Reason = Annotated[
    str | None, typer.Option("--reason", help="Why; kept in the task's history.", show_default=False)
]


def register(app: typer.Typer) -> None:
    app.command("list", rich_help_panel=options.AUTHOR)(list_)
    app.command("ls", rich_help_panel=options.AUTHOR, hidden=True)(list_)
    app.command("show", rich_help_panel=options.AUTHOR)(show)
    app.command("versions", rich_help_panel=options.AUTHOR)(versions)
    app.command("export", rich_help_panel=options.AUTHOR)(export)
    app.command("import", rich_help_panel=options.AUTHOR)(import_)
    app.command("verify", rich_help_panel=options.AUTHOR)(verify)
    app.command("activate", rich_help_panel=options.USE)(activate)
    app.command("rollback", rich_help_panel=options.USE)(rollback)


def _store(data_dir: Path | None, config: Path | None) -> ArtifactStore:
    from loopai_runtime.artifacts.store import ArtifactStore

    return ArtifactStore(options.settings(data_dir, config).layout)


def list_(
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """List the tasks here."""
    from loopai_runtime.cli.render import rows

    store = _store(data_dir, config)
    found = []
    for task_id in store.layout.tasks():
        state = store.state(task_id)
        found.append({"task_id": task_id, "active": state.active, "versions": len(state.versions)})
    rows(found, output, {"task_id": "task", "active": "active", "versions": "versions"})


def versions(
    task: options.TaskId,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """List a task's versions."""
    from loopai_runtime.cli.render import rows

    store = _store(data_dir, config)
    found = [_row(task, item) for item in store.versions(store.layout.require_task(task))]
    shown = ("version", "status", "strategy", "confidence_score", "bytes", "created_at")
    rows(found, output, {name: name for name in (shown if output is Output.TABLE else _row_keys())})


def _row_keys() -> tuple[str, ...]:
    return ("task_id", "version", "status", "strategy", "confidence_score", "created_at", "sha256", "bytes")


def _row(task_id: str, item: Listed) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_row_keys())
    row |= {"task_id": task_id, "version": item.version, "status": item.status.value, "sha256": item.digest}
    if item.stored is None:
        return row | {"status": "damaged"}
    artifact = item.stored.artifact
    return row | {
        "strategy": artifact.synthesis_strategy.value,
        "confidence_score": artifact.confidence_score,
        "created_at": artifact.created_at,
        "bytes": artifact.complexity_metrics.bytes,
    }


def show(
    ref: options.TaskRef,
    code: Annotated[bool, typer.Option("--code", help="Print program.py.")] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Show a version: its program, or how it was judged."""
    from loopai_runtime.cli.render import out, record

    stored = _store(data_dir, config).read(ref)
    if code:
        out(stored.code.rstrip("\n"))
        return
    value = stored.artifact.model_dump(mode="json", by_alias=True) | {
        "status": stored.status.value,
        "sha256": stored.digest,
    }
    if output is Output.TABLE:
        value = {key: value[key] for key in value if key not in ("candidates", "files", "judged")}
    record(value, output)


def activate(
    ref: options.TaskRef,
    reason: Reason = None,
    lock_timeout: options.LockTimeout = 0,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Let a version serve.

    A task that has served traffic asks for --reason.
    """
    from loopai_runtime.cli.render import say
    from loopai_runtime.errors import UsageError

    store = _store(data_dir, config)
    task_id, version = store.resolve(ref)
    if reason is None and store.layout.executions(task_id).exists():
        raise UsageError(f"{task_id} has served traffic", hint="say why with --reason TEXT")
    with store.layout.lock(task_id, lock_timeout):
        store.activate(task_id, version, reason=reason)
    say(f"{task_id}@{version} is active")


def rollback(
    task: options.TaskId,
    reason: Reason = None,
    lock_timeout: options.LockTimeout = 0,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Let the previous version serve again."""
    from loopai_runtime.cli.render import say

    store = _store(data_dir, config)
    task_id = store.layout.require_task(task)
    with store.layout.lock(task_id, lock_timeout):
        version = store.rollback(task_id, reason=reason)
    say(f"{task_id}@{version} is active")


def export(
    ref: options.TaskRef,
    to: Annotated[Path, typer.Option("--out", metavar="PATH", help="Where to write the bundle (.zip).")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Write a version as one ZIP that any Python 3.9+ runs."""
    from loopai_runtime.artifacts.archive import write_zip
    from loopai_runtime.cli.render import out
    from loopai_runtime.errors import UsageError
    from loopai_runtime.layout import replace_file

    stored = _store(data_dir, config).read(ref)
    if to.exists() and not force:
        raise UsageError("there is a file already", where=str(to), hint="--force overwrites it")
    replace_file(to, write_zip(stored.bundle))
    out(str(to))


def import_(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A ZIP written by loopai export, or a folder.")],
    task: Annotated[str | None, typer.Option("--task", help="Under another task id.", show_default=False)] = None,
    lock_timeout: options.LockTimeout = 0,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Verify a bundle and store it as a version."""
    from loopai_runtime.artifacts.archive import read
    from loopai_runtime.cli.render import out, say
    from loopai_runtime.layout import checked_task
    from loopai_runtime.models import VersionStatus

    store = _store(data_dir, config)
    foreign = read(bundle)
    task_id = checked_task(task or foreign.artifact.task_id)
    with store.layout.lock(task_id, lock_timeout):
        stored, new = store.import_bundle(foreign, VersionStatus.VALIDATED, task_id)
    ref = f"{task_id}@{stored.artifact.version}"
    out(ref)
    say(f"stored; loopai activate {ref} lets it serve" if new else "the same artifact is here already")


def verify(
    what: Annotated[str, typer.Argument(metavar="TASK[@V]|BUNDLE", help="A version here, or a bundle.")],
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Check every digest of a version or bundle."""
    from loopai_runtime.artifacts.archive import read
    from loopai_runtime.cli.render import out

    digest = read(Path(what)).digest if Path(what).exists() else _store(data_dir, config).read(what).digest
    out(f"ok {digest}")

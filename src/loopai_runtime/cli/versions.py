"""The commands about versions: what there is, what differs, which one serves, and bundles in and out."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.artifacts.store import ArtifactStore, Stored
    from loopai_runtime.flows.versions import Difference

SHOWN_CHANGES = 20
SHOWN_CODE_LINES = 200
SHOWN_WIDTH = 160

Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Kept in the task's history.", show_default=False)
]


class Format(StrEnum):
    ZIP = "zip"
    DOCKER = "docker"
    K8S = "k8s"


def register(app: typer.Typer) -> None:
    author = options.AUTHOR
    app.command("list", rich_help_panel=author)(list_tasks)
    app.command("ls", rich_help_panel=author, help="The same as list.")(list_tasks)
    app.command("show", rich_help_panel=author)(show)
    app.command("versions", rich_help_panel=author)(versions)
    app.command("diff", rich_help_panel=author)(diff)
    app.command("export", rich_help_panel=author)(export)
    app.command("import", rich_help_panel=author)(import_bundle)
    app.command("verify", rich_help_panel=author)(verify)
    app.command("activate", rich_help_panel=options.USE)(activate)
    app.command("rollback", rich_help_panel=options.USE)(rollback)


def _store(data_dir: Path | None) -> ArtifactStore:
    from loopai_runtime.artifacts.store import ArtifactStore

    return ArtifactStore(options.settings(data_dir).layout)


# --- what there is ------------------------------------------------------------------------------------------


def list_tasks(output: options.OutputFormat = Output.TABLE, data_dir: options.DataDir = None) -> None:
    """List the tasks, and which version of each serves."""
    from loopai_runtime.cli.render import rows, say
    from loopai_runtime.flows.versions import task_rows

    store = _store(data_dir)
    found = task_rows(store)
    names = ("task_id", "active", "versions", "strategy", "confidence_score", "created_at", "description")
    rows(found, output, dict(zip(names, _headings(names), strict=True)))
    if not found:
        say(f"no tasks in {store.layout.root}; loopai demo shows how one is made")
    _warn(found)


def versions(
    task: options.TaskId, output: options.OutputFormat = Output.TABLE, data_dir: options.DataDir = None
) -> None:
    """List the versions of a task, the oldest first."""
    from loopai_runtime.cli.render import rows
    from loopai_runtime.flows.versions import version_rows

    found = version_rows(_store(data_dir), task)
    names = ("task_id", "version", "status", "strategy", "confidence_score", "created_at", "sha256", "bytes")
    rows(found, output, dict(zip(names, _headings(names), strict=True)))
    _warn(found)


def _headings(names: tuple[str, ...]) -> list[str]:
    shorter = {"task_id": "task", "confidence_score": "confidence", "created_at": "made"}
    return [shorter.get(name, name) for name in names]


def _warn(found: list[dict[str, Any]]) -> None:
    from loopai_runtime.cli.render import say

    for row in found:
        if "fault" in row:
            say(f"warning: {row['fault']}")


def show(
    ref: options.TaskRef,
    code: Annotated[bool, typer.Option("--code", help="Print program.py and nothing else.")] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
) -> None:
    """Show what a version is and how it was judged."""
    from loopai_runtime.cli.render import record

    store = _store(data_dir)
    stored = store.read(ref)
    if code:
        sys.stdout.write(stored.code)
        return
    history = [
        event.model_dump(mode="json")
        for event in store.state(stored.artifact.task_id).history
        if stored.artifact.version in (event.version, event.replaced)
    ]
    metadata = stored.artifact.model_dump(mode="json", by_alias=True)
    whole = metadata | {"status": stored.status.value, "sha256": stored.digest, "history": history}
    record(_summary(stored, history) if output is Output.TABLE else whole, output)


def _summary(stored: Stored, history: list[dict[str, Any]]) -> dict[str, Any]:
    artifact = stored.artifact
    size = artifact.complexity_metrics
    return {
        "task": artifact.task_id,
        "version": f"v{artifact.version}, {stored.status.value}",
        "description": artifact.description,
        "strategy": f"{artifact.synthesis_strategy.value} ({artifact.learner})",
        "confidence": f"{artifact.confidence_score:.4f} ({artifact.confidence_kind})",
        "accuracy": artifact.accuracy,
        "accuracy target": artifact.accuracy_target,
        "latency, ms": artifact.latency_ms,
        "latency target, ms": artifact.latency_target_ms,
        "limits": f"{artifact.timeout_ms} ms, {artifact.memory_mb} MB",
        "size": f"{size.bytes} bytes, {size.lines} lines, {size.branches} branches, {size.features} features",
        "abstains": artifact.abstain.model_dump() if artifact.abstain else "never",
        "made": f"{artifact.created_at}, in {artifact.generation_time_sec:g} s",
        "origin": artifact.origin or "here",
        "sha256": stored.digest,
        "history": "\n".join(map(_event, history)),
    }


def _event(event: dict[str, Any]) -> str:
    text = f"{event['at'][:19]}Z {event['action']} v{event['version']}"
    if event["replaced"]:
        text += f" in the place of v{event['replaced']}"
    return text + (f": {event['reason']}" if event["reason"] else "")


# --- what differs -------------------------------------------------------------------------------------------


def diff(
    first: Annotated[str, typer.Argument(metavar="TASK[@V]", help="The old version; or the only one given.")],
    second: Annotated[
        str | None, typer.Argument(metavar="[V]", help="The new version: task@2, or 2.", show_default=False)
    ] = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Show which stored examples two versions answer differently, and how the code differs.

    TASK compares the active version with the newest, or the previous with the active one; TASK@V compares the
    active version with V.
    """
    from loopai_runtime.artifacts.store import ArtifactStore
    from loopai_runtime.cli.render import progress, record, rows
    from loopai_runtime.flows.versions import diff as run_flow

    settings = options.settings(data_dir, config)
    store = ArtifactStore(settings.layout)
    with progress("comparing", 100) as advance:
        found = run_flow(
            store, first, second, settings.config, lambda done, of: advance(100 * done // max(1, of), None)
        )
    if output is Output.TABLE:
        _show_difference(found)
    elif output is Output.JSON:
        record(found.as_dict(), output)
    else:
        rows([change.as_dict() for change in found.changes], output)


def _show_difference(found: Difference) -> None:
    from loopai_runtime.cli.render import out, printable, rows, say

    old, new = (f"v{stored.artifact.version}" for stored in (found.old, found.new))
    for line in found.code[:SHOWN_CODE_LINES]:
        text = printable(line.rstrip("\n"))
        out(text if len(text) <= SHOWN_WIDTH else text[:SHOWN_WIDTH] + f" … ({len(text)} characters)")
    if len(found.code) > SHOWN_CODE_LINES:
        out(f"… and {len(found.code) - SHOWN_CODE_LINES} more lines of difference")
    if not found.code:
        out(f"program.py of {old} and {new} is the same")
    if not found.examples:
        say("no examples are stored with this task, so only the code is compared")
        return
    counts = [f"{found.count(effect)} {effect}" for effect in ("fixed", "broken", "changed")]
    out(f"\n{old} -> {new} on {found.examples} stored examples: {', '.join(counts)}")
    if found.changes:
        names = ("row", "effect", "input", "expected", "old", "new")
        changes = [change.as_dict() for change in found.changes[:SHOWN_CHANGES]]
        rows(changes, Output.TABLE, dict(zip(names, (*names[:4], old, new), strict=True)))
    if len(found.changes) > SHOWN_CHANGES:
        say(f"… and {len(found.changes) - SHOWN_CHANGES} more; -o jsonl prints all")


# --- which one serves ---------------------------------------------------------------------------------------


def activate(
    ref: options.TaskRef,
    reason: Reason = None,
    data_dir: options.DataDir = None,
    lock_timeout: options.LockTimeout = 0,
) -> None:
    """Let a version serve. A task that has served traffic wants a --reason."""
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows.versions import activate as run_flow
    from loopai_runtime.flows.versions import has_served

    store = _store(data_dir)
    task, version = store.resolve(ref)
    before = store.active_version(task)
    if before == version:
        say(f"{task} v{version} serves already")
        return
    if reason is None and has_served(store.layout, task) and sys.stdin.isatty() and sys.stderr.isatty():
        reason = typer.prompt(f"{task} has served traffic. Why the change?", err=True)
    run_flow(store, f"{task}@{version}", reason, lock_timeout)
    say(f"{task} v{version} serves now" + (f"; loopai rollback {task} goes back to v{before}" if before else ""))


def rollback(
    task: options.TaskId,
    reason: Reason = None,
    data_dir: options.DataDir = None,
    lock_timeout: options.LockTimeout = 0,
) -> None:
    """Let the previous version of a task serve again."""
    from loopai_runtime.cli.render import say
    from loopai_runtime.flows.versions import rollback as run_flow

    version = run_flow(_store(data_dir), task, reason, lock_timeout)
    say(f"{task} v{version} serves again")


# --- in, out, and checked -----------------------------------------------------------------------------------


def export(
    ref: options.TaskRef,
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="A file for zip, a new folder for the rest.")],
    format: Annotated[
        Format, typer.Option("--format", help="The bundle; a Docker build context; that with Kubernetes objects.")
    ] = Format.ZIP,
    data_dir: options.DataDir = None,
) -> None:
    """Write a version out: a ZIP that any Python 3.9+ runs, or a folder to build an image from."""
    from loopai_runtime.artifacts import export as exporting
    from loopai_runtime.cli.render import out as print_data
    from loopai_runtime.cli.render import say

    stored = _store(data_dir).read(ref)
    where = exporting.export(stored.bundle, exporting.Format(format.value), out)
    print_data(str(where))
    say(f"{stored.artifact.task_id} v{stored.artifact.version}, SHA-256 of the artifact {stored.digest}")


def import_bundle(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A ZIP that export wrote, or its folder.")],
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Store it as another task.", show_default=False)
    ] = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
    lock_timeout: options.LockTimeout = 0,
) -> None:
    """Verify a bundle and store it. It serves at once only if the task has no active version."""
    from loopai_runtime.artifacts.store import ArtifactStore
    from loopai_runtime.cli.render import record, say
    from loopai_runtime.flows.versions import import_bundle as run_flow

    settings = options.settings(data_dir, config)
    done = run_flow(ArtifactStore(settings.layout), bundle, settings.config, task, lock_timeout)
    artifact, status = done.stored.artifact, done.stored.status.value
    named = {
        "task_id": artifact.task_id,
        "version": artifact.version,
        "status": status,
        "sha256": done.stored.digest,
    }
    record(named | {"new": done.new}, output)
    if not done.new:
        say(f"it was here already, as {artifact.task_id} v{artifact.version}")
    elif status != "active":
        say(f"loopai activate {artifact.task_id}@{artifact.version} lets it serve")


def verify(
    target: Annotated[
        str, typer.Argument(metavar="TASK[@V]|BUNDLE", help="All versions of a task, one of them, or a bundle.")
    ],
    pii: Annotated[
        bool, typer.Option("--pii", help="Look for personal data in programs and metadata instead.")
    ] = False,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Check every file of an artifact: its digest, its template, the sandbox's policy, a platform's signature.

    Exits 1 if an artifact fails, or with --pii if there is personal data in one.
    """
    from loopai_runtime.artifacts.store import ArtifactStore
    from loopai_runtime.cli.render import rows, say
    from loopai_runtime.flows.versions import personal_data
    from loopai_runtime.flows.versions import verify as run_flow

    settings = options.settings(data_dir, config)
    if pii:
        found = [leak.as_dict() for leak in personal_data(ArtifactStore(settings.layout), target)]
        if found or output is not Output.TABLE:
            rows(found, output, {"name": "name", "place": "place", "kind": "kind", "masked": "looks like"})
        say(f"{len(found)} places with personal data" if found else "no personal data was found")
        if found:
            raise typer.Exit(1)
        return
    verdicts = run_flow(ArtifactStore(settings.layout), target, settings.config)
    names = ("name", "ok", "sha256")
    rows([verdict.as_dict() for verdict in verdicts], output, dict(zip(names, names, strict=True)))
    for verdict in verdicts:
        if verdict.fault:
            say(f"error: {verdict.fault}")
        elif verdict.is_pinned:
            say(f"{verdict.name} is signed by the platform")
        elif verdict.signed_by:
            say(f"warning: {verdict.name} is signed by {verdict.signed_by}, and no platform's key is pinned here")
    if any(verdict.fault for verdict in verdicts):
        raise typer.Exit(1)

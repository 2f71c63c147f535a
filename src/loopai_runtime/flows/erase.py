"""A person's right to be forgotten: records taken out of everything that keeps inputs and outputs.

Logs and their archives, validations, labels, queues, examples, the labels' names in statistics, what improving
quotes, what waits to be sent to the platform; caches are emptied, as their keys do not say whose input they
answer. What cannot be changed here is named: versions whose program was made from an erased row, or has what was
looked for in its text, and specifications.
"""

from __future__ import annotations

import hmac
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest, jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets import erasure, raw, stats, tally
from loopai_runtime.errors import InputError, LoopaiError
from loopai_runtime.events import Audit
from loopai_runtime.files import storage_errors
from loopai_runtime.flows.describe import ROW_HASH_BYTES, rows_of
from loopai_runtime.flows.erase_attempts import erase_attempts
from loopai_runtime.synthesis.specfile import load_saved
from loopai_runtime.telemetry import outbox, spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from loopai_runtime.datasets.erasure import Match
    from loopai_runtime.layout import Layout


@dataclass(slots=True)
class Erased:
    """What was taken out, or with `dry_run` would be: records by place, and what is left to do."""

    records: dict[str, int] = field(default_factory=dict)
    """By `executions`, `validations`, `shadow`, `statistics`, `telemetry`, `improvements` (with their
    tickets), `cache`, and the task's own files: `labels`, …"""
    rebuild: list[str] = field(default_factory=list)
    """Versions to make again without the erased rows, and then to remove: `task@3`."""
    by_hand: list[str] = field(default_factory=list)
    """Files that people write and that have what was looked for."""

    def as_dict(self) -> dict[str, Any]:
        return {"records": self.records, "rebuild": self.rebuild, "by_hand": self.by_hand}

    def count(self, place: str, n: int) -> None:
        if n:
            self.records[place] = self.records.get(place, 0) + n


def erase(
    layout: Layout, match: Match, task_id: str | None = None, *, dry_run: bool = False, lock_timeout_s: float = 0.0
) -> Erased:
    """Erase every record that is meant, of one task or of all, and say what else is to be done.

    The audit tells that it was done and how much was found, and not what was looked for (only its keyed hash).
    Safe to repeat, also after a kill. Raises NotFound, Busy, StorageError.
    """
    tasks = sorted({*layout.tasks(), *layout.logged_tasks()})
    if task_id is not None:
        tasks = [task_id if task_id in tasks else layout.require_task(task_id)]
    looked_for = hmac.digest(layout.secret("rows"), repr(match).encode(), "sha256").hex()[:32]
    if not dry_run:
        Audit(layout).record("erase", state="started", match=looked_for, tasks=tasks)
    done = Erased()
    for task in tasks:
        with layout.lock(task, lock_timeout_s):
            _erase_task(layout, task, match, done, dry_run)
    if not dry_run:
        done.count("cache", _empty(layout.root / "cache"))
        Audit(layout).record("erase", state="done", match=looked_for, records=done.records, rebuild=done.rebuild)
    return done


def _erase_task(layout: Layout, task_id: str, match: Match, done: Erased, dry_run: bool) -> None:
    found: list[bytes] = []
    for day in raw.days(layout, task_id):
        found += (of_day := _erase_day(layout, task_id, day, match, dry_run))
        done.count("executions", len(of_day))
    ids = {record.get("execution_id") for record in _records(found)} - {None}

    def meant(line: bytes) -> bool:
        return match.line(line) or any(record.get("execution_id") in ids for record in _records([line]))

    for name, path in _files(layout, task_id):
        lines = erasure.erase_lines(layout, path, meant, dry_run=dry_run)
        done.count(name, len(lines))
        found += lines
    if not dry_run:
        for path in sorted(layout.analytics(task_id).glob("daily-stats-*.json")):
            day = path.name.removeprefix("daily-stats-").removesuffix(".json")
            done.count("statistics", stats.erase_labels(layout, task_id, day, match.label))
    done.count("telemetry", _erase_unsent(layout, task_id, meant, dry_run))
    done.count("improvements", erase_attempts(layout, task_id, meant, dry_run=dry_run))
    inputs = [record["input"] for record in _records(found) if "input" in record]
    done.rebuild += _versions(ArtifactStore(layout), task_id, inputs, match.text)
    done.by_hand += [str(path) for path in _files_of_people(layout, task_id) if _has(path, match)]


def _erase_day(layout: Layout, task_id: str, day: str, match: Match, dry_run: bool) -> list[bytes]:
    found = erasure.erase_day(layout, task_id, day, match.line, dry_run=True)
    if found and not dry_run:
        stats.forget(layout, task_id, day)  # before, for a kill in between, and after, for a look in between
        found = erasure.erase_day(layout, task_id, day, match.line)
        stats.forget(layout, task_id, day)
        stats.daily(layout, task_id, day)
    return found


def _erase_unsent(layout: Layout, task_id: str, is_meant: Callable[[bytes], bool], dry_run: bool) -> int:
    """Take out what waits to be sent to the platform: by then it is redacted, and known by its execution."""

    def meant(line: bytes) -> bool:
        record = tally.read(line)
        return record.get("task_id") == task_id and is_meant(jsonl.encode(record["data"]))

    if not layout.telemetry.is_dir():
        return 0
    with spool.lock(layout, wait=True):
        n = sum(spool.erase(layout, segment, meant, dry_run=dry_run) for segment in spool.segments(layout))
        return n if dry_run else n + outbox.erase(layout, meant, n)


def _files(layout: Layout, task_id: str) -> Iterable[tuple[str, Path]]:
    for path in at_rest.found(layout.validations(task_id), "sampled-*.jsonl"):
        yield "validations", path
    for path in at_rest.found(layout.shadow(task_id), "*.jsonl"):  # with what the oracle said of it
        yield "shadow", path
    for path in at_rest.found(layout.task(task_id), "*.jsonl"):  # labels, queue, examples, calls, …
        yield path.name.partition(".")[0], path


def _files_of_people(layout: Layout, task_id: str) -> list[Path]:
    """The specification and the files that it names; what does not load has none."""
    with suppress(LoopaiError, OSError):
        loaded = load_saved(layout, task_id)
        names = [source.file for source in loaded.spec.examples_from]
        names += [source.file for source in loaded.spec.unlabelled_from]
        return [layout.spec(task_id), *(loaded.base_dir / name for name in names)]
    return [layout.spec(task_id)]


def _has(path: Path, match: Match) -> bool:
    try:
        return match.text(path.read_text("utf-8", "replace"))
    except OSError:
        return False


def _records(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        with suppress(InputError):
            record = tally.read(line)
            if isinstance(record, dict):
                yield record


def _versions(store: ArtifactStore, task_id: str, inputs: list[Any], has_text: Callable[[str], bool]) -> list[str]:
    """The versions that were made from one of `inputs`, or whose program has the text."""
    key = store.layout.secret("rows")
    hashes = {hmac.digest(key, jsonl.canonical(value), "sha256")[:ROW_HASH_BYTES] for value in inputs}
    named = []
    for listed in store.versions(task_id):
        if listed.stored is None:
            continue
        if rows_of(listed.stored.artifact) & hashes or has_text(listed.stored.code):
            named.append(f"{task_id}@{listed.version}")
    return named


def _empty(place: Path) -> int:
    """Delete everything below a directory; answers how many files that were."""
    n = sum(1 for path in place.rglob("*") if path.is_file())
    with storage_errors(place), suppress(FileNotFoundError):
        for entry in list(place.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    return n

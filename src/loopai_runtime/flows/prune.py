"""Retention over the whole data directory: logs and their statistics, caches, old versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets import retention
from loopai_runtime.datasets.retention import Step
from loopai_runtime.errors import Busy, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout


def prune(layout: Layout, config: Config, *, dry_run: bool = False, lock_timeout_s: float = 0.0) -> Iterator[Step]:
    """Do what `retention` and `storage` of the configuration ask for, telling each step as it is done.

    A step that fails tells its `trouble`; the others go on. Raises StorageError where nothing can be read.
    """
    yield from _versions(ArtifactStore(layout), config.retention.artifacts.keep_versions, dry_run, lock_timeout_s)
    yield from retention.keep(layout, config, dry_run=dry_run)


def _versions(store: ArtifactStore, keep: int, dry_run: bool, lock_timeout_s: float) -> Iterator[Step]:
    for task_id in store.layout.tasks():
        for version in store.old_versions(task_id, keep):
            folder = store.layout.version(task_id, version)
            freed = sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0
            step = Step("delete", "version", folder, f"more than {keep} versions", freed, task_id)
            if not dry_run:
                try:
                    with store.layout.lock(task_id, lock_timeout_s):
                        store.remove(task_id, version)
                except (Busy, StorageError) as error:
                    step = Step("delete", "version", folder, step.why, 0, task_id, trouble=str(error))
            yield step

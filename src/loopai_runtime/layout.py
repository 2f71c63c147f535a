"""The data directory: the only module that knows its paths.

Every name that becomes part of a path is checked here, so nothing a user, a bundle or a platform says can leave
the directory.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopai_runtime.config import CONFIG_FILE
from loopai_runtime.errors import Busy, NotFound, StorageError, UsageError
from loopai_runtime.files import FILE_MODE, TEMPORARY, made_once, make_dir, storage_errors
from loopai_runtime.models import is_slug

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.config import Config


class Layout:
    """Paths below one data directory. Methods that name a place do not create it."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()
        self.vault: Any = None
        """The `crypto.Vault` that opens what is encrypted."""

    def __repr__(self) -> str:
        return f"Layout({str(self.root)!r})"

    @property
    def sealing(self) -> Any:
        """The vault where what is written now is encrypted, else None."""
        return self.vault if self.vault is not None and self.vault.is_on else None

    # --- tasks
    def task(self, task_id: str) -> Path:
        return self.root / "tasks" / checked_task(task_id)

    def tasks(self) -> list[str]:
        """The ids of all tasks that have a specification or an artifact here, sorted."""
        found = set()
        for place in ("tasks", "artifacts"):
            with suppress(FileNotFoundError, NotADirectoryError), storage_errors(self.root / place):
                found |= {entry.name for entry in (self.root / place).iterdir() if is_slug(entry.name)}
        return sorted(found)

    def spec(self, task_id: str) -> Path:
        return self.task(task_id) / "spec.yaml"

    def spec_named(self, given: str) -> str:
        """The path of a specification: as given, or of the task of that name where there is no such file."""
        if is_slug(given) and not Path(given).exists() and self.spec(given).is_file():
            return str(self.spec(given))
        return given

    def calls(self, task_id: str) -> Path:
        """Past calls of a language model that `scan` found to be this task."""
        return self.task(task_id) / "calls.jsonl"

    def history(self, task_id: str) -> Path:
        """What a language model cost on this task before there was a program."""
        return self.task(task_id) / "history.jsonl"

    def examples(self, task_id: str) -> Path:
        return self.task(task_id) / "examples.jsonl"

    def labels(self, task_id: str) -> Path:
        """Right answers that came in after the specification: of persons, oracles, or made up."""
        return self.task(task_id) / "labels.jsonl"

    def queue(self, task_id: str) -> Path:
        """Inputs that wait for a person's answer."""
        return self.task(task_id) / "queue.jsonl"

    def spec_origin(self, task_id: str) -> Path:
        """Where the specification was read from: the files that it names are relative to that."""
        return self.task(task_id) / "spec.origin"

    def suggestions(self, task_id: str) -> Path:
        """Inputs that would teach the task most if they were labelled."""
        return self.task(task_id) / "suggestions.jsonl"

    # --- artifacts
    def artifacts(self, task_id: str) -> Path:
        return self.root / "artifacts" / checked_task(task_id)

    def version(self, task_id: str, version: int) -> Path:
        if version < 1:
            raise UsageError(f"version {version}: versions count from 1")
        return self.artifacts(task_id) / f"v{version}"

    def state(self, task_id: str) -> Path:
        return self.artifacts(task_id) / "state.json"

    def active_link(self, task_id: str) -> Path:
        return self.artifacts(task_id) / "active"

    # --- datasets
    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    def logged_tasks(self) -> list[str]:
        """The ids of all tasks that anything was logged of, sorted."""
        with suppress(FileNotFoundError, NotADirectoryError), storage_errors(self.datasets):
            return sorted(entry.name for entry in self.datasets.iterdir() if is_slug(entry.name))
        return []

    def executions(self, task_id: str, day: str | None = None) -> Path:
        """The directory of execution logs, or the file of `day` (`2025-10-26`, UTC)."""
        place = self.datasets / checked_task(task_id) / "executions"
        return place / f"{checked_day(day)}.jsonl" if day else place

    def shadow(self, task_id: str, day: str | None = None) -> Path:
        """The directory of what rollouts saw, or the file of `day`."""
        place = self.datasets / checked_task(task_id) / "shadow"
        return place / f"{checked_day(day)}.jsonl" if day else place

    def validations(self, task_id: str, day: str | None = None) -> Path:
        """The directory of validations, or the file of those of executions of `day`."""
        place = self.root / "datasets" / checked_task(task_id) / "validations"
        return place / f"sampled-{checked_day(day)}.jsonl" if day else place

    def oracle_audit(self, task_id: str) -> Path:
        """How right the task's oracle was on gold labels."""
        return self.validations(task_id) / "oracle-audit.json"

    def analytics(self, task_id: str) -> Path:
        return self.datasets / checked_task(task_id) / "analytics"

    def daily_stats(self, task_id: str, day: str) -> Path:
        return self.analytics(task_id) / f"daily-stats-{checked_day(day)}.json"

    def minutes(self, task_id: str, day: str) -> Path:
        """What `daily_stats` adds up, minute by minute."""
        return self.analytics(task_id) / f"minutes-{checked_day(day)}.jsonl"

    # --- money, and what left
    @property
    def audit(self) -> Path:
        """What left this machine and what was decided: a hash-chained file a day."""
        return self.root / "audit"

    @property
    def ledger(self) -> Path:
        """What models have cost: a file a day."""
        return self.root / "ledger"

    @property
    def telemetry(self) -> Path:
        """What waits to be sent to the platform, and how far that has come."""
        return self.root / "telemetry"

    # --- the loop
    @property
    def rollouts(self) -> Path:
        """The rollout of each task."""
        return self.root / "rollouts"

    def rollout(self, task_id: str) -> Path:
        return self.rollouts / f"{checked_task(task_id)}.json"

    def improvements(self, task_id: str) -> Path:
        """What was tried to improve a task, and what came of it."""
        return self.root / "improvements" / f"{checked_task(task_id)}.json"

    @property
    def tickets(self) -> Path:
        """What waits for a person: a file each."""
        return self.root / "tickets"

    @property
    def webhooks(self) -> Path:
        """What is to be told to webhooks, what was, and what never arrived."""
        return self.root / "webhooks"

    # --- the rest
    def cache(self, name: str) -> Path:
        """What may be deleted at any time."""
        return self.root / "cache" / _plain(name)

    @property
    def config_file(self) -> Path:
        return self.root / CONFIG_FILE

    @property
    def keys_file(self) -> Path:
        """The server's own keys, where `server.keys_file` does not name another place."""
        return self.config_file.with_name("keys.json")

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def run(self) -> Path:
        return self.root / "run"

    # --- the platform
    @property
    def central_db(self) -> Path:
        """The platform's database, where `central.database_url` does not name another one."""
        return self.root / "central" / "central.db"

    @property
    def blobs(self) -> Path:
        """The platform's bundles, where `central.blobs` does not name another place."""
        return self.root / "central" / "blobs"

    @property
    def generations(self) -> Path:
        """Where the platform writes programs, a folder each while it does."""
        return self.root / "central" / "generations"

    @property
    def pulls(self) -> Path:
        """Bundles as far as they have been downloaded, by the SHA-256 of the whole."""
        return self.cache("pulls")

    @property
    def platform_key(self) -> Path:
        """The key by which the platform signs, as this deployment first met it."""
        return self.config_file.with_name("platform.key")

    @property
    def tenants_root(self) -> Path:
        return self.root / "central" / "tenants"

    def tenant(self, tenant_id: str) -> Layout:
        """What the platform keeps of a tenant whose tasks it executes: a data directory as any other."""
        found = Layout(self.tenants_root / _plain(tenant_id))
        found.vault = self.vault
        return found

    def tenants(self) -> list[Layout]:
        """Those of all tenants that executed anything here."""
        place = self.tenants_root
        with suppress(FileNotFoundError, NotADirectoryError), storage_errors(place):
            return [self.tenant(entry.name) for entry in sorted(place.iterdir()) if is_slug(entry.name)]
        return []

    # --- secrets and locks
    def secret(self, name: str) -> bytes:
        """A 32-byte random secret, made at first use and never changed. Raises StorageError."""
        return bytes.fromhex(made_once(self.secrets / f"{_plain(name)}.key", lambda: secrets.token_hex(32)))

    def deployment_id(self, config: Config) -> str:
        """`runtime.deployment_id`, else a name made at first use and kept beside the configuration.

        Raises StorageError.
        """
        if config.runtime.deployment_id:
            return config.runtime.deployment_id
        path = self.config_file.with_name("deployment_id")
        name = made_once(path, lambda: f"edge-{secrets.token_hex(4)}").strip()
        if not is_slug(name):
            raise StorageError(
                "does not hold a deployment id", where=str(path), hint="delete it, or set runtime.deployment_id"
            )
        return name

    @contextmanager
    def lock(self, task_id: str, timeout_s: float = 0.0, what: str = "changing") -> Iterator[None]:
        """Hold the task's lock against other processes. Raises Busy after `timeout_s` seconds (negative: wait).

        `what` is done to the task under it; each has a lock of its own.
        """
        from filelock import FileLock, Timeout

        name = checked_task(task_id)
        path = make_dir(self.run) / (f"{name}.lock" if what == "changing" else f"{name}.{_plain(what)}.lock")
        with storage_errors(path):
            lock = FileLock(path, timeout=timeout_s, mode=FILE_MODE)
            try:
                lock.acquire()
            except Timeout:
                raise Busy(
                    f"another process is {what} the task {name}",
                    where=str(path),
                    hint="wait for it to end, or give --lock-timeout SECONDS",
                ) from None
        try:
            yield
        finally:
            lock.release()

    def sweep(self, directory: Path) -> None:
        """Remove what killed processes left in `directory`. The caller holds the lock over it."""
        import shutil

        with suppress(FileNotFoundError), storage_errors(directory):
            for entry in list(directory.iterdir()):
                if entry.name.startswith(TEMPORARY):
                    if entry.is_dir() and not entry.is_symlink():
                        shutil.rmtree(entry)
                    else:
                        entry.unlink(missing_ok=True)

    def require_task(self, task_id: str) -> str:
        """`task_id`, if anything is known of it here. Raises NotFound naming the nearest known one."""
        checked_task(task_id)
        known = self.tasks()
        if task_id in known:
            return task_id
        raise NotFound(f"no task {task_id!r} in {self.root}", hint=nearest_hint(task_id, known, "tasks here"))


def nearest_hint(given: str, known: list[str], what: str) -> str:
    """`did you mean X?`, or the list of what there is."""
    import difflib

    near = difflib.get_close_matches(given, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"{what}: {', '.join(known[:10])}" if known else "loopai generate SPEC makes one"


def checked_task(task_id: str) -> str:
    if not is_slug(task_id):
        raise UsageError(
            f"{task_id!r} is not a task id",
            hint="a task id has lower-case letters, digits and hyphens, at most 63, such as spam-detection",
        )
    return task_id


def checked_day(day: str) -> str:
    if len(day) != 10 or not all((c.isdigit() and c.isascii()) or c == "-" for c in day):
        raise UsageError(f"{day!r} is not a day; write YYYY-MM-DD")
    return day


def _plain(name: str) -> str:
    if not is_slug(name):
        raise UsageError(f"{name!r} is not a name for a secret")
    return name

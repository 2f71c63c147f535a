"""Whether this installation can work, looked at from outside: nothing heavy is imported, no secret is shown."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
import re
import shutil
import stat
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loopai_runtime.config import Config, chosen_data_dir
from loopai_runtime.errors import LoopaiError, StorageError
from loopai_runtime.files import storage_errors, temporary_beside, write_file
from loopai_runtime.layout import Layout
from loopai_runtime.models import PrivacyMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OK: Literal["ok"] = "ok"
WARN: Literal["warn"] = "warn"
FAIL: Literal["fail"] = "fail"

DISTRIBUTION = "loopai-runtime"
OLDEST_PYTHON = (3, 11)
EXTRAS = ("llm", "train", "central", "analytics", "plot")
PROVIDER_KEY = "OPENAI_API_KEY"
CHOOSE_ANOTHER = "choose another place with --data-dir or LOOPAI_DATA_DIR"
FREE_MB_FAIL, FREE_MB_WARN = 50, 1000
CLOCK_SLACK_S = 300.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found and, where it is not well, what to do."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def examine(
    *, data_dir: Path | None = None, config_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> list[Check]:
    """Every check, in the order in which a reader can act on them. Raises UsageError for an impossible path."""
    environ = os.environ if environ is None else environ
    config, configuration = _configuration(data_dir, config_file, environ)
    layout = Layout(config.data_dir if config else chosen_data_dir(data_dir, environ))
    return [
        _python(),
        *configuration,
        *_data_directory(layout.root),
        _sandbox(config or Config()),
        *_kernel(),
        *map(_extra, EXTRAS),
        *_keys(config, environ),
        clock(_newest(layout), time.time()),
        *_audit(layout),
        _console(),
        *_locks(layout),
    ]


def _audit(layout: Layout) -> Iterator[Check]:
    """Whether the audit is the chain that it was written as."""
    from loopai_runtime.events import verify

    if not layout.audit.is_dir():
        return
    try:
        faults = verify(layout)
    except StorageError as exc:
        yield Check("audit", FAIL, str(exc), exc.hint or "")
        return
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        yield Check("audit", FAIL, f"{faults[0]}{more}", "somebody changed it; compare it with a copy")
    else:
        yield Check("audit", OK, "an unbroken chain")


def _sandbox(config: Config) -> Check:
    """Whether a program really runs in the sandbox on this machine, found by running one."""
    from loopai_runtime.sandbox import Program, SyncPool

    try:
        with SyncPool(require=config.sandbox.require) as pool:
            pool.load(Program("doctor", "def run(input_data):\n    return input_data\n"))
            outcome, missing = pool.call("doctor", 1), pool.missing
    except LoopaiError as exc:
        return Check("sandbox", FAIL, str(exc), exc.hint or "")
    if outcome.status != "success":
        return Check("sandbox", FAIL, outcome.error.message if outcome.error else outcome.status)
    ran = f"a program ran in {outcome.wall_ms:.2f} ms behind the language policy and "
    if missing:
        return Check("sandbox", WARN, f"{ran}limits; missing of the cage: {missing}", "use a kernel that has them")
    return Check("sandbox", OK, f"{ran}the operating-system cage")


def _kernel() -> Iterator[Check]:
    from loopai_runtime.sandbox.features import features

    for feature in features():
        label = f"kernel {feature.name}"
        if feature.found:
            yield Check(label, OK, feature.found)
        else:
            yield Check(label, WARN, "not offered", feature.why)


def _python() -> Check:
    found = f"{platform.python_version()} ({platform.python_implementation()}, {platform.platform(terse=True)})"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", FAIL, found, f"install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    if platform.python_implementation() != "CPython":
        return Check("python", WARN, found, "only CPython is tested")
    return Check("python", OK, found)


def _configuration(
    data_dir: Path | None, config_file: Path | None, environ: Mapping[str, str]
) -> tuple[Config | None, list[Check]]:
    try:
        config = Config.load(config_file=config_file, data_dir=data_dir, environ=environ)
    except LoopaiError as exc:
        faults = getattr(exc, "faults", None) or [exc]
        return None, [Check("configuration", FAIL, str(fault), exc.hint or "correct it") for fault in faults]
    warnings = [Check("configuration", WARN, str(warning), "remove or correct it") for warning in config.warnings]
    path = config_file or Layout(config.data_dir).config_file
    if not path.exists():
        return config, [
            *warnings,
            Check("configuration", OK, "defaults and environment; there is no deployment.yaml"),
        ]
    key = config.origin("cloud.api_key")
    if key.source == "file" and not key.via and path.stat().st_mode & 0o077:
        warnings.append(
            Check("configuration", WARN, f"{path} holds a key and others may read it", f"chmod 600 {path}")
        )
    return config, [*warnings, Check("configuration", OK, str(path))]


def _data_directory(root: Path) -> Iterator[Check]:
    existing = next(place for place in (root, *root.parents) if _is_there(place))
    if existing != root:
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            yield Check("data directory", FAIL, f"{root} cannot be made in {existing}", CHOOSE_ANOTHER)
            return
        yield Check("data directory", OK, f"{root} (made at first use)")
    else:
        yield _writable(root)
    yield _free_space(existing)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # below a directory that may not be entered
        return False


def _writable(root: Path) -> Check:
    """Whether a file can be made there: mode bits alone know nothing of a read-only or full file system."""
    if not root.is_dir():
        return Check("data directory", FAIL, f"{root} is not a directory", CHOOSE_ANOTHER)
    probe = temporary_beside(root / "doctor")
    try:
        write_file(probe, b"can this be written?")
    except StorageError as exc:
        return Check("data directory", FAIL, str(exc), exc.hint or CHOOSE_ANOTHER)
    finally:
        with suppress(OSError):
            probe.unlink()
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & 0o077:
        return Check("data directory", WARN, f"{root} is open to other users ({mode:04o})", f"chmod 700 {root}")
    return Check("data directory", OK, f"{root} ({mode:04o}, writable)")


def _free_space(place: Path) -> Check:
    free = shutil.disk_usage(place).free // 10**6
    found = f"{free / 1000:.1f} GB free" if free >= 1000 else f"{free} MB free"
    status = FAIL if free < FREE_MB_FAIL else WARN if free < FREE_MB_WARN else OK
    return Check("disk", status, found, "" if status is OK else f"free some space where {place} is")


def _extra(name: str) -> Check:
    label = f"extra [{name}]"
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return Check(label, WARN, f"{DISTRIBUTION} is not installed as a package", f"pip install {DISTRIBUTION}")
    pattern = re.compile(rf"""([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"]{name}['"]""")
    versions: dict[str, str | None] = {}
    for match in filter(None, map(pattern.match, requirements)):
        try:
            versions[match[1]] = importlib.metadata.version(match[1])
        except importlib.metadata.PackageNotFoundError:
            versions[match[1]] = None
    found = ", ".join(f"{package} {version or 'missing'}" for package, version in versions.items())
    if all(versions.values()):
        return Check(label, OK, found)
    found = found if any(versions.values()) else "not installed"
    return Check(label, OK, found, f"pip install '{DISTRIBUTION}[{name}]', if you need it")


def _keys(config: Config | None, environ: Mapping[str, str]) -> Iterator[Check]:
    """Which credentials are there. Never what they are."""
    if config is not None:
        yield _platform(config)
    given = bool(environ.get(PROVIDER_KEY))
    advice = "" if given else "only needed for an LLM that asks for it"
    yield Check(f"key {PROVIDER_KEY}", OK, "set" if given else "not set", advice)


def _platform(config: Config) -> Check:
    url, key = config.cloud.api_url, config.cloud.api_key
    if url is None and key is None:
        return Check("platform", OK, "none; everything works offline, and nothing leaves this machine")
    if url is None:
        return Check("platform", OK, "a key but no address; nothing leaves this machine", "set cloud.api_url")
    if key is None:
        return Check("platform", WARN, f"{url} without a key", "set LOOPAI_API_KEY")
    state = f"telemetry {config.telemetry.privacy_mode}" if config.telemetry_on else "telemetry off"
    found = f"{url}, key {config.shown()['cloud.api_key']}, {state}"
    if config.telemetry_on and config.telemetry.privacy_mode is PrivacyMode.PERMISSIVE:
        return Check("platform", WARN, found, "permissive sends every record unredacted; for development only")
    return Check("platform", OK, found)


def _newest(layout: Layout) -> float:
    """When the data directory, or this installation, was last written to, in seconds since 1970."""
    places = [Path(__file__), layout.config_file]
    with suppress(LoopaiError):
        for task in layout.tasks():
            places += [layout.state(task), *layout.executions(task).glob("*.jsonl")]
    return max(place.stat().st_mtime for place in places if place.exists())


def clock(newest: float, now: float) -> Check:
    """Whether `now` can be right, when something was already written at `newest` (both in seconds since 1970)."""
    found = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now < newest - CLOCK_SLACK_S:
        behind = f"{found}, {(newest - now) / 60:.0f} minutes before the newest file here"
        return Check("clock", FAIL, behind, "set it (NTP): logs are kept by day, and TLS needs the right time")
    return Check("clock", OK, found)


def _console() -> Check:
    encoding = sys.stdout.encoding or "unknown"
    if encoding.lower().replace("-", "") != "utf8":
        return Check("console", WARN, f"prints in {encoding}, which lacks most characters", "export PYTHONUTF8=1")
    return Check("console", OK, encoding)


def _locks(layout: Layout) -> Iterator[Check]:
    held = sorted(path.stem for path in layout.run.glob("*.lock") if _is_held(path))
    if not held:
        yield Check("locks", OK, "none held")
    for name in held:
        yield Check(
            "locks", WARN, f"{name}: another process is at work", "wait for it to end, or give --lock-timeout"
        )


def _is_held(path: Path) -> bool:
    # A shared lock, let go at once, is refused only where somebody holds the exclusive one.
    with storage_errors(path), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

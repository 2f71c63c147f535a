"""What a running edge does beside serving: statistics as its logs grow, the oracle's checks, improving what fails
too often, reports, webhooks, retention daily.

All are commands that anybody could type, in a process of their own at the lowest priority, so that requests never
wait for them. What a killed one has not done the next one does: an execution that was checked is not asked about
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from loopai_runtime.config.sources import variable
from loopai_runtime.datasets import raw
from loopai_runtime.errors import LoopaiError
from loopai_runtime.flows import webhooks
from loopai_runtime.models import PrivacyMode, RuntimeMode
from loopai_runtime.telemetry import state as states
from loopai_runtime.telemetry.policy import warning_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.datasets.live_log import LiveLog
    from loopai_runtime.layout import Layout

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
DELIVER_EVERY_S = 5.0
ROLL_UP_EVERY_BYTES = 32 * 2**20
"""Of log: what `analyze` then finds still to be counted takes it less than half a second."""

_RUN = (
    "import os, sys; os.nice(19); from loopai_runtime.cli.main import run_line; sys.exit(run_line(sys.argv[1:]))"
)
_KEYS = (
    *("storage.retention_days", "storage.max_size_gb", "retention.", "oracle.", "llm."),
    *("telemetry.", "privacy.", "cloud.", "runtime.deployment_id", "runtime.mode"),
    *("improvement.", "rollout.", "execution.", "sandbox."),
)
_SECRETS = ("storage.encryption_key", "storage.encryption_key_before", "oracle.api_key", "cloud.api_key")
_NOTHING_YET = 3  # the exit code of `validate` with nothing to judge, and of `improve` where nothing came of it


async def keep_up(
    config: Config,
    layout: Layout,
    kept: LiveLog,
    with_oracle: Callable[[], list[str]],
    *,
    every_s: float,
) -> None:
    """For ever: retention after the start and when a day has closed; when the log has grown, statistics, the
    checks of the tasks `with_oracle`, and a better version of those that are shown to fail too often."""
    pruned, rolled_up, checked = "", 0, -1
    while True:
        await asyncio.sleep(every_s)
        if pruned != (closed := raw.closed_before()):
            pruned = closed
            await _run(config, layout, "prune")
        elif kept.bytes - rolled_up > ROLL_UP_EVERY_BYTES:
            rolled_up = kept.bytes
            await _run(config, layout, "analyze", "--days", "2", "-o", "json")  # brings them up to date first
        if checked != kept.bytes:
            checked = kept.bytes
            for task_id in await asyncio.to_thread(with_oracle):
                was_checked = await _run(config, layout, "validate", task_id)
                if was_checked and improves(config):
                    await _run(config, layout, "improve", task_id, *_config_file(config))


async def keep_delivering(config: Config, layout: Layout, *, every_s: float = DELIVER_EVERY_S) -> None:
    """For ever, where there are webhooks: send what is due."""
    while config.webhooks:
        await asyncio.sleep(every_s)
        if await asyncio.to_thread(webhooks.is_due, layout):
            await _run(config, layout, "webhooks", "deliver", *_config_file(config))


def improves(config: Config) -> bool:
    """Whether this edge improves its tasks by itself: not where the platform does, from what all edges report."""
    is_the_platforms = (
        config.runtime.mode is RuntimeMode.HYBRID
        and config.telemetry_on
        and config.telemetry.privacy_mode is not PrivacyMode.STRICT
    )
    return config.improvement.auto and not is_the_platforms


def _config_file(config: Config) -> tuple[str, ...]:
    """The flag by which a command reads the file that this server read: what variables cannot say is there."""
    return () if config.file is None else ("--config", str(config.file))


async def keep_reporting(config: Config, layout: Layout) -> None:
    """For ever, where telemetry is on: tell the platform what is new; after a failure when that is due."""
    if not config.telemetry_on:
        return
    if (warning := warning_of(config)) is not None:
        log.warning("%s", warning)
    while True:
        await asyncio.sleep(_pause(config, layout))
        await _run(config, layout, "telemetry", "flush", "--if-due")


def _pause(config: Config, layout: Layout) -> float:
    """Seconds until the next report."""
    usual = float(config.telemetry.upload_interval_sec)
    try:
        kept = states.load(layout)
    except LoopaiError:
        return usual
    due = kept.not_before - time.time()
    return min(usual, max(due, 0.0) + FIRST_WAIT_S) if kept.attempts and kept.paused is None else usual


async def _run(config: Config, layout: Layout, *command: str) -> bool:
    """Run a command to its end; False where it failed, or had nothing to do yet. What it says is logged."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _RUN,
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment(config, layout),
        )
    except OSError as error:
        log.warning("%s could not be started: %s", command[0], error)
        return False
    try:
        _, told = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    lines = told.decode("utf-8", "replace").strip().splitlines()
    is_no_fault = process.returncode == _NOTHING_YET and command[0] in ("validate", "improve")
    if process.returncode and not is_no_fault:
        log.warning("%s: %s", command[0], lines[0] if lines else f"exit code {process.returncode}")
    elif lines:
        log.info("%s: %s", command[0], lines[-1])
    return process.returncode == 0


def environment(config: Config, layout: Layout) -> dict[str, str]:
    """The variables by which a command keeps to the settings that this server was started with."""
    shown = config.shown()
    wanted = [key for key in shown if key.startswith(_KEYS) and key not in _SECRETS and config.is_set(key)]
    named = {variable(key): str(shown[key]) for key in wanted if shown[key] is not None}
    for key in _SECRETS:
        section, name = key.split(".")
        if (secret := getattr(getattr(config, section), name)) is not None:
            named[variable(key)] = secret.get_secret_value()
    if config.storage.encryption_key_file is not None:
        named["LOOPAI_STORAGE__ENCRYPTION_KEY_FILE"] = str(config.storage.encryption_key_file)
    return {**os.environ, **named, "LOOPAI_DATA_DIR": str(layout.root)}

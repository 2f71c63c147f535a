"""What a running edge does to its logs: statistics as they grow, the oracle's checks, reports, retention daily.

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
from loopai_runtime.telemetry import state as states
from loopai_runtime.telemetry.policy import warning_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.datasets.live_log import LiveLog
    from loopai_runtime.layout import Layout

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
ROLL_UP_EVERY_BYTES = 32 * 2**20
"""Of log: what `analyze` then finds still to be counted takes it less than half a second."""

_RUN = (
    "import os, sys; os.nice(19); from loopai_runtime.cli.main import run_line; sys.exit(run_line(sys.argv[1:]))"
)
_KEYS = (
    *("storage.retention_days", "storage.max_size_gb", "retention.", "oracle.", "llm."),
    *("telemetry.", "privacy.", "cloud.", "runtime.deployment_id"),
)
_SECRETS = ("storage.encryption_key", "storage.encryption_key_before", "oracle.api_key", "cloud.api_key")
NOTHING_TO_JUDGE = 3  # the exit code of `validate` where no execution was sampled yet


async def keep_up(
    config: Config,
    layout: Layout,
    kept: LiveLog,
    with_oracle: Callable[[], list[str]],
    *,
    every_s: float,
) -> None:
    """For ever: retention after the start and when a day has closed, statistics and the checks of the tasks
    `with_oracle` when the log has grown."""
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
                await _run(config, layout, "validate", task_id)


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


async def _run(config: Config, layout: Layout, *command: str) -> None:
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
        return
    try:
        _, told = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    lines = told.decode("utf-8", "replace").strip().splitlines()
    if process.returncode and (command[0], process.returncode) != ("validate", NOTHING_TO_JUDGE):
        log.warning("%s: %s", command[0], lines[0] if lines else f"exit code {process.returncode}")
    elif lines:
        log.info("%s: %s", command[0], lines[-1])


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

"""What a running edge does to its logs: statistics as they grow, retention once a day.

Both are commands that anybody could type, in a process of their own at the lowest priority, so that requests never
wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from loopai_runtime.datasets import raw

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.datasets.live_log import LiveLog
    from loopai_runtime.layout import Layout

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
ROLL_UP_EVERY_BYTES = 32 * 2**20
"""Of log: what `analyze` then finds still to be counted takes it less than half a second."""

_RUN = (
    "import os, sys; os.nice(19); from loopai_runtime.cli.main import run_line; sys.exit(run_line(sys.argv[1:]))"
)
_KEYS = ("storage.retention_days", "storage.max_size_gb", "retention.")


async def keep_up(config: Config, layout: Layout, kept: LiveLog, *, every_s: float = LOOK_EVERY_S) -> None:
    """For ever: retention after the start and when a day has closed, statistics when the log has grown."""
    pruned, rolled_up = "", 0
    while True:
        await asyncio.sleep(every_s)
        if pruned != (closed := raw.closed_before()):
            pruned = closed
            await _run(config, layout, "prune")
        elif kept.bytes - rolled_up > ROLL_UP_EVERY_BYTES:
            rolled_up = kept.bytes
            await _run(config, layout, "analyze", "--days", "2", "-o", "json")  # brings them up to date first


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
    if process.returncode:
        log.warning("%s: %s", command[0], lines[0] if lines else f"exit code {process.returncode}")
    elif lines:
        log.info("%s: %s", command[0], lines[-1])


def environment(config: Config, layout: Layout) -> dict[str, str]:
    """The variables by which a command keeps to the settings that this server was started with."""
    settings = {key: value for key, value in config.shown().items() if key.startswith(_KEYS)}
    named = {f"LOOPAI_{key.upper().replace('.', '__')}": str(value) for key, value in settings.items()}
    for name in ("encryption_key", "encryption_key_before"):
        if (key := getattr(config.storage, name)) is not None:
            named[f"LOOPAI_STORAGE__{name.upper()}"] = key.get_secret_value()
    if config.storage.encryption_key_file is not None:
        named["LOOPAI_STORAGE__ENCRYPTION_KEY_FILE"] = str(config.storage.encryption_key_file)
    return {**os.environ, **named, "LOOPAI_DATA_DIR": str(layout.root)}

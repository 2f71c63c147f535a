"""What a running edge does to its logs beside serving."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from tests.executions import DAY

from loopai_runtime.config import Config
from loopai_runtime.datasets.live_log import LiveLog
from loopai_runtime.edge import upkeep
from loopai_runtime.layout import Layout, make_dir
from loopai_runtime.models import utc_now


def run(layout: Layout, until: Path, config: Config, grown: int = 0, tasks: tuple[str, ...] = ()) -> None:
    """Keep up until a file is there."""

    async def main() -> None:
        log = LiveLog(layout, fsync="never", on_full="reject")
        log.bytes = grown
        work = asyncio.create_task(upkeep.keep_up(config, layout, log, lambda: list(tasks), every_s=0.01))
        async with asyncio.timeout(30):
            while not until.exists():
                await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        log.close()

    asyncio.run(main())


def test_retention_runs_with_the_settings_of_the_server(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    make_dir(layout.executions("spam"))
    layout.executions("spam", DAY).write_bytes(b"{}\n")
    config = Config.load(flags={"retention.executions.keep_days": 36_500}, environ={})
    packed = layout.executions("spam") / f"{DAY}.jsonl.gz"
    run(layout, packed, config)
    assert not layout.executions("spam", DAY).exists()


def test_statistics_follow_a_log_that_grows(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    today = utc_now()[:10]
    make_dir(layout.executions("spam"))
    layout.executions("spam", today).write_bytes(b"{}\n")
    run(layout, layout.daily_stats("spam", today), Config(), grown=2 * upkeep.ROLL_UP_EVERY_BYTES)


def test_a_command_that_fails_is_logged_and_serving_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "deployment.yaml").write_text("no_such_section: 1\n")
    caplog.set_level(logging.WARNING)
    asyncio.run(upkeep._run(Config(), Layout(tmp_path), "prune"))
    assert "prune: error: " in caplog.text
    assert "no_such_section" in caplog.text

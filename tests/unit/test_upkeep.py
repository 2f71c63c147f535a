"""What a running edge does to its logs beside serving."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.executions import DAY, execution

from loopai_runtime.config import Config
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.datasets.live_log import LiveLog
from loopai_runtime.edge import upkeep
from loopai_runtime.files import make_dir
from loopai_runtime.layout import Layout
from loopai_runtime.models import utc_now


def run(layout: Layout, until: Path, config: Config, grown: int = 0, tasks: tuple[str, ...] = ()) -> None:
    """Keep up until a file is there."""

    async def main() -> None:
        log = LiveLog(layout, fsync="never", on_full="reject")
        log.bytes = grown
        work = asyncio.create_task(upkeep.keep_up(config, layout, log, lambda: list(tasks), every_s=0.01))
        async with asyncio.timeout(120):
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


def test_reports_leave_with_the_settings_and_the_key_of_the_server(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ExecutionLog(layout).append([execution(n) for n in range(20)])
    got = threading.Event()
    heard: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(gzip.decompress(self.rfile.read(int(self.headers["content-length"]))))
            heard.append((self.headers["authorization"], body))
            answer = json.dumps({"accepted": len(body["records"]), "duplicates": 0}).encode()
            self.send_response(202)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            got.set()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    flags = {
        "cloud.api_url": f"http://127.0.0.1:{server.server_address[1]}",
        "cloud.api_key": "lp_the_key",
        "telemetry.upload_interval_sec": 1,
        "telemetry.privacy_mode": "strict",
        "runtime.deployment_id": "edge-7",
    }

    async def main() -> None:
        work = asyncio.create_task(upkeep.keep_reporting(Config.load(flags=flags, environ={}), layout))
        await asyncio.wait_for(asyncio.to_thread(got.wait, 120), 120)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(main())
    server.shutdown()
    server.server_close()
    key, body = heard[0]
    assert (key, body["deployment_id"]) == ("Bearer lp_the_key", "edge-7")
    stats = [record["data"]["by_version"] for record in body["records"] if record["kind"] == "stats"]
    assert sum(group["count"] for versions in stats for group in versions.values()) == 20
